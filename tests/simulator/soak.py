"""A day of an Octopus Server that goes wrong wherever it can, and what must be true of octowait afterwards."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.domain.analysis.replay import Wait
from app.domain.records import Record
from app.history.intervals import Past
from app.jobs import CATCH_UP, enqueue
from app.settings import Settings
from tests.conftest import eventually
from tests.simulator import busy_check, loss_check
from tests.simulator.clock import Clock
from tests.simulator.control import Deployment, SimulatedOctopus, SimulatorError
from tests.simulator.ledger_check import compare
from tests.simulator.record import overlaps, uses_gate
from tests.simulator.soak_load import Load
from tests.simulator.stack import Stack
from tests.simulator.steps import poll_wait, work

#: The simulated clock's speed. octowait's intervals are divided by it, so a minute of its calls is one of Octopus's: a
#: divisor of all of them, since those are whole seconds, and more calls than by default use up what they may.
SPEED = 5

#: Tasks that run at once, and deployments that are queued or run at once.
TASK_CAP, MOST_AT_ONCE = 40, 52

DEFAULTS = Settings()

#: Simulated seconds within which octowait hears of a start that no event tells, while everybody answers: it looks that
#: often, and then has to ask.
TOLD_SECONDS = DEFAULTS.reconcile_seconds + 5

#: All of octowait's intervals as they are by default. Only the signs of life are real: a step's process starts, and a
#: killed one of octowait comes back, in real time.
INTERVALS = {
    f"OCTOWAIT_{name.upper()}": str(getattr(DEFAULTS, name) // SPEED)
    for name in ("watch_seconds", "reconcile_seconds", "catch_up_seconds", "provisional_seconds", "expect_step_seconds",
                 "clock_tolerance_seconds")
} | {"OCTOWAIT_OCTOPUS_RPM": str(DEFAULTS.octopus_rpm * SPEED), "OCTOWAIT_WAITER_TTL_SECONDS": "20"}  # fmt: skip

#: Simulated seconds between two deployments at most, while there is place for more.
RHYTHM_SECONDS = 2.0

FAULTS = {
    "drop": 0.1, "double": 0.1, "delay_seconds": 20.0, "reorder": 0.3, "abort": 0.05, "too_many": 0.03, "error": 0.03,
    "retry_after": 1,
}  # fmt: skip

#: Real seconds between two kills, and between two restarts of the server; of how many simulated seconds these are.
KILL_EVERY, RESTART_EVERY, RESTART_SECONDS = (12.0, 25.0), (25.0, 60.0), (10.0, 40.0)

#: A scheduler begins with a look at everything, so one that is killed often would hide how rarely it looks.
KILLED = ("web", "web", "worker", "worker", "scheduler")


@dataclass
class Result:
    """What a soak showed; *problems* is empty when all was well."""

    deployments: int
    seconds: float
    states: Mapping[str, int]
    waited_minutes: float
    calls: int
    repairs: Mapping[str, int]
    problems: list[str] = field(default_factory=list)
    #: How the waits of the ledger compare with the steps that waited.
    ledger: str = ""
    #: Who met on a machine and whom octowait knew, and what it asked for that.
    told: Sequence[str] = ()

    @property
    def calls_a_waited_minute(self) -> float:
        return self.calls / self.waited_minutes if self.waited_minutes else 0.0

    def lines(self) -> list[str]:
        return [
            f"{self.deployments} deployments in {self.seconds:.0f} s: {dict(self.states)}",
            f"{self.waited_minutes:.1f} min waited in all, {self.calls} calls of the Octopus API: "
            f"{self.calls_a_waited_minute:.2f} a waited minute",
            f"repairs: {dict(self.repairs)}",
            *self.told,
            self.ledger,
        ]


@dataclass
class Trouble:
    """What happens to the servers meanwhile; *away* has the times at which one was not there, in ms."""

    octopus: SimulatedOctopus
    stack: Stack
    dice: random.Random
    away: list[tuple[int, int]] = field(default_factory=list)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Kill and restart octowait's processes and the server, one every so often."""
        stop = threading.Event()
        threads = [threading.Thread(target=self._again, args=(stop, *what)) for what in (
            (KILL_EVERY, self._kill), (RESTART_EVERY, self._restart),
        )]  # fmt: skip
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _again(self, stop: threading.Event, every: tuple[float, float], do: Any) -> None:
        while not stop.wait(self.dice.uniform(*every)):
            do()

    def _kill(self) -> None:
        name, began = self.dice.choice(KILLED), Clock.now_ms()
        self.stack.restart(name)
        eventually(lambda: self.stack.is_up(name), timeout=30)
        self.away.append((began, Clock.now_ms()))

    def _restart(self) -> None:
        with suppress(SimulatorError):  # it has not come back yet
            self.octopus.go_away(self.dice.uniform(*RESTART_SECONDS), cancels=self.dice.random() < 0.3,
                                 has_page=self.dice.random() < 0.5)  # fmt: skip


