"""The rules of octowait, small: what each verb makes of a board, in plain Python and nothing that is fast.

A board is a value. A verb gives another board; who may start then is granted by `settled`. What the scripts do with
indexes, this does by looking at everybody.

`explore` goes through all that can happen to three runs, `scenarios` holds it against the real octowait, and `accepts`
holds a whole timeline against it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

#: States of a run that the board knows; who has ended is not on it.
WAITING, GRANTED, OBSERVED, PRESUMED = "waiting", "granted", "observed", "presumed"


@dataclass(frozen=True, slots=True)
class Run:
    """One run on the board. *order*: higher priority, then arrival, the smallest first.

    *is_collected*: its step was told of its grant. *family*: runs that share what they hold. *token* of its grant.
    """

    machines: tuple[str, ...]
    state: str = WAITING
    order: tuple[int, int] = (0, 0)
    is_collected: bool = False
    is_parked: bool = False
    family: str = ""
    token: int = 0


@dataclass(frozen=True, slots=True)
class Board:
    """Who waits and holds. *arrivals* and *token* are the last ones given out."""

    runs: Mapping[str, Run] = field(default_factory=dict)
    reserved: frozenset[str] = frozenset()
    is_open: bool = True
    arrivals: int = 0
    token: int = 0

    # Who is where

    def with_run(self, task: str, run: Run | None) -> Board:
        others = {name: other for name, other in self.runs.items() if name != task}
        return replace(self, runs=others if run is None else {**others, task: run})

    def line(self, machine: str) -> list[str]:
        waiting = [(run.order, task) for task, run in self.runs.items()
                   if run.state == WAITING and machine in run.machines]  # fmt: skip
        return [task for _, task in sorted(waiting)]

    def busy_with(self, machine: str) -> list[str]:
        return [task for task, run in self.runs.items() if run.state != WAITING and machine in run.machines]

    def is_shared(self, task: str, machine: str) -> bool:
        """Rule 10: whether it is busy with the run's family, and nobody else."""
        family, others = self.runs[task].family, self.busy_with(machine)
        return bool(family and others) and all(self.runs[other].family == family for other in others)

    def may_start(self, task: str) -> bool:
        """Rules 1, 2, 3, 10, 13 and 15."""
        return self.is_open and all(
            self.is_shared(task, machine)
            or (self.line(machine)[0] == task and not self.busy_with(machine) and machine not in self.reserved)
            for machine in self.runs[task].machines
        )

    def ready(self) -> list[str]:
        """Waiters that may start now."""
        first: dict[str, tuple[tuple[int, int], str]] = {}
        for task, run in self.runs.items():
            for machine in run.machines if run.state == WAITING else ():
                first[machine] = min(first.get(machine, (run.order, task)), (run.order, task))
        # Whoever is not first everywhere, and shares nothing with a family, need not be looked at closely.
        return [task for task, run in self.runs.items() if run.state == WAITING
                and (run.family or all(first[machine][1] == task for machine in run.machines))
                and self.may_start(task)]  # fmt: skip

    # Rule 10: who waits for whom

    def waits_for(self, task: str) -> set[str]:
        run = self.runs[task]
        if run.state != WAITING:
            # Who holds waits for the children that it started.
            return {t for t, r in self.runs.items() if run.family and r.family == run.family and r.state == WAITING}
        found: set[str] = set()
        for machine in run.machines:
            others = [other for other in self.busy_with(machine)]
            own = [other for other in others if run.family and self.runs[other].family == run.family]
            found |= set(others) - set(own)
            if not own:
                line = self.line(machine)
                found |= set(line[: line.index(task)])
        return found

    def waits_for_itself(self, task: str) -> bool:
        reached: set[str] = set()
        to_do = [task]
        while to_do:
            new = self.waits_for(to_do.pop()) - reached
            reached |= new
            to_do += new
        return task in reached


# What is asked of a board: each verb gives the board after it


def grant(board: Board, task: str) -> Board:
    token = board.token + 1
    run = replace(board.runs[task], state=GRANTED, token=token, is_collected=False)
    return replace(board.with_run(task, run), token=token)


