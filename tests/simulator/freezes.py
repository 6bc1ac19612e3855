"""Deployment freezes: judged when a deployment is made, and again when its task leaves the queue."""

from __future__ import annotations

from tests.simulator.clock import Clock
from tests.simulator.model import Deployment, Freeze, Invalid, Store, Task


class Freezes:
    """Everything here is called with the store's lock held. Runbook runs are not frozen."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> list[Freeze]:
        found: list[Freeze] = self._store.all("DeploymentFreezes")
        return found

    def of(self, deployment: Deployment, at_ms: int) -> list[Freeze]:
        """Those that keep *deployment* from starting then, and that nobody overrode."""
        if deployment.runbook is not None:
            return []
        return [freeze for freeze in self.all()
                if freeze.covers(deployment, at_ms) and freeze.id not in deployment.overridden]  # fmt: skip

    def check(self, deployment: Deployment, at_ms: int) -> None:
        """Raises: Invalid: *deployment* would start in a freeze."""
        found = self.of(deployment, at_ms)
        if found:
            raise Invalid(f"The deployment is blocked by the deployment freeze {found[0].name}.")

    def error_of(self, task: Task) -> str:
        """Why *task* may not start now, or nothing. What a machine trigger started is let through."""
        if task.deployment is None or task.only:
            return ""
        found = self.of(task.deployment, Clock.now_ms())
        return f"The deployment failed to start because of the deployment freeze {found[0].name}." if found else ""
