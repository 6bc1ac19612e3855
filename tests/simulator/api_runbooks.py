"""Runbooks: those in the database under their id, those in Git only under project, Git reference and slug."""

from __future__ import annotations

from tests.simulator import resources
from tests.simulator.api_documents import filtered
from tests.simulator.envelope import collection
from tests.simulator.model import Missing, Runbook
from tests.simulator.routing import Answer, Call, Routes

routes = Routes()


def runbook_by_id(call: Call, wanted: str) -> Runbook:
    """One of the database, by id or slug. Raises: Missing."""
    for runbook in _of_database(call):
        if wanted.lower() in (runbook.id.lower(), runbook.slug):
            return runbook
    raise Missing(f"The resource '{wanted}' was not found.")


def runbook_in_git(call: Call) -> Runbook:
    """That of the path's project, reference and slug. Raises: Missing."""
    project, reference, wanted = call.get("Projects", call.ids["id"]), call.ids["reference"], call.ids["runbook"]
    for runbook in call.octopus.store.all("Runbooks"):
        if runbook.project is project and runbook.is_in_git and reference in runbook.processes:
            if wanted.lower() == runbook.slug:
                found: Runbook = runbook
                return found
    raise Missing(f"The resource '{wanted}' was not found.")


def _of_database(call: Call) -> list[Runbook]:
    return [runbook for runbook in call.in_space(call.octopus.store.all("Runbooks")) if not runbook.is_in_git]


@routes("GET", "runbooks", "RunbookView")
def runbooks(call: Call) -> Answer:
    return collection(call, filtered(call, _of_database(call)), "Runbook", resources.runbook)


@routes("GET", "runbooks/all", "RunbookView")
def all_runbooks(call: Call) -> Answer:
    return [resources.runbook(runbook) for runbook in filtered(call, _of_database(call))]


@routes("GET", "runbooks/{id}", "RunbookView")
def runbook(call: Call) -> Answer:
    return resources.runbook(runbook_by_id(call, call.ids["id"]))


@routes("GET", "projects/{id}/runbooks", "RunbookView")
def runbooks_of_project(call: Call) -> Answer:
    project = call.get("Projects", call.ids["id"])
    found = [runbook for runbook in _of_database(call) if runbook.project is project]
    return collection(call, filtered(call, found), "Runbook", resources.runbook)


@routes("GET", "projects/{id}/{reference}/runbooks", "RunbookView")
def runbooks_of_branch(call: Call) -> Answer:
    project, reference = call.get("Projects", call.ids["id"]), call.ids["reference"]
    found = [
        runbook
        for runbook in call.octopus.store.all("Runbooks")
        if runbook.project is project and runbook.is_in_git and reference in runbook.processes
    ]
    return collection(call, filtered(call, found), "Runbook", resources.runbook)


@routes("GET", "projects/{id}/{reference}/runbooks/{runbook}", "RunbookView")
def runbook_of_branch(call: Call) -> Answer:
    return resources.runbook(runbook_in_git(call))
