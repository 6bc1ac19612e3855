"""The audit trail: events are raised here, and found again by filters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from tests.simulator.categories import GROUPS
from tests.simulator.clock import Clock
from tests.simulator.model import Deployment, Event, Interruption, Machine, Store, Task, User

#: The auto id of an event is not the number in its id, and no field of the event tells it.
FIRST_NUMBER, FIRST_AUTO_ID = 1_000, 7_000

#: A piece of a message: text, or text that refers to a document.
Piece = str | tuple[str, str]


class EventLog:
    """Events in the order of their auto ids. Call it with the store's lock held."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.all: list[Event] = []
        #: Called after each new event.
        self.listeners: list[Callable[[], None]] = []

    def of_deployment(self, category: str, task: Task, user: User | None, verb: str, *first: str) -> Event:
        """An event about a deployment or runbook run; *first* are ids that come before the usual ones."""
        deployment = task.deployment
        assert deployment is not None
        pieces: list[Piece] = [(deployment.name, deployment.id), f" {verb} for ",
                               (deployment.project.name, deployment.project.id)]  # fmt: skip
        if deployment.release:
            pieces += [" release ", (deployment.release.version, deployment.release.id)]
        pieces += [" to ", (deployment.environment.name, deployment.environment.id)]
        return self._add(category, task.space_id, (*first, *related(task)), pieces, user, deployment)

    def of_task(self, category: str, task: Task, user: User | None, verb: str) -> Event:
        """An event that names the task; for a deployment's task its documents too."""
        ids = related(task) if task.deployment else (task.id,)
        found = self._add(category, task.space_id, ids, [f"{verb} ", (task.description, task.id)], user,
                          task.deployment)  # fmt: skip
        found.is_system = task.is_system
        return found

    def of_interruption(self, category: str, interruption: Interruption) -> Event:
        """It was raised, or submitted by whom it now belongs to."""
        return self.of_deployment(category, interruption.task, interruption.responsible,
                                  interruption.title, interruption.id)  # fmt: skip

    def of_machine(self, category: str, machine: Machine, verb: str, user: User | None) -> Event:
        """About a deployment target itself."""
        pieces: list[Piece] = ["Deployment target ", (machine.name, machine.id), f" was {verb}"]
        return self._add(category, machine.space_id, (machine.id,), pieces, user, None)

    def _add(
        self, category: str, space_id: str, ids: Sequence[str], pieces: Iterable[Piece], user: User | None,
        deployment: Deployment | None,
    ) -> Event:  # fmt: skip
        message, references = "", []
        for piece in pieces:
            text, document_id = (piece, None) if isinstance(piece, str) else piece
            if document_id:
                references.append((document_id, len(message), len(text)))
            message += text
        tenant = deployment.tenant if deployment else None
        number = len(self.all)
        event = Event(
            id=f"Events-{FIRST_NUMBER + number}", auto_id=FIRST_AUTO_ID + number, space_id=space_id,
            category=category, occurred_ms=Clock.now_ms(), related=tuple(ids), message=message,
            references=tuple(references), user=user, project_id=deployment.project.id if deployment else None,
            environment_id=deployment.environment.id if deployment else None,
            tenant_id=tenant.id if tenant else None,
        )  # fmt: skip
        self.all.append(event)
        self._store.put(event)
        for listener in self.listeners:
            listener()
        return event

    @property
    def last_auto_id(self) -> int:
        return self.all[-1].auto_id if self.all else FIRST_AUTO_ID - 1

    def after(self, auto_id: int) -> list[Event]:
        """Events with a greater auto id, oldest first."""
        return self.all[max(0, auto_id + 1 - FIRST_AUTO_ID) :]


def related(task: Task) -> tuple[str, ...]:
    """The ids that Octopus puts into an event of a deployment, in its order. Never a machine."""
    deployment = task.deployment
    if deployment is None:
        return (task.id,)
    ids = [deployment.id]
    if deployment.runbook and deployment.runbook.is_in_git:
        # A slug is no document's id.
        ids.append(deployment.project.id)
    elif deployment.runbook:
        ids += [deployment.runbook.id, deployment.reference, deployment.project.id]
    else:
        ids.append(deployment.project.id)
    if deployment.release:
        ids.append(deployment.release.id)
    ids.append(deployment.environment.id)
    if deployment.tenant:
        ids.append(deployment.tenant.id)
    ids.append(task.id)
    return (*ids, deployment.project.channel_id) if deployment.release else tuple(ids)


def matches(event: Event, wanted: Mapping[str, Sequence[str]]) -> bool:
    """Whether *event* passes a subscription's filter: OR within a kind, AND between kinds; an empty kind lets all pass.

    An event without a project does not pass a filter of projects; nor without an environment one of those.
    """
    values: dict[str, set[str | None]] = {
        "EventCategories": {event.category},
        "EventGroups": {group for group, categories in GROUPS.items() if event.category in categories},
        "DocumentTypes": {document_id.rpartition("-")[0] for document_id in event.related},
        "Projects": {event.project_id},
        "Environments": {event.environment_id},
        "Tenants": {event.tenant_id},
        "Users": {event.user.id if event.user else "users-system"},
    }
    return all(_is_among(found, wanted.get(kind) or ()) for kind, found in values.items())


def _is_among(found: set[str | None], asked: Sequence[str]) -> bool:
    return not asked or bool({str(value).lower() for value in found} & {text.lower() for text in asked})
