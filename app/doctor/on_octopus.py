"""Checks of Octopus as octowait sees it: the server, the API key, clocks, task cap, spaces."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from app.coordination.board.clock_offset import ClockOffset
from app.doctor.context import DoctorContext
from app.doctor.findings import Finding, error, ok, unknown, warning
from app.domain.phrases import several
from app.octopus.errors import OctopusDenied, OctopusError
from app.octopus.server import Permissions
from app.octopus.tasks import Task

#: What nothing works without, and what for. Source: Permission.cs of OctopusClients.
READING = {
    "EventView": "missed events are not read",
    "TaskView": "ends of runs are not seen",
    "DeploymentView": "the machines of deployments without a wait step are not known",
    "RunbookRunView": "the machines of runbook runs without a wait step are not known",
    "MachineView": "machines have no names",
    "EnvironmentView": "environments have no names",
    "ProjectView": "projects have no names",
}

#: What some things do not work without.
OPTIONAL = {
    "InterruptionView": "parked waits are not resumed",
    "InterruptionViewSubmitResponsible": "parked waits are not resumed",
    "SubscriptionView": "the subscription cannot be looked at",
    "SubscriptionCreate": "'octowait subscription ensure' cannot create it",
    "SubscriptionEdit": "'octowait subscription ensure' cannot correct it",
    "ProcessView": "projects without a wait step cannot be found, and parked waits are not resumed",
    "RunbookView": "parked waits of runbooks are not resumed",
}

#: Who may do everything.
ADMINISTRATOR = "AdministerSystem"


def reachable(context: DoctorContext) -> Iterator[Finding]:
    """Octopus answers, and it is Octopus."""
    try:
        # Where nobody answers each question would wait for all its attempts.
        if silence := context.probe():
            raise silence
        server = context.server
    except OctopusError as problem:
        yield error(
            "octopus_unreachable",
            f"Octopus cannot be asked from here: {problem}.",
            "Check OCTOWAIT_OCTOPUS_URL, the network and the certificate.",
        )
        return
    if not server.version:
        yield error(
            "octopus_version",
            f"{context.client.url} answers, and does not say a version of Octopus.",
            "Check OCTOWAIT_OCTOPUS_URL: it is the address before /api and /app.",
        )
    else:
        name = f"{server.application or 'Octopus'} {server.version}"
        yield ok("octopus_version", f"{name} answers at {context.client.url}.")


def api_key(context: DoctorContext) -> Iterator[Finding]:
    """The key is somebody's, and that somebody may do what octowait does."""
    try:
        user = context.client.me()
    except OctopusDenied as problem:
        yield error(
            "api_key",
            f"Octopus does not take the API key: {problem}.",
            "Make a new API key for octowait's service account and set OCTOWAIT_OCTOPUS_API_KEY.",
        )
        return
    yield ok("api_key", f"The API key is that of {user.name}.")
    yield from _permissions(context, context.client.permissions(user.id), user.name)


def _permissions(context: DoctorContext, granted: Permissions, user: str) -> Iterator[Finding]:
    if ADMINISTRATOR in granted.grants:
        yield warning(
            "permissions",
            f"{user} is an administrator of Octopus.",
            "Give octowait a service account that may do only what it does.",
        )
        return
    for name, consequence in {**READING, **OPTIONAL}.items():
        missing = [space.name for space in context.spaces if not _has(granted, name, space.id)]
        limited = [space.name for space in context.spaces if _is_limited(granted, name, space.id)]
        if missing and not granted.is_complete:
            yield unknown(
                "permission",
                f"{user} may not see whether it has {name} in {', '.join(missing)}.",
                f"Look in Octopus whether it has it: without it, {consequence}.",
            )
        elif missing:
            make = error if name in READING else warning
            yield make(
                "permission",
                f"{user} lacks {name} in {', '.join(missing)}: {consequence}.",
                f"Give its team a role with {name} in that space.",
            )
        elif limited:
            yield warning(
                "permission_restricted",
                f"{name} of {user} is limited to some projects, environments or "
                f"tenants in {', '.join(limited)}: of all others, {consequence}.",
                f"Give {name} for the whole space, or use octowait for these projects only.",
            )
        else:
            yield ok("permission", f"{user} has {name}.")


def _has(granted: Permissions, name: str, space_id: str) -> bool:
    return any(grant.space_id in (None, space_id) for grant in granted.grants.get(name, ()))


