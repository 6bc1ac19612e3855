"""The addresses at which different versions of Octopus keep the preview of a deployment or runbook run.

Of a tenanted run no preview without its tenant is taken: the targets of its tenant would not be in it.

Source: URI templates of the Go client, `RunbookRepository` of OctopusClients, the REST API reference of 2026.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from app.octopus.values import PlanSource, Resource

#: Times that an address is not there before it is tried after the others.
MOST_MISSES = 3


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

    def found(self, route: Route) -> None:
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
