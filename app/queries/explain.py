"""The explanation of a run: why it stands where it does, with the names that people know."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from app.domain.analysis.narrative import mentioned
from app.domain.explain import explain
from app.domain.explanation import MOST_LINKS, Explanation, Link
from app.domain.status import RunStatus
from app.queries.names import names_of
from app.queries.stories import WaitStory
from app.queries.views import NOBODY_RESUMES, message_of, needs_a_person
from app.services import Services

#: Waits of one task that an answer shows.
MOST_WAITS = 20


@dataclass(frozen=True)
class Explained:
    """Why a run stands where it does; of one that waits no longer, what it waited for; all else is the run's.

    Args:
        what_if: None if it does not wait.
        unresolved: Running tasks whose machines are not known yet.
        waits: The waits of its task, oldest first.
    """

    place: RunStatus
    message: str
    needs_a_person: bool
    what_if: Explanation | None
    unresolved: list[str]
    waits: list[WaitStory]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.place, name)

    @property
    def chain(self) -> tuple[Link, ...]:
        return self.what_if.chain if self.what_if else ()

    @property
    def chain_is_cut(self) -> bool:
        return bool(self.what_if and self.what_if.is_cut)

    @property
    def sentences(self) -> list[str]:
        """The same in words, the most important first."""
        sentences = self.what_if.sentences if self.what_if else [self.place.message]
        if self.unresolved:
            tasks = ", ".join(self.unresolved)
            sentences = [*sentences, f"Running on machines that are not known yet, perhaps on these: {tasks}."]
        return [
            *sentences,
            *(self.waits[-1].story if self.waits else []),
            *([NOBODY_RESUMES] if self.needs_a_person else []),
        ]


def explanation_of(services: Services, task_id: str) -> Explained | None:
    """Why a run stands where it does, None if nobody has heard of it."""
    status = services.board.place(task_id)
    if status is None:
        return None
    place = services.estimates.with_eta(status)
    waits = services.past.waits_of(place.task_id, now_ms=place.now_ms, most=MOST_WAITS)
    names = names_of(
        services, tasks=mentioned(waits), machines=[machine for wait in waits for machine in wait.machines]
    )  # fmt: skip
    foretell = services.estimates.eta
    why = explain(place, services.board.place, foretell, services.board.waiting_children) if place.is_waiting else None
    if why and not place.eta_ms:
        why = replace(why, outlasted_by=services.estimates.outlasted_by(place))
    return Explained(
        place=place,
        message=message_of(services, place),
        needs_a_person=needs_a_person(services, place),
        what_if=why,
        unresolved=services.unresolved.tasks()[:MOST_LINKS] if why else [],
        waits=[WaitStory(wait, names) for wait in waits],
    )
