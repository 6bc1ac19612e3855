"""Octopus as the settings say, for the processes that ask it something."""

from __future__ import annotations

import structlog

from app.octopus.client import OctopusClient
from app.octopus.errors import OctopusError
from app.settings import Settings

log = structlog.get_logger()

#: Seconds to connect, and between two bytes of an answer, while a person waits for it.
PERSON_TIMEOUT = (2.0, 5.0)


def make_client(settings: Settings) -> OctopusClient | None:
    """A client for OCTOPUS_URL, or None without it or without OCTOPUS_API_KEY."""
    if not settings.octopus_url or not settings.octopus_api_key:
        return None
    return OctopusClient(settings.octopus_url, settings.octopus_api_key.get_secret_value())


def task_is_running(settings: Settings, task_id: str, space_id: str | None) -> bool:
    """Whether Octopus says that the task has not ended. False when it cannot be asked: then the operator decides."""
    if not settings.octopus_url or not settings.octopus_api_key:
        return False
    key = settings.octopus_api_key.get_secret_value()
    client = OctopusClient(settings.octopus_url, key, timeout=PERSON_TIMEOUT, attempts=1)
    try:
        return not client.task(task_id, space=space_id).is_completed
    except OctopusError as error:
        log.warning("cannot ask whether a task runs", task=task_id, error=str(error))
        return False
    finally:
        client.close()
