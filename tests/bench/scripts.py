"""The scripts of the board as they are written, and as they are loaded."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import redis

from app.domain.run import RunRequest
from app.store.script_text import APP, KEYS, parts_of, source
from tests.bench.measurements import markdown_table, write_section
from tests.bench.report import Report, number
from tests.bench.world import board_on, directory, embedded, fill, new_run, request
from tests.open_board import OpenBoard

LUA = APP / "coordination/lua"
TTL = timedelta(hours=1)

#: The two forms of a script.
WRITTEN, LOADED = "as written", "as loaded"

#: Calls in one batch, of which Redis tells the time.
BATCH = 40

WAITERS = 10

Texts = dict[str, str]


def run(report: Report) -> None:
    """Print bytes, the time of SCRIPT LOAD, and that of a call inside Redis: the least of some rounds of both."""
    names = sorted(path.stem for path in LUA.glob("*.lua"))
    parts = {verb: parts_of("coordination", verb, witnessed=True) for verb in names}
    verbs = [verb for verb in names if KEYS in parts_of("coordination", verb)[0]]
    forms = {WRITTEN: {verb: "".join((*parts[verb][0].values(), parts[verb][1])) for verb in verbs},
             LOADED: {verb: source("coordination", verb, witnessed=True) for verb in verbs}}  # fmt: skip
    with directory() as where, embedded(where) as url, board_on(url) as board:
        sizes_of = {(form, verb): len(text.encode()) for form, texts in forms.items() for verb, text in texts.items()}
        forms[WRITTEN] = {verb: text for verb, text in forms[WRITTEN].items() if _is_loaded(board, text)}
        loads = _loads(report, board, forms)
        calls = _calls(report, board, forms)
    sizes = _rows(
        verbs, lambda form, verb: f"{sizes_of[form, verb]:,}", lambda form, verb: _cell(loads.get((form, verb)))
    )
    times = _rows(list(_BATCHES), lambda form, verb: _cell(calls.get((form, verb))))
    size_columns = ("script", *(f"bytes, {form}" for form in forms), *(f"load µs, {form}" for form in forms))
    time_columns = ("script", *(f"call µs, {form}" for form in forms))
    report.table("Bytes, and SCRIPT LOAD", size_columns, sizes)
    report.table("A call, inside Redis", time_columns, times)
    for verb in _BATCHES.keys() & forms[WRITTEN]:
        ratio = calls[LOADED, verb] / calls[WRITTEN, verb]
        report.measured("scripts", ratio, verb=verb)
    if report.writes:
        write_section(
            "scripts", "\n\n".join((_PREFACE, markdown_table(size_columns, sizes), markdown_table(time_columns, times)))
        )


_PREFACE = f"""## Lua scripts

`make bench ARGS="scripts --write"`

Each script behind the parts that it needs, as all of them are written, and as it is loaded: each part as a function of
its own, what they share in a table, without what the script does not use.
–: as written it has more variables than Lua allows one function, and Redis does not take it.
A load is a `SCRIPT LOAD` by a server that does not know the script.
A call is an `EVALSHA` without the way to Redis, in a namespace with a line of {WAITERS}; a join is granted at once.
The least of some rounds, in which both forms take turns: whatever else the machine does only adds."""


def _rows(verbs: Sequence[str], *cells: Callable[[str, str], str]) -> list[list[str]]:
    return [[verb, *(cell(form, verb) for cell in cells for form in (WRITTEN, LOADED))] for verb in verbs]


def _cell(value: float | None) -> str:
    return "–" if value is None else number(value)


def _is_loaded(board: OpenBoard, text: str) -> bool:
    try:
        board.client.script_load(text)
    except redis.ResponseError as error:
        if "local variables" in str(error):
            return False
        raise
    return True


def _loads(report: Report, board: OpenBoard, forms: dict[str, Texts]) -> dict[tuple[str, str], float]:
    """µs by form and verb."""
    took = defaultdict(list)
    for _ in range(int(report.pick(5, 20))):
        for form, texts in forms.items():
            for verb, text in texts.items():
                board.client.script_flush()
                began = time.perf_counter()
                board.client.script_load(text)
                took[form, verb].append(1e6 * (time.perf_counter() - began))
    return {key: min(values) for key, values in took.items()}


def _calls(report: Report, board: OpenBoard, forms: dict[str, Texts]) -> dict[tuple[str, str], float]:
    """µs by form and verb; each form has a namespace of its own."""
    worlds = {}
    for form in forms:
        worlds[form] = OpenBoard(board.client, namespace=form.replace(" ", "-"))
        worlds[form].open("test")
        fill(worlds[form], ((new_run(), ["Machines-0"]) for _ in range(WAITERS)), ttl=TTL)
    took = defaultdict(list)
    for number_of_round in range(int(report.pick(20, 100))):
        for verb, arguments in _BATCHES.items():
            for form in (list, reversed)[number_of_round % 2]([form for form in forms if verb in forms[form]]):
                took[form, verb].append(_batch(worlds[form], forms[form][verb], arguments(worlds[form])))
    return {key: min(values) for key, values in took.items()}


def _line(board: OpenBoard) -> list[str]:
    """The runs that wait, which do so at one machine."""
    return [member.decode().rpartition("\0")[2] for member in board.client.zrange(board.keys.lines, 0, -1)]


def _batch(board: OpenBoard, text: str, calls: Sequence[Sequence[str]]) -> float:
    """µs of a call, as Redis counts them."""
    testimony = board.script.witness.testimony()
    sha = board.client.script_load(text)
    board.client.config_resetstat()
    with board.client.pipeline(transaction=False) as pipe:
        for arguments in calls:
            pipe.evalsha(sha, 1, board.keys.prefix, 0, *arguments, testimony)
        answers = [board.script.read(answer) for answer in pipe.execute()]
    assert not any(answer[0] in (b"due", b"unknown", b"nothing") for answer in answers)
    return float(board.client.info("commandstats")["cmdstat_evalsha"]["usec_per_call"])


def _polls(board: OpenBoard) -> list[list[str]]:
    """Of the last one in the line."""
    return [[_line(board)[-1], "poll", "", "", ""]] * BATCH


def _notes(board: OpenBoard) -> list[list[str]]:
    return [["caught_up", "", json.dumps({"applied": 1})]] * BATCH


def _unreserves(board: OpenBoard) -> list[list[str]]:
    machines = [f"Machines-{n}" for n in range(1, BATCH + 1)]
    for machine in machines:
        board.reserve(machine, note="disk", by="ann")
    return [[machine, "ann"] for machine in machines]


def _joins(board: OpenBoard) -> list[list[str]]:
    """Of runs that are granted, each on a machine and of a project of its own; those before give them back."""
    for _, _, task in (member.decode().split("\0") for member in board.client.zrange(board.keys.holders, 0, -1)):
        board.release(task)
    fill(board, ((new_run(), ["Machines-0"]) for _ in range(WAITERS - len(_line(board)))), ttl=TTL)
    return [[run.task_id, request(run, [f"Machines-{n}"], TTL)] for n, run in enumerate(_runs(), start=1)]


def _runs() -> list[RunRequest]:
    runs = [new_run() for _ in range(BATCH)]
    return [replace(run, info={**run.info, "project": {"id": f"Projects-{n}"}}) for n, run in enumerate(runs)]


_BATCHES: dict[str, Callable[[OpenBoard], list[list[str]]]] = {
    "poll": _polls,
    "note": _notes,
    "unreserve": _unreserves,
    "join": _joins,
}
