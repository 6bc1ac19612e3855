"""The check of coverage: projects that share machines, in each space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from app.doctor.context import DoctorContext
from app.doctor.coverage import Use, examine, others_of, shared
from app.doctor.findings import Finding, ok, unknown
from app.octopus.errors import OctopusError
from app.octopus.processes import Template
from app.octopus.server import Space

#: Deployments of each space that are looked at, the latest ones.
MOST_DEPLOYMENTS = 300

#: Projects of each space whose process is read: one request each.
MOST_PROJECTS = 100


def coverage(context: DoctorContext) -> Iterator[Finding]:
    """Every project that deploys to machines of others waits for them."""
    for space in context.spaces:
        yield from _of_space(context, space)


def _of_space(context: DoctorContext, space: Space) -> Iterator[Finding]:
    deployments = context.client.recent_deployments(space=space.id, most=MOST_DEPLOYMENTS)
    projects = {project.id.lower(): project for project in context.client.projects(space=space.id)}
    sharing = list(shared(deployments, projects.values()))
    if not sharing:
        yield ok(
            "coverage",
            f"No machine of {space.name} was used by two projects in its last {len(deployments)} deployments.",
        )
        return
    templates = _templates(context, space)
    names = _names(context, space, {machine_id for _, machine_ids in sharing for machine_id in machine_ids})
    for project, machine_ids in sharing[:MOST_PROJECTS]:
        others = (projects.get(other) for other in others_of(project, machine_ids, deployments))
        machine_names = tuple(names.get(machine_id.lower(), machine_id) for machine_id in machine_ids)
        use = Use(project, machine_names, tuple(other.name for other in others if other) or ("another project",))
        try:
            steps = context.client.process(project, space=space.id)
        except OctopusError as problem:
            yield unknown(
                "coverage",
                f"The process of {project.name} cannot be read: {problem}.",
                "Look yourself whether it has the wait step.",
            )
        else:
            yield from examine(use, steps, templates)
    if len(sharing) > MOST_PROJECTS:
        yield unknown(
            "coverage",
            f"{len(sharing) - MOST_PROJECTS} more projects of {space.name} share machines.",
            "Limit OCTOWAIT_OCTOPUS_SPACES, or look at their processes yourself.",
        )


def _names(context: DoctorContext, space: Space, machine_ids: set[str]) -> Mapping[str, str]:
    try:
        return {each.id.lower(): each.name for each in context.client.machines(machine_ids, space=space.id)}
    except OctopusError:
        return {}


def _templates(context: DoctorContext, space: Space) -> Mapping[str, Template]:
    try:
        return {template.id: template for template in context.client.templates(space=space.id)}
    except OctopusError:
        # Only to recognize a step that does not carry its script.
        return {}
