"""What really happened, kept beside what Octopus would tell: the truth that tests compare octowait with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any


@dataclass(kw_only=True)
class Interval:
    """Work of one step on one machine; *ended_ms* None: it still goes on."""

    machine: str
    step: str
    started_ms: int
    ended_ms: int | None = None


@dataclass(kw_only=True)
class StepRecord:
    """One step that ran. *exit*, *last_line* and *outputs* are those of a script."""

    name: str
    kind: str
    started_ms: int
    script: str = ""
    ended_ms: int | None = None
    status: str = "Running"
    exit: int | None = None
    last_line: str = ""
    outputs: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Answer:
    """An interruption of the run and who answered it how; *is_for_octowait*: its text names octowait."""

    title: str
    type: str
    answer: str
    by: str
    answered_ms: int
    is_for_octowait: bool


@dataclass(kw_only=True)
class RunRecord:
    """One execution of a server task. *family* is the task that started it all: a child has its parent's."""

    task_id: str
    execution: int
    kind: str
    space_id: str
    deployment_id: str
    project: str
    environment: str
    family: str
    machines: tuple[str, ...]
    queued_ms: int
    started_ms: int | None = None
    ended_ms: int | None = None
    state: str = "Queued"
    is_abandoned: bool = False
    #: It ran all steps on all machines; what the plan of the next one is guessed by.
    is_full: bool = True
    project_id: str = ""
    environment_id: str = ""
    tenant_id: str | None = None
    pauses: list[list[int | None]] = field(default_factory=list)
    steps: list[StepRecord] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    work: list[Interval] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


Run = Mapping[str, Any]


@dataclass(frozen=True)
class Overlap:
    """Two runs that used *machine* at the same time, for *overlap_ms*."""

    machine: str
    first: str
    second: str
    overlap_ms: int


def overlaps(
    record: Mapping[str, Any], only: Callable[[Run], bool] | None = None, *, is_strict: bool = False
) -> list[Overlap]:
    """Pairs of runs of different families that had a machine at the same time.

    A run has a machine from its first work there to the end of its task (an abandoned one: of its work, if that
    is later). A run whose ``release`` step gave it back has it until that step *started*: it works no more, and the
    next one may start while the script that gave the machine back is still ending.

    Args:
        record: What ``/sim/record`` says.
        only: Which runs to look at, e.g. `uses_gate`; all of them without it.
        is_strict: Let every run have its machines until the end of its task.
    """
    runs = [run for run in record["runs"] if only is None or only(run)]
    by_machine: dict[str, list[tuple[int, float, Run]]] = {}
    for run in runs:
        for machine, start, end in _stays(run, is_strict):
            by_machine.setdefault(machine, []).append((start, end, run))
    return [found for machine, stays in by_machine.items() for found in _intersections(machine, stays)]


def uses_gate(run: Run) -> bool:
    """Whether a wait or claim step of the run has succeeded and nobody overrode it: octowait answers for such runs."""
    has_asked = any(
        _is(step, "wait", "claim")
        and step["status"] == "Success"
        and step["outputs"].get("Octowait.State") != "unreachable"
        for step in run["steps"]
    )
    return has_asked and all(answer["by"] == "octowait" for answer in run["answers"] if answer["is_for_octowait"])


def _is(step: Mapping[str, Any], *scripts: str) -> bool:
    return step["script"].rpartition("/")[2] in scripts


def _stays(run: Run, is_strict: bool) -> Iterator[tuple[str, int, float]]:
    for machine in {work["machine"] for work in run["work"]}:
        works = [work for work in run["work"] if work["machine"] == machine]
        last = max(_or_ever(work["ended_ms"]) for work in works)
        end = _or_ever(run["ended_ms"])
        if run["is_abandoned"]:
            end = max(end, last)
        given_back = [
            step["started_ms"]
            for step in run["steps"]
            if _is(step, "release") and step["status"] == "Success" and "Not released" not in step["last_line"]
        ]
        if given_back and not is_strict and last <= given_back[-1]:
            end = given_back[-1]
        yield machine, min(work["started_ms"] for work in works), end


def _or_ever(ms: int | None) -> float:
    return float("inf") if ms is None else ms


def _intersections(machine: str, stays: list[tuple[int, float, Run]]) -> Iterator[Overlap]:
    for (start, end, one), (other_start, other_end, other) in combinations(sorted(stays, key=lambda s: s[:2]), 2):
        shared = min(end, other_end) - max(start, other_start)
        if shared > 0 and one["family"] != other["family"]:
            shown = -1 if shared == float("inf") else int(shared)
            yield Overlap(machine, name_of(one), name_of(other), shown)


def name_of(run: Run) -> str:
    """``ServerTasks-7#1``: a task and which of its executions."""
    return f"{run['task_id']}#{run['execution']}"
