"""Checks of Octopus as octowait sees it: the server, the API key, clocks, task cap, and who Octopus says is running."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.doctor.case import Case
from app.doctor.findings import Finding, error, ok, unknown, warning
from app.domain.durations import words
from app.octopus.errors import OctopusDenied, OctopusError
from app.octopus.interruptions import Interruption
from app.octopus.interventions import REMEDY, is_candidate, is_own
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

#: A task that ended so long ago should hold nothing any more; milliseconds.
SETTLED_MS = 120_000

#: Interventions that are looked at, of those who wait paused.
MOST_PAUSED = 20


def reachable(case: Case) -> Iterator[Finding]:
    """Octopus answers, and it is Octopus."""
    try:
        # Where nobody answers each question would wait for all its attempts.
        if silence := case.probe():
            raise silence
        server = case.server
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
            f"{case.client.url} answers, and does not say a version of Octopus.",
            "Check OCTOWAIT_OCTOPUS_URL: it is the address before /api and /app.",
        )
    else:
        yield ok("octopus_version", f"{server.application or 'Octopus'} {server.version} answers at {case.client.url}.")


def api_key(case: Case) -> Iterator[Finding]:
    """The key is somebody's, and that somebody may do what octowait does."""
    try:
        user = case.client.me()
    except OctopusDenied as problem:
        yield error(
            "api_key",
            f"Octopus does not take the API key: {problem}.",
            "Make a new API key for octowait's service account and set OCTOWAIT_OCTOPUS_API_KEY.",
        )
        return
    yield ok("api_key", f"The API key is that of {user.name}.")
    yield from _permissions(case, case.client.permissions(user.id), user.name)


def _permissions(case: Case, granted: Permissions, user: str) -> Iterator[Finding]:
    if ADMINISTRATOR in granted.grants:
        yield warning(
            "permissions",
            f"{user} is an administrator of Octopus.",
            "Give octowait a service account that may do only what it does.",
        )
        return
    for name, consequence in {**READING, **OPTIONAL}.items():
        missing = [space.name for space in case.spaces if not _has(granted, name, space.id)]
        limited = [space.name for space in case.spaces if _is_limited(granted, name, space.id)]
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


def clocks(case: Case) -> Iterator[Finding]:
    """The clocks of Octopus and of Redis agree within the tolerance; whole seconds, since Octopus tells no more."""
    now_ms = int(case.gate.call("GET", "/api/machines")["now_ms"])
    clock_ms = case.client.server().clock_ms
    if clock_ms is None:
        yield unknown("clocks", "Octopus does not tell the time.", "Compare the clocks of both machines yourself.")
        return
    # The time that is told is up to a second ago.
    offset_ms = clock_ms + 500 - now_ms
    tolerance_ms = case.settings.clock_tolerance_seconds * 1000
    if abs(offset_ms) > tolerance_ms + 1000:
        side = "ahead of" if offset_ms > 0 else "behind"
        yield error(
            "clocks",
            f"The clock of Octopus is {words(abs(offset_ms))} {side} that of Redis: events of ends are "
            "taken for those of earlier runs, or the other way round.",
            "Let both synchronize their clocks, or raise OCTOWAIT_CLOCK_TOLERANCE_SECONDS.",
        )
    else:
        yield ok("clocks", f"The clocks of Octopus and Redis agree within {case.settings.clock_tolerance_seconds} s.")


def task_cap(case: Case) -> Iterator[Finding]:
    """Waiting runs leave Octopus slots for its own tasks, among them the one that sends webhooks."""
    configured, reserve = case.settings.task_cap, case.settings.task_cap_reserve
    actual = _cap_of_nodes(case)
    blocking = [wait for wait in case.waits if not _is_parked(case.tasks.get(wait["task_id"].lower()))]
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
            f"{len(blocking)} runs wait in their steps, of {cap} tasks that Octopus runs at once: "
            "webhooks travel through the same slots.",
            "Replace wait steps by the claim step and a manual intervention, which use no slot.",
        )
    elif cap:
        yield ok("task_cap", f"{len(blocking)} runs wait in their steps, of {cap} tasks that Octopus runs at once.")


def _cap_of_nodes(case: Case) -> int | None:
    try:
        caps = [node.task_cap for node in case.client.server_nodes() if not node.is_offline]
    except OctopusError:
        # Most keys may not see them, nor does Octopus Cloud show them.
        return None
    return sum(cap for cap in caps if cap) or None


