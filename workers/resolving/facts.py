"""The facts of an observed run: its machines, whether these are its whole plan, and whether its step will ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from app.domain.ids import distinct_ids
from app.domain.plan import MachineUse, Selection, Target, machines_of
from app.domain.status import RunStatus
from app.octopus.client import OctopusClient
from app.octopus.errors import OctopusError
from app.octopus.first_step import first_action
from app.octopus.runs import Deployment, RunbookRun
from app.octopus.tasks import Task
from workers.context import Context
from workers.resolving.lookup import Lookup, Plan
from workers.resolving.memory import document_key
from workers.resolving.names import DOCUMENTS, with_names

log = structlog.get_logger()

#: Processes of which one pass reads how they begin.
MOST_PROCESSES = 3


class Unclear(Exception):
    """The machines of the run cannot be told from what Octopus says, and a guess would be wrong either way."""


@dataclass(frozen=True)
class Facts:
    """The facts of a run. *info* is shown to people, as `RunRequest.info`. *is_full*: the machines are its whole plan.

    *expects_step*: its process begins with octowait's step; False where that is not known.
    """

    machines: tuple[Target, ...]
    info: Mapping[str, Any]
    is_full: bool
    expects_step: bool


@dataclass(frozen=True)
class ObservedRun:
    """A run whose machines are to be found out; *task* is None where its key may not see that."""

    place: RunStatus
    task: Task | None

    @property
    def space(self) -> str | None:
        return space_of_place(self.place) or (self.task.space_id if self.task else None)

    @property
    def deployment_id(self) -> str | None:
        return (self.task.deployment_id if self.task else None) or self.place.run.info.deployment_id

    @property
    def runbook_run_id(self) -> str | None:
        return (self.task.runbook_run_id if self.task else None) or self.place.run.info.runbook_run_id


class FactFinder:
    """Finds the facts of the runs of one pass.

    Args:
        expects_steps: As of `workers.resolve.Resolver`.
    """

    def __init__(self, context: Context, lookup: Lookup, *, expects_steps: bool) -> None:
        self._board = context.board
        self._memory = context.memory
        self._unresolved = context.unresolved
        self._lookup = lookup
        self._expects_steps = expects_steps
        self._unread: dict[tuple[str | None, str], Deployment | RunbookRun] = {}

    def find(self, place: RunStatus, task: Task | None) -> Facts:
        """What Octopus knows of a run that the gate does not; the names of it are looked up later.

        Raises:
            OctopusError: Octopus did not say.
            Unclear: it said nothing about machines.
        """
        known = ObservedRun(place, task)
        what: Deployment | RunbookRun
        if known.deployment_id:
            what = self._lookup.deployment(known.deployment_id, known.space)
        elif known.runbook_run_id:
            what = self._lookup.runbook_run(known.runbook_run_id, known.space)
        else:
            raise Unclear(f"{place.task_id} is neither a deployment nor a runbook run")
        try:
            use = self._use(what, known)
        except (OctopusError, Unclear):
            # Whatever else it uses, these it does.
            self._board.presume(place.task_id, [*what.selection.specific, *what.selection.deployed_to])
            raise
        self._unresolved.to_name(place.task_id, now_ms=self._board.now_ms())
        return Facts(use.machines, self._info(known, what, use), use.is_full, self._expects_step(what, known))

    def _use(self, what: Deployment | RunbookRun, known: ObservedRun) -> MachineUse:
        selection, again = what.selection, known.place.is_second_start
        plan = self._plan(what, known.space) if selection.needs_plan(is_second_start=again) else None
        names = {name for action in plan or () for name in action.names}
        use = machines_of(
            selection,
            plan,
            is_second_start=again,
            tags={} if again else self._tags(selection, plan, known.space),
            named=self._lookup.machines_named(names, known.space) if names else {},
        )
        if use.unknown:
            self._board.presume(known.place.task_id, [target.id for target in use.machines])
            raise Unclear(f"the plan of {what.id} names machines that are not known: {', '.join(use.unknown[:5])}")
        return use

    def _plan(self, what: Deployment | RunbookRun, space: str | None) -> Plan:
        source = what.plan_source
        if source is None:
            needed = "a release" if isinstance(what, Deployment) else "a runbook"
            raise Unclear(f"{what.id} names neither machines, nor {needed} and an environment to preview")
        return self._lookup.plan(source, space)

    def _tags(self, selection: Selection, plan: Plan | None, space: str | None) -> Mapping[str, frozenset[str]]:
        if not selection.names_tags:
            return {}
        planned = (target.id for action in plan or () for target in action.machines if target.tags is None)
        return self._lookup.target_tags(distinct_ids([*planned, *selection.specific]), space)

    def _info(self, known: ObservedRun, what: Deployment | RunbookRun, use: MachineUse) -> dict[str, Any]:
        """What people are shown, as `RunRequest.info`."""
        before = known.place.run.info.as_json()
        info: dict[str, Any] = {"space_id": known.space} if known.space else {}
        info["runbook_run_id" if isinstance(what, RunbookRun) else "deployment_id"] = what.id
        for name in DOCUMENTS:
            document_id = getattr(what, f"{name}_id", None)
            if document_id:
                earlier = before.get(name) or {}
                is_same = str(earlier.get("id") or "").lower() == document_id.lower()
                info[name] = dict(earlier) if is_same else {"id": document_id}
        note = "; ".join(use.reasons)
        if note or before.get("machines_note"):
            info["machines_note"] = note
        return with_names(self._memory, known.space, info)

    def _expects_step(self, what: Deployment | RunbookRun, known: ObservedRun) -> bool:
        """Whether it has just begun, with octowait's step, as far as that was read before."""
        if not what.process_id or not self._expects_steps:
            return False
        key = document_key("processes", known.space, what.process_id)
        first_actions = self._memory.first_actions
        if key not in first_actions:
            self._unread.setdefault((known.space, what.process_id), what)
        first = first_actions.get(key)
        now_ms = self._board.now_ms() + self._board.octopus_offset().least_ms
        began = timedelta(milliseconds=now_ms - (known.place.run.started_oct_ms or 0))
        is_new = began <= self._board.policy.expect_step
        return is_new and first is not None and first.is_expected(what.skipped_actions)

    def read_processes(self, octopus: OctopusClient) -> None:
        """Read how some of the processes begin that this pass came across, for the next runs of them.

        A snapshot never changes, so each is read once; nothing depends on it.
        """
        for (space, process_id), what in list(self._unread.items())[:MOST_PROCESSES]:
            try:
                first = first_action(octopus.process_snapshot(what, space=space))
            except OctopusError as error:
                log.info("resolve: a process cannot be read", process=process_id, error=str(error))
                if not error.permanent:
                    return
                first = None
            self._memory.first_actions.put(document_key("processes", space, process_id), first)


def space_of_place(place: RunStatus) -> str | None:
    """The space of the run, if it is known."""
    return place.run.info.space