def _is_limited(granted: Permissions, name: str, space_id: str) -> bool:
    grants = [grant for grant in granted.grants.get(name, ()) if grant.space_id in (None, space_id)]
    return bool(grants) and all(grant.is_restricted for grant in grants)


def clocks(context: DoctorContext) -> Iterator[Finding]:
    """The clocks of Octopus and of Redis agree within the tolerance; whole seconds, since Octopus tells no more."""
    now_ms = int(context.gate.call("GET", "/api/machines", query={"limit": 1})["now_ms"])
    clock_ms = context.client.server().clock_ms
    if clock_ms is None:
        yield unknown("clocks", "Octopus does not tell the time.", "Compare the clocks of both machines yourself.")
        return
    # The time that is told is up to a second ago.
    offset = ClockOffset(clock_ms - now_ms - 500, clock_ms - now_ms + 1500, "answer")
    apart = offset.faults(timedelta(seconds=context.settings.clock_tolerance_seconds))
    for fault in apart:
        yield warning("clocks", fault.message, fault.do)
    if not apart:
        seconds = context.settings.clock_tolerance_seconds
        yield ok("clocks", f"The clocks of Octopus and Redis agree within {seconds} s.")


def task_cap(context: DoctorContext) -> Iterator[Finding]:
    """Waiting runs leave Octopus slots for its own tasks, among them the one that sends webhooks."""
    configured, reserve = context.settings.task_cap, context.settings.task_cap_reserve
    actual = _cap_of_nodes(context)
    blocking = [wait for wait in context.waits if not _is_parked(context.tasks.get(wait["task_id"].lower()))]
    if configured and actual and configured > actual:
        yield error(
            "task_cap",
            f"OCTOWAIT_TASK_CAP is {configured}, and Octopus runs {actual} tasks at once.",
            f"Set OCTOWAIT_TASK_CAP={actual}.",
        )
    elif not configured:
        known = f"={actual}" if actual else " to it, which Octopus shows under Configuration, Nodes"
        yield warning(
            "task_cap_unset",
            "OCTOWAIT_TASK_CAP is not set, so runs that wait in their step can fill the task cap of Octopus.",
            f"Set OCTOWAIT_TASK_CAP{known}.",
        )
    cap = configured or actual
    if cap and len(blocking) >= cap - reserve:
        yield error(
            "task_cap_full",
            f"{several(len(blocking), 'run')} in wait steps, of {cap} tasks that Octopus runs at once: "
            "webhooks travel through the same slots.",
            "Replace wait steps by the claim step and a manual intervention, which use no slot.",
        )
    elif cap:
        waiting = several(len(blocking), "run")
        yield ok("task_cap", f"{waiting} in wait steps, of {cap} tasks that Octopus runs at once.")


def _cap_of_nodes(context: DoctorContext) -> int | None:
    try:
        caps = [node.task_cap for node in context.client.server_nodes() if not node.is_offline]
    except OctopusError:
        # Most keys may not see them, nor does Octopus Cloud show them.
        return None
    return sum(cap for cap in caps if cap) or None


def _is_parked(task: Task | None) -> bool:
    """Whether it waits without a slot: one that waits in its step is not paused."""
    return task is not None and task.is_paused


def spaces(context: DoctorContext) -> Iterator[Finding]:
    """The key may see the spaces that octowait is for."""
    seen = {space.id.lower() for space in context.visible_spaces}
    hidden = [space_id for space_id in context.settings.octopus_spaces if space_id.lower() not in seen]
    for space_id in hidden:
        yield error(
            "space_hidden",
            f"{space_id} of OCTOWAIT_OCTOPUS_SPACES is not there, or octowait's user may not see it: its runs "
            "are not looked after.",
            f"Give octowait's user a role in {space_id}, or take it out of OCTOWAIT_OCTOPUS_SPACES.",
        )
    if not seen:
        yield error("no_space", "octowait's user may see no space.", "Give it a role in each space that deploys.")
    elif not hidden:
        named = ", ".join(f"{space.name} ({space.id})" for space in context.spaces)
        yield ok("spaces", f"octowait's user sees {named}.")


def queues(context: DoctorContext) -> Iterator[Finding]:
    """Octopus starts tasks in every space."""
    for space in context.spaces:
        if space.is_queue_stopped:
            yield error(
                "queue_stopped",
                f"The task queue of {space.name} is stopped: nothing starts there, and no webhook is sent.",
                "Start it in Octopus under Configuration, Spaces.",
            )
