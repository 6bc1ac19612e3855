"""Whether the model can come by a timeline: each record is a verb, and grants are what the model says may start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from tests.chaos.model import GRANTED, OBSERVED, PRESUMED, WAITING, Board, Run
from tests.chaos.records import Record

#: Records that one script can write before, or between, its grants.
WITHIN = frozenset((
    "granted", "expired", "timed_out", "released", "ended", "left", "refused", "unreserved", "overlapped", "presumed",
    "dropped", "observed",
))  # fmt: skip

#: Records that a wait or a hold ends with; who is expected to ask holds nothing until then.
ENDS = frozenset(("released", "left", "expired", "timed_out", "refused", "ended", "dropped", "expected"))


def accept(records: Iterable[Record], before: Iterable[Record] = (), token: int = 0) -> Iterator[str]:
    """What the model would not have done, in words; nothing where it comes by the same.

    Args:
        before: Records that Redis came back with; they were judged before.
        token: The last one that was given before *records*.
    """
    reading = _Reading()
    for record in before:
        for _ in reading.read(record):
            pass
    reading.board = replace(reading.board, token=max(token, reading.board.token))
    for record in records:
        yield from reading.read(record)


class _Reading:
    """The board after some records."""

    def __init__(self) -> None:
        self.board = Board(is_open=False)
        #: Also of runs that are not on the board: a child can ask before it is known that its parent works.
        self._families: dict[str, str] = {}
        #: The places of runs before their grants, which they get back when these are withdrawn.
        self._orders: dict[str, tuple[int, int]] = {}
        self._has_changed = False
        self._change = ""

    def read(self, record: Record) -> Iterator[str]:
        """What the model would not have done."""
        board = self.board
        is_within = record.kind in WITHIN or record.is_of_change(self._change)
        self._change = record.change or self._change
        if self._has_changed and not is_within:
            for task in board.ready():
                yield f"{task} may start, and before it came {record}"
            self._has_changed = False
        if record.kind == "granted":
            run = board.runs.get(record.task)
            if run is None or run.state != WAITING or not board.may_start(record.task):
                yield f"it may not start: {record}"
            if run:
                self._orders[record.task] = run.order
            token = int(record.detail["token"])
            if token <= board.token:
                yield f"its token is not above {board.token}: {record}"
            granted = Run(record.machines, GRANTED, token=token, family=run.family if run else "")
            self.board = replace(board.with_run(record.task, granted), token=token)
        else:
            self.board = _after(board, record, self._families, self._orders)
            self._has_changed |= self.board is not board


def _after(
    board: Board, record: Record, families: dict[str, str], orders: dict[str, tuple[int, int]]
) -> Board:  # fmt: skip
    """The board after a record that grants nobody."""
    task, known = record.task, board.runs.get(record.task)
    if record.kind in ENDS:
        return board.with_run(task, None) if known else board
    if record.kind == "joined":
        joined = _joined(board, record, families)
        if not record.detail.get("withdrawn") or task not in orders:
            return joined
        return joined.with_run(task, replace(joined.runs[task], order=orders[task]))
    if record.kind in ("observed", "presumed"):
        state = OBSERVED if record.kind == "observed" else PRESUMED
        return board.with_run(task, Run(record.machines, state, family=families.get(task, "")))
    if record.kind == "prioritized" and known:
        return board.with_run(task, replace(known, order=(-int(record.detail["to"]), known.order[1])))
    if record.kind == "reserved":
        return replace(board, reserved=board.reserved | set(record.machines))
    if record.kind == "unreserved":
        return replace(board, reserved=board.reserved - set(record.machines))
    if record.kind == "closed":
        return replace(board, is_open=False)
    if record.kind == "opened":
        return _opened(board, record)
    return board


def _joined(board: Board, record: Record, families: dict[str, str]) -> Board:
    family, parent = str(record.detail.get("family", "")), str(record.detail.get("on_behalf_of", ""))
    families[record.task] = family
    if family and parent and not families.get(parent):
        families[parent] = family
        if parent in board.runs:
            board = board.with_run(parent, replace(board.runs[parent], family=family))
    order = (-int(record.detail.get("priority", 0)), board.arrivals + 1)
    run = Run(record.machines, WAITING, order, family=family)
    return replace(board.with_run(record.task, run), arrivals=board.arrivals + 1)


def _opened(board: Board, record: Record) -> Board:
    for task in record.detail.get("order") or ():
        run = board.runs.get(task)
        if run:
            board = replace(board, arrivals=board.arrivals + 1)
            board = board.with_run(task, replace(run, order=(run.order[0], board.arrivals)))
    return replace(board, is_open=True)
