"""Everything that can happen to three runs on two machines: ``python -m tests.chaos.explore``.

A world is a board, what each client knows, and what is true in Octopus. From each, everything is tried that anybody
can do next: each client's calls, with an answer and with one that is lost (a crash of whoever was to give it, between
any two scripts); clients that are killed; workers that look; an operator; and Redis that comes back as it was at any
earlier moment. What is found is compared with what must hold: no two clients work on one machine.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.chaos import model
from tests.chaos.model import GRANTED, OBSERVED, PRESUMED, WAITING, Board, Run

#: What a client knows of itself. *Asking*: it has sent something, and knows not what came of it.
OUT, ASKING, IN_LINE, WORKING, LEAVING, OVER = "out", "asking", "in line", "working", "leaving", "over"

#: Its client was killed, before it worked or while its task did; the task is still under way in Octopus.
DEAD, DEAD_WORKING = "dead", "dead, its task works"

AT_WORK = (WORKING, DEAD_WORKING)

MACHINES = ("a", "b")


@dataclass(frozen=True)
class Case:
    """What the three runs want. *child*: the last is the first one's child. *parked*, *urgent*: the last one is."""

    wants: tuple[tuple[str, ...], ...]
    child: bool = False
    parked: bool = False
    urgent: bool = False

    @property
    def tasks(self) -> range:
        return range(len(self.wants))

    def run(self, task: int) -> Run:
        is_last = task == len(self.wants) - 1
        family = "f" if self.child and (is_last or task == 0) else ""
        return Run(self.wants[task], family=family, is_parked=self.parked and is_last)

    def priority(self, task: int) -> int:
        return int(self.urgent and task == len(self.wants) - 1)

    def are_related(self, one: int, other: int) -> bool:
        return self.child and {one, other} == {0, len(self.wants) - 1}

    def __str__(self) -> str:
        kinds = [name for name in ("child", "parked", "urgent") if getattr(self, name)]
        return " ".join(["+".join("".join(want) for want in self.wants), *kinds])


@dataclass(frozen=True)
class Powers:
    """What else can happen.

    Args:
        operator: Reservations, forced releases, a board that is closed and rebuilt.
        rollback: Redis comes back as it once was. *witness*: octowait notices, closes the board, and asks Octopus.
    """

    operator: bool = False
    rollback: bool = False
    witness: bool = False


@dataclass(frozen=True)
class World:
    """*known*: of each client. *tokens*: of those who work. *saved*: what Redis can come back as, once."""

    board: Board
    known: tuple[str, ...]
    tokens: tuple[int, ...]
    saved: Board | None = None
    has_gone_back: bool = False

    @property
    def key(self) -> object:
        """Equal for worlds that differ in how often they came by here."""
        boards = [self.board, *([self.saved] if self.saved else [])]
        arrivals = {n: rank for rank, n in enumerate(sorted({r.order[1] for b in boards for r in b.runs.values()}))}
        numbers = {r.token for b in boards for r in b.runs.values()} | {b.token for b in boards} | set(self.tokens)
        tokens = {n: rank for rank, n in enumerate(sorted(numbers))}

        def shown(board: Board) -> object:
            runs = tuple(sorted(
                (task, run.machines, run.state, run.order[0], arrivals[run.order[1]], run.is_collected, run.family,
                 tokens[run.token]) for task, run in board.runs.items()))  # fmt: skip
            return runs, board.reserved, board.is_open, tokens[board.token]

        return (tuple(map(shown, boards)), self.known, tuple(tokens[t] for t in self.tokens), self.has_gone_back,
                self.saved is None)  # fmt: skip