def settled(board: Board) -> Board:
    """Everybody who may start is granted; children that wait for themselves are refused, and may work all the same."""
    while ready := board.ready():
        board = grant(board, min(ready, key=lambda task: board.runs[task].order))
    for task, run in sorted(board.runs.items(), key=lambda item: item[1].order):
        if run.state == WAITING and run.family and board.waits_for_itself(task):
            return settled(board.with_run(task, replace(run, state=PRESUMED, family="")))
    return board


def join(board: Board, task: str, run: Run, priority: int = 0) -> Board:
    """Rule 4: who waits or holds a lease keeps it. Rule 8: who was there without asking stands in line now."""
    known = board.runs.get(task)
    if known and known.state in (WAITING, GRANTED):
        return poll(board, task)
    arrivals = board.arrivals + 1
    joined = replace(
        run, state=WAITING, order=(-priority, arrivals), family=run.family or (known.family if known else "")
    )
    board = settled(replace(board.with_run(task, joined), arrivals=arrivals))
    return poll(board, task)


def poll(board: Board, task: str) -> Board:
    """Rule 5: whoever asks collects its grant."""
    run = board.runs.get(task)
    return board.with_run(task, replace(run, is_collected=True)) if run and run.state == GRANTED else board


def end(board: Board, task: str) -> Board:
    """An end in Octopus, an operator's word, or the release of what it holds."""
    return settled(board.with_run(task, None)) if task in board.runs else board


def leave(board: Board, task: str) -> Board:
    """Its own release. Rule 19: a step that leaves the line may go on without."""
    run = board.runs.get(task)
    if run and run.state == WAITING and not run.is_parked:
        return settled(board.with_run(task, replace(run, state=PRESUMED, family="")))
    return end(board, task)


def expire(board: Board, task: str, *, is_presumed: bool) -> Board:
    """Rule 5: no sign of life, or nobody collected its grant. Rule 19: its task may work on all the same.

    Args:
        is_presumed: There is an API key. Then a grant lasts until Octopus has said that the task is over (rule 24).
    """
    run = board.runs[task]
    if is_presumed and run.state == GRANTED:
        return board
    gone = replace(run, state=PRESUMED, family="") if is_presumed and not run.is_parked else None
    return settled(board.with_run(task, gone))


def observe(board: Board, task: str, machines: tuple[str, ...]) -> Board:
    """Rule 8: it is there, whoever else is."""
    known = board.runs.get(task)
    return settled(board.with_run(task, Run(machines, OBSERVED, family=known.family if known else "")))


def prioritize(board: Board, task: str, priority: int) -> Board:
    """Unless it would then wait for itself."""
    run = board.runs[task]
    moved = board.with_run(task, replace(run, order=(-priority, run.order[1])))
    return board if moved.waits_for_itself(task) else settled(moved)


def reserve(board: Board, machine: str) -> Board:
    return replace(board, reserved=board.reserved | {machine})


def unreserve(board: Board, machine: str) -> Board:
    return settled(replace(board, reserved=board.reserved - {machine}))


def close(board: Board) -> Board:
    return replace(board, is_open=False)


def distrust(board: Board) -> Board:
    """Rule 24: the board is older than what was acted on. A grant that nobody had collected then may have been taken
    back since, and its machines given to another: nobody is told of it before it is known who works.
    """
    doubtful = {task: replace(run, state=WAITING, token=0) if run.state == GRANTED and not run.is_collected else run
                for task, run in board.runs.items()}  # fmt: skip
    return replace(board, runs=doubtful, is_open=False)


def reopen(board: Board) -> Board:
    return settled(replace(board, is_open=True))


# What must hold of every board


def wrongs(board: Board) -> Iterator[str]:
    """What no sequence of verbs may come to."""
    for task in board.ready():
        yield f"{task} may start and waits"
    leases = {task: run for task, run in board.runs.items() if run.state == GRANTED}
    for task, run in leases.items():
        for other, there in leases.items():
            if (
                task < other
                and set(run.machines) & set(there.machines)
                and not (run.family and run.family == there.family)
            ):
                yield f"{task} and {other} have one machine"
    for task, run in board.runs.items():
        if (
            run.state == WAITING
            and not board.waits_for(task)
            and board.is_open
            and not board.reserved & set(run.machines)
        ):
            yield f"{task} waits for nobody"
        if run.state == WAITING and run.family and board.waits_for_itself(task):
            yield f"{task} waits for itself"
