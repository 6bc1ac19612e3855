"""Newer tasks of a process cancel older ones, where their project says so; with machine filters or skipped steps none.

A queue is all tasks of one process (a project's, or a runbook's) to one environment for one tenant.
"""

from __future__ import annotations

from tests.simulator.engine import Engine
from tests.simulator.model import Task


def supersede_queued(engine: Engine, task: Task) -> int | None:
    """Cancel older queued tasks, from the back of the queue to the first that is not full.

    Returns:
        The place in the queue of the earliest that was cancelled, which *task* takes; None: the end of the queue.
    """
    if not task.is_full or not _settings(task)[0]:
        return None
    place = None
    for older in [one for one in reversed(engine.queue) if _is_same(one, task)]:
        if not older.is_full or older.start_ms is not None:
            break
        place = engine.queue.index(older)
        engine.cancel(older, None)
    return place


def supersede_paused(engine: Engine, task: Task, tasks: list[Task]) -> None:
    """After *task* succeeded: cancel what was queued before it, has started and waits for a person or a merge."""
    if task.state != "Success" or not task.is_full or not _settings(task)[1]:
        return
    for older in tasks:
        if older is not task and _is_same(older, task) and older.is_full and older.sequence < task.sequence:
            if older.is_paused:
                engine.cancel(older, None)


def _settings(task: Task) -> tuple[bool, bool]:
    assert task.deployment
    project = task.deployment.project
    return project.cancels_queued, project.cancels_running


def _is_same(one: Task, other: Task) -> bool:
    if one.deployment is None or other.deployment is None:
        return False
    return _queue_of(one) == _queue_of(other)


def _queue_of(task: Task) -> tuple[str, str, str]:
    deployment = task.deployment
    assert deployment
    tenant = deployment.tenant.id if deployment.tenant else ""
    return deployment.process.id, deployment.environment.id, tenant
