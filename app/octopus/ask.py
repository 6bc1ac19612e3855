"""Octopus clients made from the settings, and the questions that several processes ask with them."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from threading import Thread
from typing import Any

import structlog

from app.octopus.client import OctopusClient
from app.octopus.errors import OctopusError, OctopusUnreachable
from app.octopus.transport import ReachObserver, RequestBudget
from app.settings import Settings

log = structlog.get_logger()

#: Seconds to connect, and between two bytes of an answer, while a person waits for it.
PERSON_TIMEOUT = (2.0, 5.0)

#: Seconds that a person waits for a turn.
PERSON_PATIENCE = 2.0

#: Seconds after which a probe that has heard nothing gives up, whatever it waits for: a name server, an address, an
#: answer that comes in drops.
PROBE_SECONDS = 3.0

#: Seconds that a request of a job may wait in all: a job that has to wait longer ends, and a later one goes on.
JOB_PATIENCE = 10.0


@dataclass(frozen=True)
class Objection:
    """Why a run should not be ended by force without a second thought: *code* is one stable word."""

    code: str
    message: str


def make_client(
    settings: Settings, budget: RequestBudget | None, *, reach: ReachObserver | None = None, **options: Any
) -> OctopusClient | None:
    """A client for OCTOPUS_URL, or None without it or without OCTOPUS_API_KEY.

    Args:
        budget: Shared by all processes; None for none, where no Redis is at hand.
        reach: Told whether Octopus answers; None where this process may be in another network than octowait.
        options: As `OctopusClient` takes them; its patience is JOB_PATIENCE unless they say otherwise.
    """
    if not settings.octopus_url or not settings.octopus_api_key:
        return None
    key = settings.octopus_api_key.get_secret_value()
    return OctopusClient(settings.octopus_url, key, budget=budget, reach=reach, **{"patience": JOB_PATIENCE, **options})


def probe(settings: Settings, budget: RequestBudget | None) -> OctopusError | None:
    """Why Octopus does not answer, within `PROBE_SECONDS`; None if it does, or if that is not the question.

    Whoever has many questions asks this first: each would wait for all its attempts otherwise.

    Raises:
        StoreError: Redis, which keeps the budget, does not answer.
    """
    client = make_client(
        settings, budget, timeout=(PROBE_SECONDS / 2, PROBE_SECONDS), attempts=1, urgent=True, patience=0.0
    )
    if client is None:
        return None
    answer: Future[object] = Future()

    def ask() -> None:
        try:
            answer.set_result(client.server())
        except Exception as error:
            answer.set_exception(error)
        finally:
            client.close()

    # Nothing else bounds what a name server takes; a process that ends does not wait for it.
    Thread(target=ask, daemon=True).start()
    try:
        answer.result(PROBE_SECONDS)
    except TimeoutError:
        return OctopusUnreachable(
            f"{client.url} has not answered within {PROBE_SECONDS:.0f} s", why="no answer in time"
        )
    except OctopusError as error:
        return error if error.is_silence else None
    return None


def objection_to_release(
    settings: Settings,
    budget: RequestBudget | None,
    task_id: str,
    space_id: str | None,
    *,
    reach: ReachObserver | None = None,
) -> Objection | None:
    """Why the run of this task should not be ended by force: it runs, or nobody can say that it does not (rule 14).

    None where it has ended, and without an API key: then only the operator knows.

    Raises:
        StoreError: Redis, which keeps the budget, does not answer.
    """
    client = make_client(
        settings, budget, reach=reach, timeout=PERSON_TIMEOUT, attempts=1, urgent=True, patience=PERSON_PATIENCE
    )
    if client is None:
        return None
    try:
        if client.task_anywhere(task_id, space=space_id).is_completed:
            return None
    except OctopusError as error:
        # Whatever the reason, a space that the key may not see too: nobody has said that it does not run.
        log.warning("cannot ask whether a task runs", task=task_id, error=str(error))
        return Objection("cannot_ask", f"Octopus could not be asked whether {task_id} still runs ({error.why})")
    finally:
        client.close()
    return Objection("still_running", f"Octopus says that {task_id} still runs")
