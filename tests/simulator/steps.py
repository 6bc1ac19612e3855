"""The steps of a process: plain values that travel as JSON, and the words that tests make them with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

#: What a step does; `Step.kind`.
KINDS = ("script", "work", "manual", "automatic", "health_check", "deploy_release", "poll_wait")

#: Interruptions that only Octopus itself ends, and whether their task waits for it without a slot.
AUTOMATIC = {"PullRequestCompletion": True, "ArgoCDApplicationSync": True, "KubernetesResourceVerification": False}

#: How often a loop over the API asks, in seconds before the clock's speed.
POLL_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step. Where *machines* and *roles* are empty, work runs on all machines of the environment.

    Attributes:
        condition: ``Success``, ``Failure``, ``Always``, or an expression that must come out true.
        machines: Ids or names of the targets.
        variables: Step parameters; ``#{...}`` is substituted.
        on_server: The step takes no target and no mutex.
        fails: How many times the step fails before it succeeds; -1: always.
        is_guided: A failure asks a person (guided failure) instead of failing the step.
        is_child: A manual intervention that keeps its task slot.
        is_disabled: It stays in the process and in previews, and does not run.
        is_required: Nobody may skip it.
        names_only: Previews name its machines and do not give their ids.
        time_limit_seconds: A script that takes longer is killed, and the step fails; 0: none.
        retries: How many times more a script that failed is run.
        interruption: What an ``automatic`` step waits for, of `AUTOMATIC`.
    """

    name: str
    kind: str
    condition: str = "Success"
    machines: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    on_server: bool = False
    seconds: float = 1.0
    fails: int = 0
    is_guided: bool = False
    is_child: bool = False
    is_disabled: bool = False
    is_required: bool = False
    names_only: bool = False
    time_limit_seconds: float = 0.0
    retries: int = 0
    interruption: str = ""
    script: str = ""
    language: str = "bash"
    instructions: str = ""
    teams: tuple[str, ...] = ()
    project: str = ""
    environment: str = ""
    release: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"step {self.name!r}: kind is {self.kind!r}: expected one of {', '.join(KINDS)}")

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> Step:
        lists = {name: tuple(value.get(name) or ()) for name in ("machines", "roles", "teams")}
        return cls(**{**value, **lists})

    @property
    def has_targets(self) -> bool:
        """Whether scripts of this step run on deployment targets."""
        if self.on_server:
            return False
        return self.kind == "work" or (self.kind == "script" and bool(self.machines or self.roles))


def script_step(name: str, script: str, *, language: str = "bash", **fields: Any) -> Step:
    """One of the real step scripts, run on the server; with *machines* or *roles*: once on each of those targets."""
    return Step(name=name, kind="script", script=script, language=language, **fields)


def wait_step(name: str = "Wait for machines", *, language: str = "bash", **fields: Any) -> Step:
    return script_step(name, "wait", language=language, **fields)


def claim_step(name: str = "Claim", *, language: str = "bash", **fields: Any) -> Step:
    return script_step(name, "claim", language=language, **fields)


def release_step(name: str = "Release machines", *, language: str = "bash", **fields: Any) -> Step:
    return script_step(name, "release", language=language, condition=fields.pop("condition", "Always"), **fields)


def work(name: str, *, machines: Sequence[str] = (), seconds: float = 1.0, **fields: Any) -> Step:
    """Timed work: one script on each target, under the target's mutex."""
    return Step(name=name, kind="work", machines=tuple(machines), seconds=seconds, **fields)


def guided(name: str, *, machines: Sequence[str] = (), seconds: float = 1.0, fails: int = 1, **fields: Any) -> Step:
    """Work that fails *fails* times and asks a person each time; the task stays Executing."""
    return work(name, machines=machines, seconds=seconds, fails=fails, is_guided=True, **fields)


def manual(name: str, *, instructions: str = "", condition: str = "Success", **fields: Any) -> Step:
    """A manual intervention: stand-alone (it frees the task slot), or with ``is_child=True`` one that keeps it."""
    return Step(name=name, kind="manual", instructions=instructions, condition=condition, **fields)


def parked_wait(name: str = "octowait: wait for machines", *, claim: str = "Claim", **fields: Any) -> Step:
    """The intervention after a `claim_step`: raised only while nothing has failed and the claim was not granted."""
    granted = f'Octopus.Action[{claim}].Output.Octowait.Granted == "True"'
    condition = "#{unless Octopus.Deployment.Error}#{unless " + granted + "}true#{/unless}#{/unless}"
    text = (
        "octowait resumes this deployment when its machines are free.\n"
        "octowait: on behalf of [#{Octowait.OnBehalfOf}], priority [#{Octowait.Priority}], "
        "time-out [#{Octowait.TimeoutMinutes}] min"
    )
    return manual(name, instructions=text, condition=condition, **fields)


def deploy_release(name: str, project: str, **fields: Any) -> Step:
    """Deploy another project's release and wait for it; *variables* are passed to the child."""
    return Step(name=name, kind="deploy_release", project=project, **fields)


def poll_wait(name: str = "Poll until machines are free", *, seconds: float = POLL_SECONDS, **fields: Any) -> Step:
    """The loop that octowait replaces: it asks for the tasks of each machine every few seconds."""
    return Step(name=name, kind="poll_wait", seconds=seconds, **fields)


def automatic(name: str, interruption: str, **fields: Any) -> Step:
    """An interruption that Octopus ends by itself: `SimulatedOctopus.settle` merges the pull request, or syncs."""
    return Step(name=name, kind="automatic", interruption=interruption, **fields)


def health_check(name: str, machines: Sequence[str], **fields: Any) -> Step:
    """Takes *machines* into the deployment for the steps after it."""
    return Step(name=name, kind="health_check", machines=tuple(machines), **fields)
