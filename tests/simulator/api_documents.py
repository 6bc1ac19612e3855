"""Projects, environments, machines, releases and what else stands still."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tests.simulator import resources
from tests.simulator.envelope import collection
from tests.simulator.model import Invalid, Machine, Missing, Project, Task, number_of
from tests.simulator.process import deployment_process, process_snapshot
from tests.simulator.routing import Answer, Call, Created, Routes

routes = Routes()


def shown_task(call: Call, task: Task) -> resources.Resource:
    """The task; what says of it that it waits for a person is out of date where the dice want that."""
    dice = call.octopus.dice
    return resources.task(task, has_flag=not dice.falls(dice.faults.flag_off),
                          has_types=not dice.falls(dice.faults.types_off))  # fmt: skip


def filtered(call: Call, documents: Iterable[Any]) -> list[Any]:
    """Those in the spaces asked for, with one of ``ids`` and with ``partialName`` and ``name`` where asked."""
    ids, part, name = (
        {i.lower() for i in call.texts("ids")},
        call.text("partialName").lower(),
        call.text("name").lower(),
    )
    return [
        document
        for document in call.in_space(documents)
        if (not ids or document.id.lower() in ids)
        and part in document.name.lower()
        and (not name or name == document.name.lower())
    ]


def offer(kind: str, store_kind: str, item_type: str, permission: str, shape: Callable[[Any], Any]) -> None:
    """List, list all, and one, of documents that have a name."""

    @routes("GET", kind, permission)
    def some(call: Call) -> Answer:
        return collection(call, filtered(call, call.octopus.store.all(store_kind)), item_type, shape)

    @routes("GET", f"{kind}/all", permission)
    def every(call: Call) -> Answer:
        return [shape(document) for document in filtered(call, call.octopus.store.all(store_kind))]

    @routes("GET", f"{kind}/{{id}}", permission)
    def one(call: Call) -> Answer:
        return shape(_by_id_or_slug(call, store_kind, call.ids["id"]))


def _by_id_or_slug(call: Call, store_kind: str, wanted: str) -> Any:
    for document in call.in_space(call.octopus.store.all(store_kind)):
        if getattr(document, "slug", "").lower() == wanted.lower():
            return document
    return call.get(store_kind, wanted)


offer("environments", "Environments", "Environment", "EnvironmentView", resources.environment)
offer("tenants", "Tenants", "Tenant", "TenantView", resources.tenant)
offer("projects", "Projects", "Project", "ProjectView", resources.project)


@routes("GET", "projects/{id}/channels", "ProjectView")
def channels_of_project(call: Call) -> Answer:
    return collection(call, [call.get("Projects", call.ids["id"])], "Channel", resources.channel)


@routes("GET", "channels", "ProjectView")
def channels(call: Call) -> Answer:
    return collection(call, call.in_space(call.octopus.store.all("Projects")), "Channel", resources.channel)


@routes("GET", "channels/{id}", "ProjectView")
def channel(call: Call) -> Answer:
    return resources.channel(_project_where(call, lambda project: project.channel_id))


@routes("GET", "projects/{id}/deploymentprocesses", "ProcessView")
def process_of_project(call: Call) -> Answer:
    return deployment_process(call.get("Projects", call.ids["id"]))


@routes("GET", "deploymentprocesses", "ProcessView")
def processes(call: Call) -> Answer:
    projects = call.in_space(call.octopus.store.all("Projects"))
    return collection(call, projects, "DeploymentProcess", deployment_process)


@routes("GET", "deploymentprocesses/{id}", "ProcessView")
def process(call: Call) -> Answer:
    """Of a project as it is, or of some deployment as it was when that was made."""
    if "-s-" in call.ids["id"]:
        return _snapshot(call, "deploymentprocesses")
    return deployment_process(_project_where(call, resources.process_id))


@routes("GET", "runbookprocesses/{id}", "RunbookView")
@routes("GET", "projects/{project}/runbookprocesses/{id}", "RunbookView")
def runbook_process(call: Call) -> Answer:
    """Of some runbook run as it was when that was made."""
    return _snapshot(call, "runbookProcesses")


def _snapshot(call: Call, kind: str) -> Answer:
    for project in call.in_space(call.octopus.store.all("Projects")):
        for snapshot_id in project.snapshots:
            if snapshot_id.lower() == call.ids["id"].lower():
                return process_snapshot(project, snapshot_id, kind)
    raise Missing(f"The resource '{call.ids['id']}' was not found.")


@routes("GET", "deploymentprocesses/{id}/template", "ProcessView")
def process_template(call: Call) -> Answer:
    """What a release of it needs: no packages, and a version."""
    project = _project_where(call, resources.process_id)
    return {"DeploymentProcessId": resources.process_id(project), "LastReleaseVersion": None, "Packages": [],
            "NextVersionIncrement": f"1.0.{project.releases + 1}", "Links": {}}  # fmt: skip


def _project_where(call: Call, id_of: Callable[[Project], str]) -> Project:
    for project in call.in_space(call.octopus.store.all("Projects")):
        if id_of(project).lower() == call.ids["id"].lower():
            found: Project = project
            return found
    raise Missing(f"The resource '{call.ids['id']}' was not found.")


def _machine(call: Call, machine: Machine) -> resources.Resource:
    environments = [e.id for e in call.octopus.store.all("Environments")
                    if e.space_id == machine.space_id and machine.is_in(e.id)]  # fmt: skip
    return resources.machine(machine, environments)


def _machines(call: Call) -> list[Machine]:
    environments, roles, disabled = call.texts("environmentIds"), set(call.texts("roles")), call.flag("isDisabled")
    return [
        machine
        for machine in filtered(call, call.octopus.store.all("Machines"))
        if (not environments or any(machine.is_in(environment) for environment in environments))
        and (not roles or roles & set(machine.roles))
        and (disabled is None or machine.is_disabled == disabled)
    ]


@routes("GET", "machines", "MachineView")
def machines(call: Call) -> Answer:
    return collection(call, _machines(call), "Machine", lambda machine: _machine(call, machine))


@routes("GET", "machines/all", "MachineView")
def all_machines(call: Call) -> Answer:
    return [_machine(call, machine) for machine in _machines(call)]


@routes("GET", "environments/{id}/machines", "MachineView")
def machines_of_environment(call: Call) -> Answer:
    environment = call.get("Environments", call.ids["id"])
    found = [machine for machine in _machines(call) if machine.is_in(environment.id)]
    return collection(call, found, "Machine", lambda machine: _machine(call, machine))


@routes("GET", "machines/{id}", "MachineView")
def machine(call: Call) -> Answer:
    return _machine(call, call.get("Machines", call.ids["id"]))


@routes("GET", "machines/{id}/tasks", "TaskView")
def machine_tasks(call: Call) -> Answer:
    """Newest first. Of all parameters only ``skip``, ``take`` and ``type`` do anything, as in Octopus.

    A task belongs to the machines that its deployment was planned for, from the moment it is queued.
    """
    machine_id = call.get("Machines", call.ids["id"]).id
    name = {"deployment": "Deploy", "runbookrun": "RunbookRun"}.get(call.text("type").lower())
    tasks = [
        task
        for task in reversed(call.octopus.store.all("ServerTasks"))
        if task.deployment and machine_id in task.planned and name in (None, task.name)
    ]
    return collection(call, tasks, "Task", lambda task: shown_task(call, task))


@routes("GET", "releases", "ReleaseView")
def releases(call: Call) -> Answer:
    found = call.in_space(call.octopus.store.all("Releases"))
    return collection(call, found[::-1], "Release", resources.release)


@routes("GET", "projects/{id}/releases", "ReleaseView")
def releases_of_project(call: Call) -> Answer:
    project, part = call.get("Projects", call.ids["id"]), call.text("searchByVersion").lower()
    found = [r for r in call.octopus.store.all("Releases") if r.project is project and part in r.version.lower()]
    return collection(call, sorted(found, key=lambda r: -number_of(r.id)), "Release", resources.release)


@routes("GET", "projects/{id}/releases/{version}", "ReleaseView")
def release_by_version(call: Call) -> Answer:
    project, version = call.get("Projects", call.ids["id"]), call.ids["version"].lower()
    for release in call.octopus.store.all("Releases"):
        if release.project is project and release.version.lower() == version:
            return resources.release(release)
    raise Missing(f"The resource '{call.ids['version']}' was not found.")


@routes("POST", "releases", "ReleaseCreate")
def create_release(call: Call) -> Answer:
    body = call.body
    if not body.get("ProjectId"):
        raise Invalid("ProjectId is required.")
    project = call.get("Projects", body["ProjectId"])
    release = call.octopus.deployments.release(project, body.get("Version") or "", body.get("ReleaseNotes") or "")
    return Created(resources.release(release))


@routes("POST", "releases/create/v1", "ReleaseCreate")
def create_release_by_names(call: Call) -> Answer:
    body = call.body
    project = call.octopus.store.named("Projects", _required(body, "ProjectName"), call.home.id)
    make = (
        call.octopus.deployments.release_of if body.get("IgnoreIfAlreadyExists") else call.octopus.deployments.release
    )
    release = make(project, body.get("ReleaseVersion") or "")
    return Created(ReleaseId=release.id, ReleaseVersion=release.version)


def _required(body: dict[str, Any], name: str) -> str:
    """Executions come with names in either spelling. Raises: Invalid."""
    for key, value in body.items():
        if key.lower() == name.lower() and value:
            return str(value)
    raise Invalid(f"{name} is required.")


@routes("GET", "releases/{id}", "ReleaseView")
def one_release(call: Call) -> Answer:
    return resources.release(call.get("Releases", call.ids["id"]))
