"""Coverage: projects that deploy to machines that others use too, and whether their processes wait for them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.doctor.findings import Finding, error, ok, unknown, warning
from app.domain.terms import CLAIM_LINE, TERMS_LINE, has_own_line
from app.octopus.first_step import MANUAL, SCRIPT_HEADER
from app.octopus.processes import Action, Project, Step, Template
from app.octopus.runs import Deployment

#: What of a script without its header calls octowait.
_CALL = "/api/waits/"

#: How a claim says that it leaves, in each language.
_PARKED = re.compile(r"parked\W+true", re.IGNORECASE)

#: Part of the name of each of our step templates.
_NAME = "octowait"


@dataclass(frozen=True)
class Use:
    """A project that deploys to machines of others: these machines, and the other projects, by name."""

    project: Project
    machines: tuple[str, ...]
    others: tuple[str, ...]

    def __str__(self) -> str:
        also = "also uses" if len(set(self.others)) == 1 else "also use"
        return f"{_and(self.machines)}, which {_and(self.others)} {also}"


def kind_of(action: Action, templates: Mapping[str, Template]) -> str | None:
    """Which of our steps the action is: ``wait``, ``claim`` or ``release``.

    Args:
        templates: By id; an action made from a template does not always carry its script.
    """
    header = SCRIPT_HEADER.search(action.script)
    if header:
        return header[1]
    if _CALL in action.script:
        return _by_its_calls(action.script)
    template = templates.get(action.template_id or "")
    if template is None or _NAME not in template.name.lower():
        return None
    return next((kind for kind in ("claim", "release", "wait") if kind in template.name.lower()), None)


def _by_its_calls(script: str) -> str:
    if "PUT" not in script:
        return "release"
    return "claim" if _PARKED.search(script) else "wait"


def shared(deployments: Sequence[Deployment], projects: Collection[Project]) -> Iterator[tuple[Project, list[str]]]:
    """Each project with those machines of its *deployments* that another project deployed to as well, by id."""
    users: dict[str, set[str]] = {}
    spelled: dict[str, str] = {}
    for deployment in deployments:
        for machine_id in {*deployment.deployed_to, *deployment.specific}:
            if deployment.project_id:
                spelled.setdefault(machine_id.lower(), machine_id)
                users.setdefault(machine_id.lower(), set()).add(deployment.project_id.lower())
    for project in projects:
        mine = sorted(key for key, names in users.items() if project.id.lower() in names and len(names) > 1)
        if mine and not project.is_disabled:
            yield project, [spelled[key] for key in mine]


def others_of(project: Project, machines: Collection[str], deployments: Sequence[Deployment]) -> set[str]:
    """The lower-case ids of the projects that deployed to one of *machines*, *project* left out."""
    keys = {machine_id.lower() for machine_id in machines}
    return {
        deployment.project_id.lower()
        for deployment in deployments
        if deployment.project_id
        and deployment.project_id.lower() != project.id.lower()
        and any(each.lower() in keys for each in (*deployment.deployed_to, *deployment.specific))
    }


def examine(use: Use, steps: Sequence[Step], templates: Mapping[str, Template]) -> Iterator[Finding]:
    """What is wrong with the process of a project that shares machines."""
    name = use.project.name
    actions = [(step, action, kind_of(action, templates)) for step in steps for action in _enabled(step)]
    gates = [(step, kind) for step, _, kind in actions if kind in ("wait", "claim")]
    if not gates:
        yield _ungated(use, [action for _, action, _ in actions])
        return
    problems = [*_placed(name, steps, gates[0][0]), *_released(name, steps, actions), *_answered(name, actions, gates)]
    yield from problems
    if not problems:
        yield ok("coverage", f"{name} waits for {use}.")


def _ungated(use: Use, actions: Collection[Action]) -> Finding:
    if any(action.type == "Octopus.Script" and not action.script for action in actions):
        return unknown(
            "coverage_unseen",
            f"{use.project.name} deploys to {use}, and the scripts of some of its steps are kept elsewhere.",
            "Look whether one of them is the wait step.",
        )
    return error(
        "no_wait_step",
        f"{use.project.name} deploys to {use}, and has no wait step: its deployments wait for nobody.",
        f"Put the wait step first in the process of {use.project.name} (steps/README.md).",
    )


def _placed(name: str, steps: Sequence[Step], gate: Step) -> Iterator[Finding]:
    """The gate comes before any work, and not on a target."""
    on_target = any(not action.runs_on_server for action in _enabled(gate))
    if gate.roles and on_target:
        yield error(
            "wait_on_target",
            f"The step {gate.name} of {name} runs on deployment targets, where it holds the very "
            "lock that it waits for.",
            "Let it run on the Octopus Server or on a worker pool of its own, without target tags.",
        )
    elif gate.roles:
        yield warning(
            "wait_per_target",
            f"The step {gate.name} of {name} runs once for each of its deployment targets.",
            "Take the target tags off it: once is enough.",
        )
    before = steps[: steps.index(gate)]
    working = [step.name for step in before if step.roles and any(True for _ in _enabled(step))]
    if working:
        yield error(
            "work_before_wait",
            f"{_and(working)} of {name} works on targets before the step {gate.name}.",
            f"Move the step {gate.name} to the front.",
        )
    fetching = [step.name for step in steps if any(action.packages for action in _enabled(step))]
    if fetching and gate.packages_first is not False:
        yield warning(
            "packages_before_wait",
            f"{name} fetches the packages of {_and(fetching)} perhaps before the step "
            f"{gate.name} has the machines, and that takes their lock.",
            f"Set the package requirement of the step {gate.name} to 'before package acquisition'.",
        )


def _released(
    name: str, steps: Sequence[Step], actions: Sequence[tuple[Step, Action, str | None]]
) -> Iterator[Finding]:
    releases = [step for step, _, kind in actions if kind == "release"]
    if not releases:
        yield warning(
            "no_release_step",
            f"{name} has no release step: its machines stay busy until Octopus tells of the end, 10 to 50 seconds.",
            f"Put the release step last in the process of {name}, run condition 'Always run'.",
        )
        return
    last = releases[-1]
    if not last.runs_always:
        yield warning(
            "release_not_always",
            f"The step {last.name} of {name} does not run when the deployment fails.",
            "Set its run condition to 'Always run'.",
        )
    after = [step.name for step in steps[steps.index(last) + 1 :] if step.roles and any(True for _ in _enabled(step))]
    if after:
        yield error(
            "work_after_release",
            f"{_and(after)} of {name} works on targets after the step {last.name}.",
            f"Move the step {last.name} to the end.",
        )


def _answered(
    name: str, actions: Sequence[tuple[Step, Action, str | None]], gates: Sequence[tuple[Step, str | None]]
) -> Iterator[Finding]:
    """A claim needs an intervention that octowait may answer."""
    if all(kind != "claim" for _, kind in gates):
        return
    manual = [action for _, action, _ in actions if action.type == MANUAL]
    if not any(has_own_line(action.instructions) for action in manual):
        yield error(
            "claim_unanswered",
            f"{name} claims its place, and no manual intervention in its process is octowait's to answer: "
            f"{'its deployments do not wait' if not manual else 'nobody answers it'}.",
            "Put a manual intervention behind the claim step, to be run only if Octowait.Granted is False, with these "
            f"lines, each whole and alone, in its instructions: {CLAIM_LINE} (Claim is the name of the claim step) and "
            f"{TERMS_LINE}",
        )


def _enabled(step: Step) -> Iterator[Action]:
    return (action for action in step.actions if not action.is_disabled)


def _and(names: Collection[str]) -> str:
    """*names* in a sentence, the first few."""
    listed = sorted(set(names))
    more = f" and {len(listed) - 3} more" if len(listed) > 4 else ""
    first = listed[:3] if more else listed
    return ", ".join(first) + more