class Explorer:
    """Goes through the worlds of one case."""

    def __init__(self, case: Case, powers: Powers) -> None:
        self._case = case
        self._powers = powers

    def first(self) -> World:
        count = len(self._case.wants)
        return World(Board(), (OUT,) * count, (0,) * count)

    def next(self, world: World) -> Iterator[tuple[str, World]]:
        """What can happen, and the world after it."""
        for task in self._case.tasks:
            yield from self._client(world, task)
            yield from self._octowait(world, task)
        if self._powers.operator:
            yield from self._operator(world)
        if self._powers.rollback:
            yield from self._rollback(world)

    def _client(self, world: World, task: int) -> Iterator[tuple[str, World]]:
        known, name = world.known[task], str(task)
        if known in (OUT, ASKING):
            may_ask = known == ASKING or not self._case.child or task == 0 or world.known[0] != OUT
            if may_ask:
                board = model.join(world.board, name, self._case.run(task), self._case.priority(task))
                yield from self._answered(world, task, board, f"put {task}")
        if known == IN_LINE:
            yield from self._answered(world, task, model.poll(world.board, name), f"get {task}")
        if known in (ASKING, IN_LINE):
            yield f"kill client {task}", _told(world, task, DEAD)
        if known == WORKING:
            yield f"kill client {task}", _told(world, task, DEAD_WORKING)
            yield f"stop {task}", _told(world, task, LEAVING)
        if known == LEAVING:
            after = replace(world, board=model.end(world.board, name))
            yield f"delete {task}", _told(after, task, OVER)
            yield f"delete {task}, answer lost", after

    def _answered(self, world: World, task: int, board: Board, what: str) -> Iterator[tuple[str, World]]:
        after = replace(world, board=board)
        run = board.runs.get(str(task))
        if run and run.state == GRANTED:
            yield what, _told(after, task, WORKING, run.token)
        elif run and run.state == WAITING:
            yield what, _told(after, task, IN_LINE)
        elif what.startswith("get"):
            yield what, _told(after, task, ASKING)
        else:
            yield what, _told(after, task, OVER)  # It was refused.
        yield f"{what}, answer lost", _told(after, task, ASKING)

    def _octowait(self, world: World, task: int) -> Iterator[tuple[str, World]]:
        """Its timers, and what Octopus tells."""
        run, known = world.board.runs.get(str(task)), world.known[task]
        board, name = world.board, str(task)
        if run and board.is_open and not run.is_parked and run.state in (WAITING, GRANTED) and not run.is_collected:
            # Whoever is not heard of counts as dead, right or wrong.
            yield f"expire {task}", replace(world, board=model.expire(board, name, is_presumed=True))
        if run and run.state == PRESUMED:
            after = model.observe(board, name, run.machines) if known in AT_WORK else model.end(board, name)
            yield f"resolve {task}", replace(world, board=after)
        if known in (DEAD, DEAD_WORKING):
            yield f"task {task} ends", _told(world, task, OVER)
        if run and known == OVER:
            yield f"end of {task} is told", replace(world, board=model.end(board, name))

    def _operator(self, world: World) -> Iterator[tuple[str, World]]:
        board = world.board
        if board.reserved:
            yield "unreserve a", replace(world, board=model.unreserve(board, "a"))
        else:
            yield "reserve a", replace(world, board=model.reserve(board, "a"))
        for name, run in board.runs.items():
            if run.state == GRANTED:
                # An operator's word: whoever works there from now on is not octowait's fault.
                yield f"force {name}", _told(replace(world, board=model.end(board, name)), int(name), OVER)
        if board.is_open:
            yield "close", replace(world, board=model.close(board))
        else:
            yield "rebuild", self._rebuilt(world)

    def _rollback(self, world: World) -> Iterator[tuple[str, World]]:
        if world.saved is None and not world.has_gone_back:
            yield "backup", replace(world, saved=world.board)
        elif world.saved is not None:
            board = model.distrust(world.saved) if self._powers.witness else world.saved
            yield "back to the backup", replace(world, board=board, saved=None, has_gone_back=True)
        if not world.board.is_open and not self._powers.operator:
            yield "rebuild", self._rebuilt(world)

    def _rebuilt(self, world: World) -> World:
        """Rule 15: whoever works holds; who does not is where it was. Tokens go on above all that were given out."""
        board = world.board
        for task in self._case.tasks:
            run, known = board.runs.get(str(task)), world.known[task]
            if known in (*AT_WORK, LEAVING) and (run is None or run.state != GRANTED):
                there = Run(self._case.wants[task], OBSERVED, family=self._case.run(task).family)
                board = board.with_run(str(task), there)
            elif run and run.state == GRANTED and known in AT_WORK:
                board = board.with_run(str(task), replace(run, is_collected=True))
            elif known == OVER:
                board = board.with_run(str(task), None)
        token = max(board.token, *world.tokens) if self._powers.witness else board.token
        return replace(world, board=model.reopen(replace(board, token=token)))

    def wrongs(self, world: World) -> Iterator[str]:
        """What must not be."""
        yield from model.wrongs(world.board)
        for one in self._case.tasks:
            for other in range(one):
                both_work = world.known[one] in AT_WORK and world.known[other] in AT_WORK
                share = set(self._case.wants[one]) & set(self._case.wants[other])
                if both_work and share and not self._case.are_related(one, other):
                    yield f"clients {other} and {one} work on one machine"
                if both_work and world.tokens[one] == world.tokens[other]:
                    yield f"clients {other} and {one} have one token"
        if world.board.is_open and not world.has_gone_back:
            for task in self._case.tasks:
                if world.known[task] in AT_WORK and str(task) not in world.board.runs:
                    yield f"client {task} works, and its machines count as free"


