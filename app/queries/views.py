"""Views of waits, runs and machines for the API and the pages, built from a snapshot or a status."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from app.coordination.snapshot import Machine, Snapshot, Waiter
from app.domain.news import news_of
from app.domain.records import Filter, Record
from app.domain.run import State
from app.domain.status import MachinePlace, RunStatus
from app.services import Services

#: Records of its timeline that a run's page and its API answer show, the newest ones.
RUN_RECORDS = 500

#: Fields of a run that stand in its record only.
_OF_RECORD = frozenset({"ended_at_ms", "started_oct_ms", "ended_oct_ms", "cause", "lingers"})

#: What a parked run is told where only a person can let it go on.
NOBODY_RESUMES = (
    "octowait has no API key of Octopus and cannot resume it: when it is granted, answer its intervention by hand, or "
    "set OCTOWAIT_OCTOPUS_URL and OCTOWAIT_OCTOPUS_API_KEY."
)


@dataclass(frozen=True)
class WaitAnswer(RunStatus):
    """A run as its step sees it, with the message for it in the place of the run's own.

    Args:
        claim: The execution of a step that it belongs to.
        family: The word by which children of the run prove that; for that step alone.
        details: The address of its page.
        seen: What the step is to repeat in its next call: by then, Redis must know as much.
    """

    message: str = ""
    wake_key: str = ""
    claim: str | None = None
    family: str | None = None
    details: str | None = None
    seen: str | None = None

    @property
    def fencing_token(self) -> int | None:
        """That of a former grant is nothing to work with."""
        return self.run.token if self.is_granted else None

    @property
    def news(self) -> str:
        return news_of(self)


def wait_answer(services: Services, place: RunStatus, **facts: Any) -> WaitAnswer:
    """The answer about a wait to somebody who only looks; with *facts*, to a step."""
    foreseen = services.estimates.with_eta(place)
    return WaitAnswer(
        foreseen.run, foreseen.now_ms, foreseen.machines, eta_ms=foreseen.eta_ms,
        message=message_of(services, foreseen), wake_key=services.keys.wake(place.task_id), **facts,
    )  # fmt: skip


def step_answer(services: Services, place: RunStatus, *, claim: str | None, base_url: str) -> WaitAnswer:
    """The answer about a wait to a step.

    Args:
        claim: The id of the execution of the step, if it has one.
        base_url: Where octowait's pages are, as far as the step knows.
    """
    run = place.run
    return wait_answer(
        services, place, claim=run.claim, family=run.family_word if claim and claim == run.claim else None,
        details=f"{base_url.rstrip('/')}/runs/{quote(run.id)}", seen=_seen_word(services, place),
    )  # fmt: skip


def _seen_word(services: Services, place: RunStatus) -> str | None:
    seen = services.board.script.witness.latest
    return services.seal.word(seen, place.is_granted) if services.seal and seen else None


def message_of(services: Services, place: RunStatus) -> str:
    """The sentence for the person who reads the deployment log; and what octowait cannot do for a parked run."""
    return f"{place.message} {NOBODY_RESUMES}" if needs_a_person(services, place) else place.message


def needs_a_person(services: Services, place: RunStatus) -> bool:
    """Whether nobody but a person can let a parked run go on when its turn has come."""
    return place.is_waiting and place.run.parked and not services.knows_octopus


def waiting_places(snapshot: Snapshot, tasks: Iterable[str] | None = None) -> Iterator[RunStatus]:
    """Everyone waiting, in order, as the steps see it; or those of *tasks* that wait, in the order of these."""
    for task in snapshot.waiting if tasks is None else tasks:
        place = _waiting_place(snapshot, task)
        if place:
            yield place


def _waiting_place(snapshot: Snapshot, task: str) -> RunStatus | None:
    run = snapshot.runs.get(task.lower())
    machines = [snapshot.machine(machine) for machine in run.machines] if run else []
    places = [place_at(each, each.waiters[task]) for each in machines if each and task in each.waiters]
    if run is None or not places:
        return None
    # It is read a moment after the lines, and may have been granted meanwhile.
    return RunStatus(replace(run, state=State.WAITING), snapshot.now_ms, tuple(places))


def place_at(machine: Machine, waiter: Waiter) -> MachinePlace:
    """As ``lua/lib/view.lua`` shows it: a child waits no longer for what its family holds."""
    runs = [held for held in machine.holders if held.task_id]
    if runs and waiter.run.family and all(held.family == waiter.run.family for held in runs):
        return MachinePlace(machine.id, machine.name, 0, (), ())
    ahead = tuple(other.task_id for other in machine.line[: min(waiter.place - 1, 20)])
    return MachinePlace(machine.id, machine.name, waiter.place, machine.holders, ahead)


@dataclass(frozen=True)
class RunFacts:
    """One run: its facts and its timeline; all else is the run's.

    Args:
        unseen: Why its end will not be seen, where Octopus hides it.
    """

    status: RunStatus
    timeline: list[Record]
    unseen: str | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.status.run if name in _OF_RECORD else self.status, name)

    @property
    def run(self) -> int:
        """Which of the runs of its task it is, from 1."""
        return self.status.run.run

    @property
    def version(self) -> int:
        """Grows with every change of the run."""
        return self.status.run.v

    @property
    def info(self) -> dict[str, Any]:
        return self.status.run.info.as_json()

    @property
    def priority(self) -> int:
        return self.status.run.priority

    @property
    def paused(self) -> bool:
        return self.status.run.paused

    @property
    def waited_ms(self) -> int | None:
        return self.status.waited_ms if self.status.requested_at_ms else None

    @property
    def held_from_ms(self) -> int | None:
        """Since when it has held, or held, its machines."""
        return self.status.granted_at_ms or self.status.run.observed_at_ms

    @property
    def held_ms(self) -> int | None:
        begin, end = self.held_from_ms, self.status.run.ended_at_ms or self.status.now_ms
        return end - begin if begin else None

    @property
    def began_ms(self) -> int | None:
        """When it asked for its machines, or was first seen on them."""
        return self.status.requested_at_ms or self.held_from_ms or self.status.run.started_oct_ms


def run_of(services: Services, task_id: str) -> RunFacts | None:
    """One run by its task, None if nobody has heard of it."""
    place = services.board.place(task_id)
    return facts_of(services, place) if place else None


def facts_of(services: Services, place: RunStatus) -> RunFacts:
    """One run with the newest records of its timeline."""
    records = services.timeline.newest(Filter(task_id=place.task_id), limit=RUN_RECORDS)
    return RunFacts(place, records, services.unseen.why(place.task_id))