@contextmanager
def server(directory: Path, *, seed: int, task_cap: int = TASK_CAP) -> Iterator[SimulatedOctopus]:
    with SimulatedOctopus.start(directory, speed=SPEED, task_cap=task_cap, seed=seed) as octopus:
        yield octopus


def soak(
    octopus: SimulatedOctopus, redis_url: str, namespace: str, directory: Path, *, deployments: int, seed: int,
    chaos: bool = True, tolerance_ms: int = 15_000, longest_work: float = 120.0,
) -> Result:  # fmt: skip
    """Deploy at random, with every fault there is, kill octowait's processes at random, and look at what is left.

    Args:
        chaos: Without it nothing goes wrong.
        tolerance_ms: How far a wait may be from the step that waited, see `compare`: where a process was killed a step
            hears of its grant late, and where a webhook was lost octowait of an end.
        longest_work: Simulated seconds that a run works at most.
    """
    dice = random.Random(seed)
    began = time.monotonic()
    with Stack(octopus, redis_url, namespace, directory, OCTOWAIT_TASK_CAP=str(TASK_CAP), **INTERVALS) as stack:
        stack.start()
        load = Load(octopus, dice, longest_work)
        load.prepare()
        trouble = Trouble(octopus, stack, random.Random(seed + 1))
        if chaos:
            octopus.faults(**FAULTS)
        with trouble.going_on() if chaos else _nothing():
            _deploy(octopus, dice, load.deployments(deployments))
            octopus.wait_idle(60 + 5 * deployments)
        octopus.no_faults()
        eventually(lambda: not _is_away(octopus), timeout=30)
        octopus.look_for_events()
        octopus.wait_idle(60, is_delivered=True)
        # What no webhook brought need not wait for its time any more: nobody is left whom it could still help.
        enqueue(stack.board.client, Settings(redis_url=redis_url, namespace=namespace), CATCH_UP)
        stack.settle(120)
        with suppress(AssertionError):
            eventually(lambda: not list(loss_check.missing(octopus.record(), stack.records())), timeout=30)
        return _judge(octopus, stack, trouble.away, deployments, time.monotonic() - began, tolerance_ms)


def polling_loop(octopus: SimulatedOctopus, *, deployments: int, seed: int) -> Result:
    """Some load, waiting in the loop that octowait replaces: every waiter asks every five seconds."""
    dice, began = random.Random(seed), time.monotonic()
    machines = [f"web-{number:02}" for number in range(1, 5)]
    for machine in machines:
        octopus.machine(machine)
    names = []
    for number in range(12):
        some = machines[number % 4 :][:1] if number % 3 else machines[:2]
        names.append(f"Polls {number}")
        octopus.project(names[-1], steps=[poll_wait(), work("deploy", machines=some, seconds=2.0)])
    for _ in range(deployments):
        octopus.deploy(dice.choice(names))
    octopus.wait_idle(60 + 5 * deployments)
    record = octopus.record()
    waited_ms = sum(_waited(run, "poll_wait") for run in record["runs"])
    return Result(
        deployments, time.monotonic() - began, Counter(run["state"] for run in record["runs"]),
        waited_ms * SPEED / 60_000, octopus.calls()["by_key"].get("poller", 0), {},
    )  # fmt: skip


def _deploy(octopus: SimulatedOctopus, dice: random.Random, deployments: Iterator[Deployment]) -> None:
    """Some of them are cancelled or run again; there are never so many that the queue is all there is."""
    made: list[Deployment] = []
    unfinished: list[Deployment] = []
    for deployment in deployments:
        made.append(deployment)
        unfinished.append(deployment)
        chance = dice.random()
        if chance < 0.04:
            # It may have ended by itself a moment ago.
            with suppress(SimulatorError):
                octopus.cancel(dice.choice(made[-10:]))
        elif chance < 0.06:
            ended = [one for one in made[-40:] if octopus.task(one)["IsCompleted"]]
            if ended:
                octopus.rerun(dice.choice(ended))
        time.sleep(dice.uniform(0, RHYTHM_SECONDS) / SPEED)  # the load's rhythm
        while len(unfinished) > MOST_AT_ONCE:
            time.sleep(0.1)  # the load, not a guess at when something is done
            unfinished = [one for one in unfinished if not octopus.task(one)["IsCompleted"]]


