"""Previews of deployments and runbook runs: the addresses at which versions of Octopus keep them, and what they say.

Of a tenanted run no preview without its tenant is taken: the targets of its tenant would not be in it.

Source: URI templates of the Go client, `RunbookRepository` of OctopusClients, the REST API reference of 2026.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import PlainValidator

from app.domain.plan import PlannedAction
from app.octopus.documents import DeploymentTarget
from app.octopus.errors import OctopusUnreadable
from app.octopus.fields import Demanded, Flag, Ids, Text, Value, at
from app.octopus.shapes import Resource, mapping_of

#: Times that an address is not there before it is tried after the others.
MOST_MISSES = 3


@dataclass(frozen=True)
class GitReference(Value):
    """Where in Git a process was read from. *ref* is a branch or tag, e.g. ``refs/heads/main``."""

    ref: Annotated[Text, at("GitRef")] = None
    commit: Annotated[Text, at("GitCommit")] = None


@dataclass(frozen=True)
class PlanSource:
    """What a preview is asked for by: a release, or a runbook or its snapshot. Runs with the same one share it."""

    environment_id: str
    tenant_id: str | None = None
    release_id: str | None = None
    runbook_id: str | None = None
    snapshot_id: str | None = None
    project_id: str | None = None
    git: GitReference | None = None


@dataclass(frozen=True)
class Route:
    """An address below a space. A part in braces stands for that id of the source; a POST answers a list."""

    method: Literal["GET", "POST"]
    template: str

    def path(self, source: PlanSource) -> tuple[str, ...] | None:
        """The parts of the address; None where *source* lacks one of its ids."""
        known = _known(source)
        parts = []
        for part in self.template.split("/"):
            value = known.get(part.strip("{}")) if part.startswith("{") else part
            if value is None:
                return None
            parts.append(value)
        if self.method == "GET" and source.tenant_id:
            parts.append(source.tenant_id)
        return tuple(parts)


#: What runs is the process of the snapshot, so that comes first; then the commit, then what its branch is by now.
#: Runbooks in Git, and tenants of them, are known below their project only.
ROUTES = (
    Route("GET", "releases/{release}/deployments/preview/{environment}"),
    Route("POST", "releases/{release}/deployments/previews"),
    Route("GET", "runbookSnapshots/{snapshot}/runbookRuns/preview/{environment}"),
    Route("POST", "projects/{project}/runbookSnapshots/{snapshot}/runbookRuns/previews"),
    Route("GET", "projects/{project}/{commit}/runbooks/{runbook}/runbookRuns/preview/{environment}"),
    Route("POST", "projects/{project}/{commit}/runbooks/{runbook}/runbookRuns/previews"),
    Route("GET", "projects/{project}/{ref}/runbooks/{runbook}/runbookRuns/preview/{environment}"),
    Route("POST", "projects/{project}/{ref}/runbooks/{runbook}/runbookRuns/previews"),
    Route("GET", "runbooks/{database_runbook}/runbookRuns/preview/{environment}"),
    Route("GET", "projects/{project}/runbooks/{database_runbook}/runbookRuns/preview/{environment}"),
    Route("POST", "projects/{project}/runbooks/{database_runbook}/runbookRuns/previews"),
)


class Routes:
    """The routes in the order in which they are tried; those that this server seems not to have come last."""

    def __init__(self) -> None:
        self._misses: dict[Route, int] = {}

    def of(self, source: PlanSource) -> Iterator[tuple[Route, tuple[str, ...]]]:
        """Those that *source* has the ids for, with their paths."""
        for route in sorted(ROUTES, key=lambda route: self._misses.get(route, 0) >= MOST_MISSES):
            path = route.path(source)
            if path is not None:
                yield route, path

    def remember(self, route: Route) -> None:
        """Note that there is something at *route*."""
        self._misses.pop(route, None)

    def missed(self, route: Route) -> None:
        """Note that there was nothing at *route*."""
        self._misses[route] = self._misses.get(route, 0) + 1


def body_of(source: PlanSource) -> Resource:
    """What a POST asks for: one preview."""
    return {"DeploymentPreviews": [{"EnvironmentId": source.environment_id, "TenantId": source.tenant_id}]}


def _known(source: PlanSource) -> dict[str, str | None]:
    git = source.git
    return {
        "environment": source.environment_id,
        "release": source.release_id,
        "snapshot": source.snapshot_id,
        "project": source.project_id,
        "runbook": source.runbook_id,
        "database_runbook": None if git else source.runbook_id,
        "commit": git.commit if git else None,
        "ref": _full(git.ref) if git else None,
    }


def _full(ref: str | None) -> str | None:
    """*ref* in full: a branch with a slash in its name is no single part of an address otherwise."""
    return f"refs/heads/{ref}" if ref and "/" in ref and not ref.startswith("refs/") else ref


def parse_previews(answer: object) -> tuple[PlannedAction, ...]:
    """As `parse_preview`, from a list of previews, which was asked for one.

    Raises:
        OctopusUnreadable: it is no list of one, or as `parse_preview`.
    """
    if not isinstance(answer, list) or len(answer) != 1:
        raise OctopusUnreadable("deployment previews: expected a list of one, as was asked for")
    return parse_preview(answer[0])


def parse_preview(answer: object) -> tuple[PlannedAction, ...]:
    """The actions of a deployment or runbook run, each with the machines that it will run on.

    Machines that are not available now count, too: they may be back when their step begins.

    Raises:
        OctopusUnreadable: no list ``StepsToExecute``, or a step whose machines cannot be read: an answer without them
            would say that no machine is touched.
    """
    steps = mapping_of(answer).get("StepsToExecute")
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise OctopusUnreadable("deployment preview: StepsToExecute: missing, expected a list of steps")
    return tuple(map(_planned_action, PlannedStep.read_all(steps)))


def _machines(value: object) -> tuple[Resource, ...]:
    items = [] if value is None else value
    if not isinstance(items, list) or not all(isinstance(each, dict) for each in items):
        raise ValueError("expected a list of machines")
    return tuple(items)


_Machines = Annotated[tuple[Resource, ...], PlainValidator(_machines)]


@dataclass(frozen=True)
class PlannedStep(Value):
    """A step of a preview."""

    action_id: Text = None
    is_disabled: Flag = False
    machines: _Machines = ()
    unavailable_machines: _Machines = ()
    #: The names of the machines are given as well, or instead.
    machine_names: Ids = ()


@dataclass(frozen=True)
class NamedMachine(Value):
    """A machine without an id."""

    name: Demanded


def _planned_action(step: PlannedStep) -> PlannedAction:
    machines = [*step.machines, *step.unavailable_machines]
    targets = tuple(DeploymentTarget.read(each).target for each in machines if each.get("Id") is not None)
    names = [NamedMachine.read(each).name for each in machines if each.get("Id") is None]
    listed = [name.strip() for name in step.machine_names if name.strip()]
    if len(listed) > len(machines):
        covered = {(target.name or "").lower() for target in targets}
        names += [name for name in listed if name.lower() not in covered]
    return PlannedAction(step.action_id, targets, tuple(dict.fromkeys(names)), step.is_disabled)