def _told(world: World, task: int, known: str, token: int = 0) -> World:
    def put(values: tuple, value: object) -> tuple:  # type: ignore[type-arg]
        return (*values[:task], value, *values[task + 1 :])

    token = token or (world.tokens[task] if known in AT_WORK else 0)
    return replace(world, known=put(world.known, known), tokens=put(world.tokens, token))


@dataclass(frozen=True)
class Explored:
    """How many worlds there are, and how the first wrong one came about."""

    states: int
    wrong: str = ""
    path: tuple[str, ...] = ()


def explore(case: Case, powers: Powers) -> Explored:
    """Go through all worlds, those that need fewest steps first."""
    explorer = Explorer(case, powers)
    first = explorer.first()
    came_by: dict[object, tuple[object, str]] = {first.key: (None, "")}
    layer = [first]
    while layer:
        following = []
        for world in layer:
            for what, after in explorer.next(world):
                key = after.key
                if key in came_by:
                    continue
                came_by[key] = (world.key, what)
                if wrong := next(explorer.wrongs(after), ""):
                    return Explored(len(came_by), wrong, _path(came_by, key))
                following.append(after)
        layer = following
    return Explored(len(came_by))


def _path(came_by: dict[object, tuple[object, str]], key: object) -> tuple[str, ...]:
    steps: list[str] = []
    while came_by[key][0] is not None:
        key, what = came_by[key]
        steps.insert(0, what)
    return tuple(steps)


A, B, BOTH = ("a",), ("b",), ("a", "b")

#: What three runs can want of two machines, but for the names of the machines and of the runs.
WANTS = ((A, A, A), (A, A, B), (A, A, BOTH), (A, B, BOTH), (BOTH, BOTH, A), (BOTH, BOTH, BOTH))

#: What the short form goes through: quick, and every power once.
SHORT = (
    *((Case(wants), Powers()) for wants in WANTS),
    (Case((A, B, BOTH), urgent=True), Powers()),
    (Case((BOTH, A, A), child=True), Powers()),
    (Case((A, A), parked=True), Powers(operator=True)),
    (Case((A, A)), Powers(rollback=True, witness=True)),
)


def long_cases() -> Iterator[tuple[Case, Powers]]:
    for wants in WANTS:
        yield Case(wants), Powers(operator=True)
        yield Case(wants, urgent=True, parked=True), Powers()
        yield Case(wants, child=True), Powers()
        yield Case(tuple(reversed(wants)), child=True), Powers()
        yield Case(wants), Powers(rollback=True, witness=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.explore", description="All that can happen.")
    parser.add_argument("--short", action="store_true", help="only what the tests go through")
    asked = parser.parse_args()
    states, began, is_wrong = 0, time.monotonic(), False
    for case, powers in SHORT if asked.short else long_cases():
        found = explore(case, powers)
        states += found.states
        is_wrong |= bool(found.wrong)
        print(f"{case} {powers}: {found.states:,} states {found.wrong} {' / '.join(found.path)}", flush=True)
    print(f"{states:,} states in {time.monotonic() - began:.0f} s")
    return is_wrong


if __name__ == "__main__":
    sys.exit(main())