def _is_away(octopus: SimulatedOctopus) -> bool:
    return any(end is None for _, end in octopus.record()["outages"])


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _judge(
    octopus: SimulatedOctopus, stack: Stack, away: Sequence[tuple[int, int]], deployments: int, seconds: float,
    tolerance_ms: int,
) -> Result:  # fmt: skip
    record, timeline = octopus.record(), stack.records()
    told = Past(stack.board.client, stack.board.keys).intervals(from_ms=0, to_ms=stack.board.now_ms())
    compared = compare(record, [wait for wait in told if isinstance(wait, Wait)], tolerance_ms=tolerance_ms)
    waited = [r.detail["waited_ms"] for r in timeline if "waited_ms" in r.detail]
    keys = stack.board.client.scan_iter(f"octowait:{{{stack.board.keys.namespace}}}:*", count=1000)
    lines, busy = judge_busy(record, timeline, away)
    calls, over = _calls(record, seconds)
    problems = [
        *(f"overlap: {found}" for found in overlaps(record, uses_gate)),
        *loss_check.unended(record),
        *loss_check.left_over(key.decode() for key in keys),
        *loss_check.missing(record, timeline),
        *compared.problems,
        *busy,
        *over,
    ]
    return Result(
        deployments, seconds, Counter(run["state"] for run in record["runs"]), sum(waited) * SPEED / 60_000,
        octopus.calls()["by_key"].get("octowait", 0), Counter(_repairs(timeline)), problems,
        compared.line(), [*lines, calls],
    )  # fmt: skip


def judge_busy(
    record: Mapping[str, Any], timeline: Sequence[Record], away: Sequence[busy_check.Interval], *, speed: float = SPEED
) -> tuple[list[str], list[str]]:
    """What is to be told of whom octowait knew, and what of that is wrong; seconds in both are simulated ones."""
    not_there = [*record["outages"], *away]
    known = busy_check.knowledge(record, timeline)
    met = busy_check.meetings(record, known)
    late = sorted(busy_check.untold(known, not_there), key=lambda one: -one.ms)
    most_ms = TOLD_SECONDS * 1000 / speed
    alarms = busy_check.false_alarms(
        record, timeline, expect_ms=round(DEFAULTS.expect_step_seconds * 1000 / speed)
    )  # fmt: skip
    others = [(busy_check.untold_until(meeting, not_there), meeting) for meeting in met if not meeting.is_fault]
    blind = [(ms, meeting) for ms, meeting in others if not meeting.is_told]
    faults = [meeting for meeting in met if meeting.is_fault]
    problems = [
        *(f"known and free: {meeting}" for meeting in faults),
        *(f"untold for {ms * speed / 1000:.0f} s: {meeting}" for ms, meeting in blind if ms > most_ms),
        *(f"{one.run} was at work for {one.ms * speed / 1000:.0f} s untold" for one in late if one.ms > most_ms),
        *alarms,
    ]
    seconds = ", ".join(f"{ms * speed / 1000:.0f}" for ms, _ in sorted(blind, key=lambda one: one[0]))
    lines = [
        f"{len(faults)} grants on a machine that was known to be in use; {len(blind)} of which nobody had told, untold "
        f"for so many seconds: {seconds or '–'}; {len(others) - len(blind)} whose machines were not known yet",
        f"starts were untold for {late[len(late) // 2].ms * speed / 1000:.1f} s in the median, "
        f"{late[0].ms * speed / 1000:.1f} s at most; wanted: {TOLD_SECONDS}" if late else "nothing started",
        f"{sum(r.kind == 'overlapped' for r in timeline)} records of two runs at once, {len(alarms)} of them false",
    ]  # fmt: skip
    return lines, problems


def _calls(record: Mapping[str, Any], seconds: float) -> tuple[str, list[str]]:
    by_second = record["calls"]["by_key_and_second"].get("octowait", {})
    # As the budget is: so many in any real minute.
    busiest, most = busy_check.busiest(by_second, 60), DEFAULTS.octopus_rpm * SPEED
    mean = sum(by_second.values()) / (seconds * SPEED / 60)
    line = (f"calls of the Octopus API a minute: {mean:.1f} in the mean, {busiest / SPEED:.1f} in the busiest five, "
            f"of {DEFAULTS.octopus_rpm}")  # fmt: skip
    return line, [f"{busiest} calls within a real minute, more than {most}"] if busiest > most else []


def _repairs(timeline: Sequence[Record]) -> Iterator[str]:
    for r in timeline:
        if r.kind == "event" and r.detail.get("via"):
            yield "event caught up" if r.detail["via"] == "catch_up" else f"event by {r.detail['via']}"
        elif r.cause == "reconciled":
            yield r.cause
        elif r.kind in ("gap", "outage_ended", "job_failed"):
            yield r.kind


def _waited(run: Mapping[str, Any], kind: str) -> int:
    return sum((step["ended_ms"] or step["started_ms"]) - step["started_ms"] for step in run["steps"]
               if step["kind"] == kind)  # fmt: skip
