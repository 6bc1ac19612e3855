"""The simulated server: all its parts, put together."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.simulator.activity import Activity
from tests.simulator.calls import Calls
from tests.simulator.clock import Clock, Timers
from tests.simulator.delivery import Deliveries
from tests.simulator.deployments import Deployments
from tests.simulator.engine import Engine
from tests.simulator.events import EventLog
from tests.simulator.faults import Dice
from tests.simulator.freezes import Freezes
from tests.simulator.interruptions import Interruptions
from tests.simulator.kinds import EXECUTE
from tests.simulator.model import Environment, Machine, Project, Runbook, Space, Store, Task, Team, Tenant, User
from tests.simulator.outages import Outages
from tests.simulator.payload import event_resource
from tests.simulator.rate_limit import BURST, REQUESTS_PER_MINUTE, RateLimit
from tests.simulator.run import Run
from tests.simulator.steps import Step
from tests.simulator.subscriptions import Processing, Subscriptions
from tests.simulator.superseding import supersede_paused

#: Whoever is used by octowait: what it needs, and nothing that only people need.
SERVICE_PERMISSIONS = frozenset({
    "EventView", "TaskView", "DeploymentView", "ReleaseView", "RunbookView", "RunbookRunView", "MachineView",
    "EnvironmentView", "ProjectView", "ProcessView", "TenantView", "InterruptionView",
    "InterruptionViewSubmitResponsible", "SubscriptionView", "SubscriptionCreate", "SubscriptionEdit",
    "SubscriptionDelete", "ActionTemplateView", "ActionTemplateCreate", "ActionTemplateEdit",
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Config:
    """How the server is to be.

    Attributes:
        directory: Where the files of running scripts go.
        speed: Durations are divided by it; time stamps, HTTP time-outs and Retry-After are not.
        look_seconds: The server looks at its task queue at most so long after a change, before *speed*.
        cancel_seconds: A cancelled task stays Cancelling so long after its scripts were killed, before *speed*.
        has_sensitive_values: Header values of subscriptions are objects that hide the value (newer servers).
    """

    directory: Path
    speed: float = 1.0
    task_cap: int = 5
    seed: int = 1
    look_seconds: float = 1.0
    cancel_seconds: float = 0.0
    has_sensitive_values: bool = True


class Octopus:
    """One server with one space, the environment Production, the team Deployers, and some users."""

    def __init__(self, config: Config) -> None:
        self.directory = config.directory
        self.url = ""
        self.variables: dict[str, str] = {}
        self.executors = EXECUTE
        self.store = Store()
        self.calls = Calls()
        self.clock, timers = Clock(config.speed), Timers()
        self.dice = Dice(config.seed)
        self.events = EventLog(self.store)
        self.engine = Engine(
            self.store, self.events, self.clock, timers,
            cap=config.task_cap, look_seconds=config.look_seconds,
            cancel_seconds=config.cancel_seconds, activity_of=self._activity_of,
        )  # fmt: skip
        self.freezes = Freezes(self.store)
        self.engine.objection = self._objection
        self.engine.on_end.append(lambda task: supersede_paused(self.engine, task, self.store.all("ServerTasks")))
        self.outages = Outages(self.engine, self.clock, timers)
        self.rate_limit = RateLimit(BURST, REQUESTS_PER_MINUTE * config.speed)
        self.deployments = Deployments(self.store, self.events, self.engine, self.freezes, self.clock)
        self.interruptions = Interruptions(self.store, self.events, self.engine)
        self.subscriptions = Subscriptions(
            self.store, self.events, self.engine, self.clock, timers, self.dice,
            Deliveries(self.clock, timers, self.dice), has_sensitive_values=config.has_sensitive_values,
        )  # fmt: skip
        self._activities: list[Activity] = []
        self.space = self.add_space("Default")
        self.team = self.store.put(Team(id="Teams-1", name="Deployers"))
        self.admin = self.add_user("admin", {"*"}, ["*"], "API-SIMULATED-ADMIN")
        self.service = self.add_user("octowait", SERVICE_PERMISSIONS, [self.team.id], "API-SIMULATED-OCTOWAIT")
        self.person = self.add_user("jane", {"*"}, [self.team.id], "API-SIMULATED-JANE")
        self.poller = self.add_user("poller", {"TaskView", "MachineView"}, [], "API-SIMULATED-POLLER")
        #: Who asks without a key; only the root document is for them.
        self.nobody = User(id="Users-0", name="nobody", api_key="", permissions=frozenset())
        self.add_environment("Production")

    def add_space(self, name: str) -> Space:
        number = self.store.new_id("Spaces")
        return self.store.put(Space(id=number, name=name, slug=name.lower().replace(" ", "-"),
                                    is_default=number == "Spaces-1"))  # fmt: skip

    def add_user(self, name: str, permissions: Iterable[str], teams: Iterable[str], api_key: str = "") -> User:
        key = api_key or f"API-{uuid.uuid4().hex.upper()[:26]}"
        return self.store.put(User(
            id=self.store.new_id("Users"), name=name, api_key=key, permissions=frozenset(permissions),
            teams=tuple(teams), is_service=name == "octowait",
        ))  # fmt: skip

    def add_environment(self, name: str, space: Space | None = None, parent: str | None = None) -> Environment:
        return self.store.put(Environment(
            id=self.store.new_id("Environments"), space_id=(space or self.space).id, name=name, parent_id=parent,
        ))  # fmt: skip

    def add_tenant(self, name: str, space: Space | None = None) -> Tenant:
        return self.store.put(Tenant(id=self.store.new_id("Tenants"), space_id=(space or self.space).id, name=name))

    def add_machine(self, name: str, roles: Iterable[str], environments: list[Environment] | None,
                    space: Space | None = None, **fields: Any) -> Machine:  # fmt: skip
        machine = self.store.put(Machine(
            id=self.store.new_id("Machines"), space_id=(space or self.space).id, name=name, roles=tuple(roles),
            environment_ids=None if environments is None else tuple(e.id for e in environments), **fields,
        ))  # fmt: skip
        self.events.of_machine("MachineAdded", machine, "added", self.admin)
        return machine

    def add_project(self, name: str, steps: Iterable[Step], space: Space | None = None, **fields: Any) -> Project:
        return self.store.put(Project(
            id=self.store.new_id("Projects"), space_id=(space or self.space).id, name=name, steps=tuple(steps),
            slug=name.lower().replace(" ", "-"), channel_id=self.store.new_id("Channels"), **fields,
        ))  # fmt: skip

    def add_runbook(self, project: Project, name: str, steps: Iterable[Step], git_ref: str = "") -> Runbook:
        """A runbook with a published snapshot, or with *git_ref* one in Git, whose default branch that is."""
        snapshot = self.store.new_id("RunbookSnapshots")
        project.is_in_git = project.is_in_git or bool(git_ref)
        return self.store.put(Runbook(
            id=self.store.new_id("Runbooks"), space_id=project.space_id, name=name, project=project,
            processes={git_ref or snapshot: tuple(steps)}, current=git_ref or snapshot, snapshot_id=snapshot,
            is_in_git=bool(git_ref),
        ))  # fmt: skip

    def change_runbook(self, runbook: Runbook, steps: Iterable[Step], git_ref: str, *, is_published: bool) -> str:
        """Its steps on the branch *git_ref*, or in a new snapshot: the reference under which a run uses them."""
        reference = git_ref or self.store.new_id("RunbookSnapshots")
        runbook.processes[reference] = tuple(steps)
        if is_published and not git_ref:
            runbook.current = reference
        return reference

    def teams_of(self, step: Step) -> tuple[str, ...]:
        """The ids of the teams that may answer an interruption of *step*."""
        return tuple(self.store.named("Teams", team).id for team in step.teams) or (self.team.id,)

    def is_idle(self, *, is_delivered: bool) -> bool:
        """Whether no deployment or runbook run is unfinished, and, if asked, no event waits to be sent."""
        tasks = self.store.all("ServerTasks")
        is_busy = any(task.deployment and not task.is_completed for task in tasks)
        return not is_busy and not (is_delivered and self.subscriptions.has_news())

    def record(self) -> dict[str, Any]:
        """What really happened; `tests.simulator.record.overlaps` reads it."""
        with self.store.lock:
            return {
                "speed": self.clock.speed,
                "outages": [list(outage) for outage in self.outages.all],
                "machines": {machine.id: machine.name for machine in self.store.all("Machines")},
                "runs": [run.as_json() for task in self.store.all("ServerTasks") for run in task.runs],
                "events": [{**event_resource(event), "auto_id": event.auto_id, "occurred_ms": event.occurred_ms}
                           for event in self.events.all],
                "deliveries": list(self.subscriptions.deliveries.all),
                "calls": self.calls.as_json(),
            }  # fmt: skip

    def stop(self) -> None:
        """Kill what scripts are still running."""
        for activity in self._activities:
            activity.kill()

    def _objection(self, task: Task) -> str:
        """Why *task* fails instead of starting, or nothing."""
        if task.deployment and task.deployment.project.is_blocked_by_policy:
            self.events.of_deployment("CompliancePolicyEvaluatedNonCompliantBlocked", task, None, "was blocked")
            return "The deployment failed to start because of a policy."
        return self.freezes.error_of(task)

    def _activity_of(self, task: Task) -> Activity:
        activity = Run(self, task) if task.deployment else Processing(self.subscriptions, self.dice)
        self._activities.append(activity)
        return activity
