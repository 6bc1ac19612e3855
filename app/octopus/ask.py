"""Octopus as the settings say, for the processes that ask it something."""

from __future__ import annotations

from typing import Any

import structlog

from app.octopus.client import OctopusClient
from app.octopus.errors import OctopusError
from app.octopus.transport import Budget
from app.settings import Settings

log = structlog.get_logger()

#: Seconds to connect, and between two bytes of an answer, while a person waits for it.
PERSON_TIMEOUT = (2.0, 5.0)

#: Seconds that a person waits for a turn.
PERSON_PATIENCE = 2.0

#: Seconds that a request of a job may wait in all: a job that has to wait longer ends, and a later one goes on.
JOB_PATIENCE = 10.0


def make_client(settings: Settings, budget: Budget | None, **options: Any) -> OctopusClient | None:
    """A client for OCTOPUS_URL, or None without it or without OCTOPUS_API_KEY.

    Args:
        budget: Shared by all processes; None for none, where no Redis is at hand.
        options: As `OctopusClient` takes them; its patience is JOB_PATIENCE unless they say otherwise.
    """
    if not settings.octopus_url or not settings.octopus_api_key:
        return None
    key = settings.octopus_api_key.get_secret_value()
    return OctopusClient(settings.octopus_url, key, budget=budget, **{"patience": JOB_PATIENCE, **options})


def task_is_running(settings: Settings, budget: Budget | None, task_id: str, space_id: str | None) -> bool:
    """Whether Octopus says that the task has not ended. False when it cannot be asked: then the operator decides.

    Raises:
        StoreError: Redis, which keeps the budget, does not answer.
    """
    client = make_client(settings, budget, timeout=PERSON_TIMEOUT, attempts=1, urgent=True, patience=PERSON_PATIENCE)
    if client is None:
        return False
    try:
        return not client.task(task_id, space=space_id).is_completed
    except OctopusError as error:
        log.warning("cannot ask whether a task runs", task=task_id, error=str(error))
        return False
    finally:
        client.close()
