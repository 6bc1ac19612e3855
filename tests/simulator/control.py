"""Starts a simulated Octopus Server as a process of its own, and tells it what to do.

with SimulatedOctopus.start(directory, speed=10) as octopus:
    octopus.machine("web-01")
    for name in ("Web", "Api"):
        octopus.project(name, steps=[wait_step(), work("deploy", machines=["web-01"]), release_step()])
        octopus.deploy(name, "Production")
    octopus.wait_idle()
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.simulator.steps import Step

ROOT = Path(__file__).parent.parent.parent

#: Seconds for the process to answer, and to end.
START_TIMEOUT, STOP_TIMEOUT = 30.0, 10.0

#: Seconds for which one call may wait inside the server.
WAIT_SLICE = 20.0

#: What a gate subscribes to; the server lists more.
CATEGORIES = (
    "DeploymentQueued", "DeploymentStarted", "DeploymentResumed", "DeploymentSucceeded", "DeploymentFailed",
    "RunbookRunQueued", "RunbookRunStarted", "RunbookRunResumed", "RunbookRunSucceeded", "RunbookRunFailed",
    "TaskCanceled", "ManualInterventionInterruptionRaised", "GuidedFailureInterruptionRaised",
)  # fmt: skip


@dataclass(frozen=True)
class Deployment:
    """A deployment or runbook run, and its task."""

    id: str
    task_id: str


class SimulatorError(Exception):
    """The simulated server refused what a test asked for; the message is its own."""


class SimulatedOctopus:
    """A running server. Tasks are named by their id, or by the `Deployment` that made them."""

    def __init__(self, url: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.url = url
        self.process = process
        self.log = log
        self.info: dict[str, Any] = self._call("GET", "info")
        #: The key of octowait's user; `api_keys` has those of ``admin``, ``jane`` and ``poller``.
        self.api_keys: dict[str, str] = self.info["api_keys"]
        self.api_key = self.api_keys["octowait"]
        self.space_id: str = self.info["space"]

    @classmethod
    def start(
        cls, directory: Path, *, port: int = 0, timeout: float = START_TIMEOUT, **options: Any
    ) -> SimulatedOctopus:
        """A new process on a free port, in a session of its own; its log is ``octopus.log`` in *directory*.

        Args:
            options: Those of ``python -m tests.simulator``: speed, task_cap, seed, look_seconds, cancel_seconds,
                ahead_seconds, and old_sensitive_values (True).
        """
        directory.mkdir(parents=True, exist_ok=True)
        address, log = directory / f"octopus-{time.monotonic_ns()}.address", directory / "octopus.log"
        command = [sys.executable, "-m", "tests.simulator", "--port", str(port),
                   "--directory", str(directory / "scripts"), "--address-file", str(address)]  # fmt: skip
        for name, value in options.items():
            command += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
        with open(log, "ab") as output:
            process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                                       start_new_session=True)  # fmt: skip
        ends_at = time.monotonic() + timeout
        while not address.exists():
            if process.poll() is not None or time.monotonic() > ends_at:
                process.kill()
                raise SimulatorError(f"the simulated Octopus did not start: {log.read_text()[-2000:]}")
            time.sleep(0.02)  # between two looks at a fact, not instead of one
        return cls(address.read_text(), process, log)

    def stop(self) -> None:
        """End the process and its scripts."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(STOP_TIMEOUT)

    def __enter__(self) -> SimulatedOctopus:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def space(self, name: str) -> str:
        return self._id("POST", "spaces", name=name)

    def environment(self, name: str, *, space: str | None = None, parent: str | None = None) -> str:
        """An environment; the targets of *parent* serve it too."""
        return self._id("POST", "environments", name=name, space=space, parent=parent)

    def tenant(self, name: str) -> str:
        return self._id("POST", "tenants", name=name)

    def machine(
        self,
        name: str,
        *,
        roles: Sequence[str] = (),
        environments: Sequence[str] | None = None,
        space: str | None = None,
        tenants: Sequence[str] | None = None,
        tags: Sequence[str] | None = None,
        style: str = "TentaclePassive",
    ) -> str:
        """A deployment target; without *environments* it is in all of them. With *tenants* only their deployments use
        it. *tags*: ids of target tags."""
        return self._id("POST", "machines", name=name, roles=list(roles), space=space, style=style,
                        tenants=None if tenants is None else list(tenants), tags=None if tags is None else list(tags),
                        environments=None if environments is None else list(environments))  # fmt: skip

    def disable(self, machine: str, *, is_disabled: bool = True) -> None:
        self._call("PUT", f"machines/{machine}", {"is_disabled": is_disabled})

    def delete_machine(self, machine: str) -> None:
        self._call("DELETE", f"machines/{machine}")

    def project(
        self, name: str, *, steps: Iterable[Step], variables: Mapping[str, str] | None = None,
        concurrency_tag: str | None = None, space: str | None = None, **settings: bool,
    ) -> str:  # fmt: skip
        """A project; one of that name gets the new steps.

        Args:
            settings: tells_starts, cancels_queued, cancels_running, needs_approval, is_blocked_by_policy, is_in_git.
        """
        return self._id("POST", "projects", name=name, steps=[step.as_json() for step in steps], space=space,
                        variables=dict(variables or {}), concurrency_tag=concurrency_tag,
                        settings=settings)  # fmt: skip

    def runbook(self, project: str, name: str, *, steps: Iterable[Step], git_ref: str = "") -> str:
        """A runbook with a published snapshot, or one in Git whose default branch is *git_ref*."""
        return self._id("POST", "runbooks", project=project, name=name, git_ref=git_ref,
                        steps=[step.as_json() for step in steps])  # fmt: skip

    def change_runbook(
        self, project: str, name: str, *, steps: Iterable[Step], git_ref: str = "", is_published: bool = True
    ) -> str:
        """New steps, in a new snapshot or on the branch *git_ref*: the *reference* that `run_runbook` takes."""
        return self._id("PUT", "runbooks", project=project, name=name, git_ref=git_ref, is_published=is_published,
                        steps=[step.as_json() for step in steps])  # fmt: skip

    def variables(self, values: Mapping[str, str]) -> None:
        """Variables of all projects."""
        self._call("PUT", "variables", dict(values))

    def user(self, name: str, *, permissions: Iterable[str], teams: Iterable[str] = ()) -> str:
        """A new user's API key."""
        body = {"name": name, "permissions": sorted(permissions), "teams": list(teams)}
        return str(self._call("POST", "users", body)["api_key"])

    def subscribe(
        self, url: str, secret: str | None = None, *, header: str = "X-Octowait-Secret", timeout: str = "00:00:30",
        categories: Sequence[str] = CATEGORIES, name: str = "octowait", space: str | None = None,
    ) -> str:  # fmt: skip
        """Post events to *url* from now on."""
        settings = {"WebhookURI": url, "WebhookTimeout": timeout, "WebhookHeaderKey": header if secret else None,
                    "WebhookHeaderValue": secret, "Filter": {"EventCategories": list(categories)}}  # fmt: skip
        resource = {"Name": name, "EventNotificationSubscription": settings}
        return self._id("POST", "subscriptions", resource=resource, space=space)

    def deploy(self, project: str, environment: str = "Production", **options: Any) -> Deployment:
        """Queue a deployment of a new release.

        Args:
            options: release (a version), machines, excluded (ids or names), tags, excluded_tags (ids), skipped (names
                of steps), tenant, variables, use_guided_failure, queue_in_seconds, expires_in_seconds, space,
                overridden (freezes).
        """
        return Deployment(
            **self._call("POST", "deployments", {"project": project, "environment": environment, **options})
        )

    def run_runbook(self, project: str, runbook: str, environment: str = "Production", **options: Any) -> Deployment:
        body = {"project": project, "runbook": runbook, "environment": environment, **options}
        return Deployment(**self._call("POST", "runbookruns", body))

    def trigger(self, deployment: Deployment, machines: Sequence[str]) -> Deployment:
        """What a machine trigger does: the same deployment as another task, for *machines* alone."""
        return Deployment(**self._call("POST", f"deployments/{deployment.id}/trigger", {"machines": list(machines)}))

    def freeze(self, name: str, project: str, *, seconds: float, starts_in: float = 0.0, **where: Any) -> str:
        """A deployment freeze of a project and environment, in seconds as they stand."""
        return self._id("POST", "freezes", name=name, project=project, seconds=seconds, starts_in=starts_in, **where)

    def end_freeze(self, freeze: str) -> None:
        self._call("PUT", f"freezes/{freeze}/end", {})

    def approve(self, task: str | Deployment, *, is_approved: bool = True) -> None:
        """Answer the approval that the task waits for before its start."""
        self._call("POST", f"tasks/{_task_id(task)}/approval", {"is_approved": is_approved})

    def go_away(self, seconds: float, *, cancels: bool = False, has_page: bool = False) -> None:
        """Restart the server: it is not there for *seconds* of simulated time.

        Args:
            cancels: What was active is cancelled then, as by self-hosted nodes; else it goes on where it was.
            has_page: The API answers 503 with a page meanwhile, as in a maintenance window; else nobody answers.
        """
        self._call("POST", "outages", {"seconds": seconds, "cancels": cancels, "has_page": has_page})

    def hide(self, *spaces: str, user: str = "octowait") -> None:
        """Let *user* see no longer these spaces, and all others."""
        self._call("PUT", f"users/{user}/hidden", {"spaces": list(spaces)})

    def settle(self, interruption: str) -> None:
        """What Octopus itself waits for has happened: the pull request is merged, the application in sync."""
        self._call("POST", f"interruptions/{interruption}/settle", {})

    def cancel(self, task: str | Deployment) -> None:
        self._call("POST", f"tasks/{_task_id(task)}/cancel")

    def abandon(self, task: str | Deployment) -> None:
        """Canceled at once, while its script or work goes on."""
        self._call("POST", f"tasks/{_task_id(task)}/abandon")

    def time_out(self, task: str | Deployment) -> None:
        self._call("POST", f"tasks/{_task_id(task)}/time-out")

    def rerun(self, task: str | Deployment) -> None:
        self._call("POST", f"tasks/{_task_id(task)}/rerun")

    def submit(self, interruption: str, result: str = "Proceed", *, notes: str = "", user: str = "jane") -> None:
        """Take responsibility and answer, as a person does. Results of a guided failure are taken as well."""
        field = "Result" if result in ("Proceed", "Abort") else "Guidance"
        self._call(
            "POST", f"interruptions/{interruption}/submit", {"user": user, "values": {field: result, "Notes": notes}}
        )

    def pending(self, task: str | Deployment) -> list[dict[str, Any]]:
        """The interruptions that the task waits for."""
        items: list[dict[str, Any]] = self.api(f"interruptions?pendingOnly=true&regarding={_task_id(task)}")["Items"]
        return items

    def look_for_events(self) -> None:
        """Do now what the server does every 30 seconds: queue the sending of new events."""
        self._call("POST", "subscriptions/look")

    def task_cap(self, task_cap: int) -> None:
        self._call("PUT", "task-cap", {"task_cap": task_cap})

    def faults(self, **changes: Any) -> None:
        """Change some of `tests.simulator.faults.Faults`; the others stay."""
        self._call("PUT", "faults", changes)

    def no_faults(self) -> None:
        self._call("DELETE", "faults")

    def task(self, task: str | Deployment) -> dict[str, Any]:
        """The task as the API shows it."""
        found: dict[str, Any] = self._call("GET", f"tasks/{_task_id(task)}")
        return found

    def wait_for(
        self, task: str | Deployment, *states: str, is_paused: bool = False, timeout: float = 60.0
    ) -> dict[str, Any]:  # fmt: skip
        """The task once it is in one of *states* (none: it has ended) or, if asked, waits for a person.

        Raises:
            AssertionError: it did not happen within *timeout* seconds.
        """
        wanted = states or (() if is_paused else ("Success", "Failed", "Canceled", "TimedOut"))
        ends_at = time.monotonic() + timeout
        while True:
            body = {"states": wanted, "is_paused": is_paused, "timeout": min(WAIT_SLICE, ends_at - time.monotonic())}
            found: dict[str, Any] = self._call("POST", f"tasks/{_task_id(task)}/wait", body)
            if found["State"] in wanted or (is_paused and found["HasPendingInterruptions"]):
                return found
            assert time.monotonic() < ends_at, f"{found['Id']} is {found['State']} after {timeout} s, not {wanted}"

    def wait_idle(self, timeout: float = 60.0, *, is_delivered: bool = False) -> None:
        """Wait until every deployment has ended and, if asked, every event was sent or lost.

        Raises:
            AssertionError: not within *timeout* seconds.
        """
        ends_at = time.monotonic() + timeout
        # What is delivered changes without a task that changes: it is looked at more often.
        most = 0.2 if is_delivered else WAIT_SLICE
        while not self._call("POST", "idle", {"is_delivered": is_delivered, "timeout": most})["is_idle"]:
            assert time.monotonic() < ends_at, f"not idle after {timeout} s: {self.api('tasks?active=true')['Items']}"

    def record(self) -> dict[str, Any]:
        """What really happened: runs, events, deliveries, calls; `tests.simulator.record` reads it."""
        found: dict[str, Any] = self._call("GET", "record")
        return found

    def calls(self) -> dict[str, Any]:
        """How often the API was called, by whom."""
        found: dict[str, Any] = self._call("GET", "calls")
        return found

    def api(self, path: str, body: Any = None, *, method: str = "", key: str = "jane") -> Any:
        """One call of the Octopus API as the user *key*; in the default space, or with a slash before *path* in none.

        Raises:
            SimulatorError: the answer is an error.
        """
        whole = f"/api{path}" if path.startswith("/") else f"/api/{self.space_id}/{path}"
        headers = {"X-Octopus-ApiKey": self.api_keys.get(key, key)}
        return self._request(method or ("GET" if body is None else "POST"), whole, body, headers)

    def _id(self, method: str, path: str, **body: Any) -> str:
        return str(self._call(method, path, body)["id"])

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        return self._request(method, f"/sim/{path}", body, {})

    def _request(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json", **headers})
        request.method = method
        try:
            with urllib.request.urlopen(request, timeout=WAIT_SLICE + 40) as answer:
                text = answer.read()
                return json.loads(text) if "json" in answer.headers["Content-Type"] else text.decode()
        except urllib.error.HTTPError as error:
            with error:
                raise SimulatorError(f"{method} {path}: {error.code} {error.read().decode()}") from error


def _task_id(task: str | Deployment) -> str:
    return task if isinstance(task, str) else task.task_id