def _is_parked(task: Task | None) -> bool:
    """Whether it waits without a slot: one that waits in its step is not paused."""
    return task is not None and task.is_paused


def spaces(case: Case) -> Iterator[Finding]:
    """The key may see the spaces that octowait is for."""
    seen = {space.id.lower() for space in case.visible_spaces}
    hidden = [space_id for space_id in case.settings.octopus_spaces if space_id.lower() not in seen]
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
        named = ", ".join(f"{space.name} ({space.id})" for space in case.spaces)
        yield ok("spaces", f"octowait's user sees {named}.")


def queues(case: Case) -> Iterator[Finding]:
    """Octopus starts tasks in every space."""
    for space in case.spaces:
        if space.is_queue_stopped:
            yield error(
                "queue_stopped",
                f"The task queue of {space.name} is stopped: nothing starts there, and no webhook is sent.",
                "Start it in Octopus under Configuration, Spaces.",
            )


def holders(case: Case) -> Iterator[Finding]:
    """Who holds or waits is known to Octopus, and has not ended long ago."""
    ended, missing, unbegun = [], [], []
    for task_id in {*case.holders, *(wait["task_id"] for wait in case.waits)}:
        task = case.tasks.get(task_id.lower())
        if task is None and task_id not in case.unseen:
            missing.append(task_id)
        elif task is None:
            continue
        elif task.is_completed and _since(case, task) > SETTLED_MS:
            ended.append(task_id)
        elif task.awaits_approval:
            unbegun.append(task_id)
    for task_id in sorted(unbegun):
        yield warning(
            "awaits_approval",
            f"{_place(case, task_id)}, and waits for an approval in Octopus: it has not begun.",
            f"Have it approved or cancelled in Octopus; until then: octowait force-release {task_id} "
            "--reason 'it waits for an approval'.",
        )
    for task_id in sorted(missing):
        yield warning(
            "unknown_task",
            f"{_place(case, task_id)}, and Octopus knows no such task.",
            f"Look whether it exists; if not: octowait force-release {task_id} --reason 'no such task'.",
        )
    for task_id in sorted(ended):
        yield error(
            "ended_task",
            f"{_place(case, task_id)}, and has ended in Octopus long ago.",
            f"See that the worker and the scheduler run; at once: octowait force-release {task_id} "
            "--reason 'it has ended'.",
        )
    if not missing and not ended and not unbegun:
        yield ok("holders", f"Octopus knows all {len(case.tasks)} tasks that hold or wait.")


def _since(case: Case, task: Task) -> int:
    """Milliseconds since the task ended; where Octopus does not say when, long ago."""
    if task.completed_ms is None or case.server.clock_ms is None:
        return SETTLED_MS + 1
    return case.server.clock_ms - task.completed_ms


def _place(case: Case, task_id: str) -> str:
    names = case.holders.get(task_id)
    return f"{task_id} holds {', '.join(names)}" if names else f"{task_id} waits"


def interventions(case: Case) -> Iterator[Finding]:
    """Who waits paused is paused by an intervention that octowait may answer."""
    paused = [task for wait in case.waits if (task := case.tasks.get(wait["task_id"].lower())) and task.is_paused]
    for task in paused[:MOST_PAUSED]:
        found = case.client.interruptions(task.id, pending_only=True, space=task.space_id)
        yield _intervention(case, task, [each for each in found if is_candidate(each, task.id)])


def _intervention(case: Case, task: Task, pending: Sequence[Interruption]) -> Finding:
    try:
        steps = case.client.process_snapshot(case.client.run_of(task), space=task.space_id)
    except OctopusError as problem:
        return unknown(
            "intervention_unread",
            f"The process that {task.id} was made with cannot be read, so octowait does not answer its intervention: "
            f"{problem}.",
            "Give octowait's user ProcessView, and RunbookView for runbooks; until then answer it by hand.",
        )
    own = [each for each in pending if is_own(each, steps)]
    if not own:
        return error(
            "intervention",
            f"{task.id} waits, and none of its manual interventions is octowait's to answer: nobody lets it go on when "
            "its turn comes.",
            REMEDY,
        )
    if not any(each.can_take_responsibility or each.has_responsibility for each in own):
        return error(
            "intervention_team",
            f"octowait may not answer the intervention of {task.id}.",
            "Add octowait's service account to the responsible team of the intervention.",
        )
    return ok("intervention", f"{task.id} waits without a task slot, and octowait may let it go on.")
