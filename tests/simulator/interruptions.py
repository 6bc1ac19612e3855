"""Manual interventions and guided failures: raised by a run, answered by whoever took responsibility."""

from __future__ import annotations

from collections.abc import Mapping

from tests.simulator.clock import Clock
from tests.simulator.engine import Engine
from tests.simulator.events import EventLog
from tests.simulator.model import Denied, Interruption, Invalid, Store, Task, User
from tests.simulator.record import Answer
from tests.simulator.steps import AUTOMATIC

#: The answers that each type takes, and the field they come in.
ANSWERS = {"ManualIntervention": ("Result", ("Proceed", "Abort")),
           "GuidedFailure": ("Guidance", ("Fail", "Retry", "Ignore", "Exclude"))}  # fmt: skip

#: Types that raise an event.
_TOLD = frozenset(ANSWERS)


class Interruptions:
    """Everything here takes the store's lock."""

    def __init__(self, store: Store, events: EventLog, engine: Engine) -> None:
        self._store = store
        self._events = events
        self._engine = engine

    def raise_(
        self, task: Task, type_: str, title: str, *, instructions: str = "", teams: tuple[str, ...] = (),
        frees_slot: bool = False,
    ) -> Interruption:  # fmt: skip
        """A new pending one; with *frees_slot* its task waits for it Queued, without a slot."""
        with self._store.lock:
            interruption = self._store.put(Interruption(
                id=self._store.new_id("Interruptions"), space_id=task.space_id, task=task, type=type_, title=title,
                created_ms=Clock.now_ms(), instructions=instructions, teams=teams, frees_slot=frees_slot,
            ))  # fmt: skip
            task.interruptions.append(interruption)
            if type_ in _TOLD:
                self._events.of_interruption(f"{type_}InterruptionRaised", interruption)
            if frees_slot:
                self._engine.pause(task)
            self._engine.changed.notify_all()
            return interruption

    def may_take(self, interruption: Interruption, user: User) -> bool:
        """Whether *user* is in one of the teams that may answer; no teams: everybody is."""
        return not interruption.teams or "*" in user.teams or bool(set(interruption.teams) & set(user.teams))

    def take(self, interruption: Interruption, user: User) -> None:
        """Make *user* responsible, in place of who was. Raises: Denied, Invalid."""
        with self._store.lock:
            _must_be_pending(interruption)
            if interruption.type in AUTOMATIC:
                raise Denied(f"{interruption.id} is answered by Octopus itself: nobody can take responsibility.")
            if not self.may_take(interruption, user):
                raise Denied(f"You do not have permission to take responsibility for {interruption.id}: "
                             "you are not a member of a responsible team.")  # fmt: skip
            interruption.responsible = user

    def submit(self, interruption: Interruption, user: User, values: Mapping[str, str]) -> None:
        """Answer it; a task that waits without a slot is queued again. Raises: Denied, Invalid."""
        with self._store.lock:
            _must_be_pending(interruption)
            if interruption.type in AUTOMATIC:
                raise Invalid(f"{interruption.id} is answered by Octopus itself.")
            if interruption.responsible is not user:
                raise Invalid(f"{interruption.id} can only be submitted by the user who has taken responsibility.")
            name, allowed = ANSWERS[interruption.type]
            if values.get(name) not in allowed:
                raise Invalid(f"{name} is {values.get(name)!r}: expected one of {', '.join(allowed)}.")
            interruption.answer = {"Notes": "", **values}
            interruption.is_pending, interruption.answered_by = False, user.name
            text = f"{interruption.title} {interruption.instructions}".lower()
            interruption.task.runs[-1].answers.append(Answer(
                title=interruption.title, type=interruption.type, answer=values[name], by=user.name,
                answered_ms=Clock.now_ms(), is_for_octowait="octowait" in text,
            ))  # fmt: skip
            self._events.of_interruption("InterruptionSubmitted", interruption)
            self._go_on(interruption)

    def settle(self, interruption: Interruption) -> None:
        """What it waits for has happened: the pull request is merged, the application in sync. Raises: Invalid."""
        with self._store.lock:
            _must_be_pending(interruption)
            if interruption.type not in AUTOMATIC:
                raise Invalid(f"{interruption.id} is for a person to answer.")
            interruption.is_pending = False
            self._go_on(interruption)

    def _go_on(self, interruption: Interruption) -> None:
        interruption.answered.set()
        if interruption.frees_slot and not interruption.task.pending:
            self._engine.enqueue(interruption.task)
        self._engine.changed.notify_all()


def _must_be_pending(interruption: Interruption) -> None:
    if not interruption.is_pending:
        raise Invalid(f"{interruption.id} is no longer pending.")
