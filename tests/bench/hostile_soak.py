"""P13 over HTTP, minute after minute: one caller does all that is hostile, mixed by chance, beside honest hand-offs.

``make bench ARGS="hostile --minutes 10 --seed 3"``
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from app.coordination.audit import Audit
from app.store.connection import Client, connect
from tests.bench.attacks import ATTACKS
from tests.bench.caller import Caller
from tests.bench.exclusion import Exclusion
from tests.bench.program import Program
from tests.bench.report import Report
from tests.bench.server_time import script_seconds
from tests.bench.slow_log import Slow, SlowLog, slow_log
from tests.bench.soak_outcome import LIMIT_MS, WIDE, WIDE_LIMIT_MS, Outcome
from tests.bench.witnesses import Watch, Witnesses, witnesses
from tests.bench.world import board_on, directory, embedded, web
from tests.conftest import TOKENS
from tests.open_board import OpenBoard

SECTION = (
    "Hostile shapes, minute after minute (P13)",
    """One caller with two tokens of steps brings about each hostile shape over HTTP, in an order of chance, three at a
time on 24 connections; what Octopus and operators do besides is done as they do it.
Beside it 20 honest steps hand four machines over, and an honest connection sends `PING` to Redis every 2 ms.
The scripts' time is that in Redis, from its log of all commands of 1 ms and more, which is read before it is full.
Redis goes before the other processes, where that is allowed, as on a machine of its own: its log takes the time in
which another one had its core for that of a script.
*Many machines*: the timeline has a record of a run with 1,000 machines and more in the seconds of the script, or of the
run that it is about.""",
)

#: Minutes of the soak where none are said, and seconds that honest ones are alone before it.
MINUTES, ALONE_SECONDS = 10.0, 10.0

SEED = 13

#: The tokens of the caller and their limits.
LIMITS = {"hostile": "max_waiting=100000", "limited": "max_waiting=1000"}

#: Seconds after which a waiter that does not ask is over, as the product's default, and until all is to be over.
TTL, OVER = 120, 200

#: By how much Redis goes before the others, in steps of `nice`.
PRIORITY = 10

#: Redis notes its own pauses of so many ms and more.
PAUSE_MS = 20

#: Keys in which nothing is left when nobody waits or holds.
EMPTY = ("lines", "holders", "deadlines", "children", "wants", "delays", "blocking", "owned", "resumes", "unresolved")


def run(report: Report) -> None:
    """Print the longest scripts and what honest ones saw; fails where exclusion was broken or something is left."""
    seconds = 60 * (report.minutes or report.pick(0.5, MINUTES))
    outcome = soak(seconds, seed=SEED if report.seed is None else report.seed, is_short=report.quick)
    outcome.print(report)
    report.check("P13", "soak: longest script", outcome.longest(is_wide=False), LIMIT_MS, unit="ms")
    report.check("P13", f"soak: longest script about {WIDE:,} machines and more", outcome.longest(is_wide=True),
                 WIDE_LIMIT_MS, unit="ms")  # fmt: skip
    report.check("P14", "soak: longest answer to a step", outcome.longest_answer / 1024, 32, unit="KB")
    if outcome.problems:
        raise AssertionError("\n".join(outcome.problems))


def soak(seconds: float, *, seed: int, is_short: bool) -> Outcome:
    """Attacks in an order of chance that begin within *seconds*, until nothing of them is left."""
    with ExitStack() as stack:
        where = stack.enter_context(directory())
        url = stack.enter_context(embedded(where))
        board = stack.enter_context(board_on(url))
        board.client.config_set("latency-monitor-threshold", PAUSE_MS)
        _prefer(board.client.info("server")["process_id"])
        settings = {"OCTOWAIT_TOKENS": _tokens(), "OCTOWAIT_WAITER_TTL_SECONDS": str(TTL)}
        service = stack.enter_context(web(url, board.keys.namespace, where, **settings))
        honest = stack.enter_context(witnesses(service.port, url.removeprefix("unix://")))
        exclusion = Exclusion()
        callers = [stack.enter_context(Caller(service.port, _token(name), exclusion)) for name in LIMITS]
        program = Program(ATTACKS, callers, board, random.Random(seed), TTL, is_short=is_short)
        # Without a time-out: an answer that comes late is one that was emptied from the log.
        log_client = connect(url, blocking=True)
        stack.callback(log_client.close)
        alone = _look_alone(honest, min(ALONE_SECONDS, seconds / 3))
        began, before = time.monotonic(), script_seconds(board.client)
        with slow_log(log_client) as log:
            program.run(seconds)
            took, scripts = time.monotonic() - began, script_seconds(board.client) - before
            beside = honest.look(is_last=True)
            problems = _remains(board)
        return _outcome(alone, beside, log, program, board, took, scripts, problems)


def _prefer(pid: int) -> None:
    """Have a process go before others; said where that is not allowed."""
    try:
        os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid) - PRIORITY)
    except PermissionError:
        print(
            "Redis shares its core with the others: what its log tells is more than the scripts' own time", flush=True
        )


def _token(name: str) -> str:
    return f"{name}-token-for-the-soak"


def _tokens() -> str:
    given = [f"step:{name}:{_token(name)};{limits}" for name, limits in LIMITS.items()]
    return ",".join([*given, *(f"{role}:test:{token}" for role, token in TOKENS.items())])


def _look_alone(honest: Witnesses, seconds: float) -> Watch:
    honest.look()
    time.sleep(seconds)
    return honest.look()


def _outcome(
    alone: Watch, beside: Watch, log: SlowLog, program: Program, board: OpenBoard, took: float, scripts: float,
    problems: list[str],
) -> Outcome:  # fmt: skip
    callers = program.callers
    answers = sum((caller.answers for caller in callers), Counter[str]())
    exclusion = callers[0].exclusion
    problems += [*exclusion.breaches, *beside.steps["breaches"]]
    problems += [f"{count} answers: {what}" for what, count in answers.items() if what.split()[-1].startswith("5")]
    if log.lost:
        problems.append(f"{log.lost} entries of Redis's log were lost before they were read")
    return Outcome(
        alone, beside, log.entries, _wide_seconds(board, log.entries), _wide_tasks(board, log.entries), program.played,
        took, scripts, answers, max(caller.longest_answer for caller in callers),
        exclusion.grants + beside.steps["grants"], board.client.execute_command("LATENCY", "LATEST"), problems,
    )  # fmt: skip


def _remains(board: OpenBoard) -> list[str]:
    """What is still there when all have ended, once whoever has died is over."""
    deadline = time.monotonic() + OVER
    while (counts := _counts(board)) and time.monotonic() < deadline:
        time.sleep(0.5)
    left = [f"{count:,} left in {key} after {OVER} s" for key, count in counts.items()]
    return left + [f"audit: {flaw}" for flaw in Audit(board.script, board.client, board.keys).look()]


def _counts(board: OpenBoard) -> dict[str, int]:
    """How many members each key has that is not empty."""
    command = {b"zset": "ZCARD", b"hash": "HLEN", b"set": "SCARD"}
    keys = {name: getattr(board.keys, name) for name in EMPTY}
    kinds = {name: board.client.type(key) for name, key in keys.items()}
    return {name: _size(board.client, command[kind], keys[name]) for name, kind in kinds.items() if kind in command}


def _size(client: Client, command: str, key: str) -> int:
    return int(client.execute_command(command, key))


def _wide_seconds(board: OpenBoard, slow: Sequence[Slow]) -> set[int]:
    """The seconds of long scripts in which the timeline has something about a run with many machines."""
    seconds = set()
    for at in {each.at for each in slow if each.ms > LIMIT_MS}:
        records = board.client.xrange(board.keys.timeline, at * 1000 - 500, at * 1000 + 1500)
        if any(_is_wide(fields) for _, fields in records):
            seconds.add(at)
    return seconds


def _wide_tasks(board: OpenBoard, slow: Sequence[Slow]) -> set[int]:
    """The tasks of long scripts about which the timeline has a record with many machines."""
    tasks = set()
    for number in {each.number for each in slow if each.number and each.ms > LIMIT_MS}:
        for stamp in board.client.lrange(board.keys.index("run", f"ServerTasks-{number}"), 0, -1):
            if any(_is_wide(fields) for _, fields in board.client.xrange(board.keys.timeline, stamp, stamp)):
                tasks.add(number)
    return tasks


def _is_wide(fields: Mapping[bytes, bytes]) -> bool:
    return fields.get(b"machines", b"").count(b",") >= WIDE - 1
