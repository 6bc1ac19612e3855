"""The opening of the board, in slices: while it is closed, nobody sees that its waiters are put in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from app.coordination.board.admission import AdmissionVerbs, Swept
from app.coordination.decode import decode_run
from app.coordination.encode import compact_json
from app.domain.run import RunState, State
from app.store.scripts import redis_errors

#: How long those who serve have time to speak when Redis is another server than before.
ROLL_CALL = timedelta(seconds=10)

#: Members of the lines, and records of runs, that are read at once.
AT_ONCE = 500

#: Machines of the runs that one script puts in order, but of one run all.
MACHINES_AT_ONCE = 1000

#: How often the order is made anew where somebody has joined meanwhile, who may belong before others.
TRIES = 5


class OpeningVerbs(AdmissionVerbs):
    """Opens the board."""

    def open(
        self, cause: str, *, by: str | None = None, reason: str | None = None, run_count: int | None = None,
        closed_ms: int | None = None,
    ) -> bool:  # fmt: skip
        """Grant again, those who came since it was closed in the order in which Octopus started them (rule 15).

        Several scripts: first those who came are put in order, which begins anew where somebody joins meanwhile.

        Args:
            cause: ``rebuilt``, ``roll_call``, ``no_api_key``, ``operator`` or ``test``.
            run_count: Runs that the rebuild found.
            closed_ms: `closed_since_ms` before the rebuild began; if it was closed anew since, nothing happens.

        Returns:
            False if it was open, or has been closed anew.

        Source: lua/open.lua, lua/line_up.lua.
        """
        # A board that came up empty is closed by the first script that sees it.
        self.sweep()
        since_ms = self.closed_since_ms()
        if since_ms is None or (closed_ms is not None and closed_ms != since_ms):
            return False
        detail = {k: v for k, v in (("by", by), ("reason", reason), ("found", run_count)) if v is not None}
        word = "joined"
        for tries_left in reversed(range(TRIES)):
            word = self._try_to_open(since_ms, cause, detail, is_last=not tries_left)
            if word != "joined":
                break
        return word == "opened"

    def open_unasked(self, swept: Swept) -> bool:
        """Grant again where nobody can be asked who works: whether the board has opened.

        An empty Redis opens at once. One that is older stays closed for the life of a waiter: who waits has shown life
        until then, and who was granted in the part that is lost has had that time to end.
        """
        if swept.closed_cause in ("rolled_back", "unwitnessed") and swept.closed_for < self.policy.waiter_ttl:
            return False
        return self.open("no_api_key")

    def end_roll_call(self, swept: Swept, *, is_synced: Callable[[], bool]) -> None:
        """Open the board once all who serve have said what they have seen; without them it stays closed after
        `ROLL_CALL` (``unwitnessed``), unless Redis writes every change to its disk before it answers.

        Source: lua/speak.lua, lua/close.lua.
        """
        is_over = swept.closed_for >= ROLL_CALL
        if swept.closed_cause != "roll_call":
            return
        if swept.missing == 0 or (is_over and is_synced()):
            self.open("roll_call", closed_ms=swept.closed_ms)
        elif is_over:
            self._word("close", "{}", "unwitnessed", swept.closed_ms)

    def _try_to_open(self, closed_ms: int, cause: str, detail: Mapping[str, object], *, is_last: bool) -> str:
        """What lua/open.lua or lua/line_up.lua says. *is_last*: open it whoever joins meanwhile."""
        with redis_errors():
            arrivals: Any = self._client.hget(self._keys.counters, "order")
        arrival = "" if is_last else (arrivals or b"0").decode()
        runs = self._who_came_since(closed_ms)
        for batch in _batches(runs):
            word, *rest = self.script("line_up", closed_ms, arrival, compact_json([run.id for run in batch]))
            if word != b"lined_up":
                return str(word, "ascii")
            arrival = arrival and rest[0].decode()
        order = {"order": [run.id for run in runs]} if runs else {}
        return self._word("open", cause, compact_json({**detail, **order}), closed_ms, arrival)

    def _who_came_since(self, closed_ms: int) -> list[RunState]:
        """The runs that joined the closed board, in the order in which Octopus started them, where it has said so."""
        runs = [run for run in self._waiting() if run.requested_at_ms >= closed_ms]
        ahead_ms = self.octopus_offset().middle_ms
        # Among equals by arrival alone, which is the rest of the order.
        return sorted(runs, key=lambda run: (run.started_oct_ms or run.requested_at_ms + ahead_ms, run.order[10:]))

    def _waiting(self) -> Iterator[RunState]:
        tasks = list({member.rpartition(b"\0")[2].lower() for member in self._line_members()})
        for at in range(0, len(tasks), AT_ONCE):
            with redis_errors():
                records: Any = self._client.hmget(self._keys.runs, tasks[at : at + AT_ONCE])
            runs = (decode_run(record) for record in records if record)
            yield from (run for run in runs if run.state is State.WAITING)

    def _line_members(self) -> Iterator[bytes]:
        after = "-"
        while True:
            with redis_errors():
                members: Any = self._client.zrangebylex(self._keys.lines, after, "+", 0, AT_ONCE)
            yield from members
            if len(members) < AT_ONCE:
                return
            after = f"({members[-1].decode()}"


def _batches(runs: Sequence[RunState]) -> Iterator[Sequence[RunState]]:
    """Of so few machines that one script may put them in order."""
    batch: list[RunState] = []
    for run in runs:
        if batch and sum(len(other.machines) for other in (*batch, run)) > MACHINES_AT_ONCE:
            yield batch
            batch = []
        batch.append(run)
    if batch:
        yield batch
