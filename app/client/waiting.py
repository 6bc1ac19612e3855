"""Waiting from the command line: over HTTP as a step does, or blocking on Redis itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from app.client.api import CannotReach, Gate
from app.client.in_process import DirectGate

#: Seconds a request blocks; below what load balancers cut.
SLICE_SECONDS = 25

Say = Callable[[str], None]


def wait_for_grant(gate: Gate, task_id: str, body: dict[str, Any], *, say: Say) -> dict[str, Any]:
    """Join and block until the run waits no longer: the last answer.

    The gate ends the wait at ``timeout_seconds``. An octowait that cannot be reached meanwhile is asked again until
    then, and a waiter that was removed joins again.

    Raises:
        CannotReach: it could not be reached when the time was over, or not even once.
        Refused: it does not want this run.
    """
    deadline = time.monotonic() + body["timeout_seconds"]
    answer = _join(gate, task_id, body)
    news = ""
    pause = 0.2
    while answer["state"] in ("waiting", "expired"):
        # An octowait of before has no word for it.
        word = answer.get("news", answer["message"])
        if word != news:
            news = word
            say(answer["message"])
        try:
            answer = _join(gate, task_id, body) if answer["state"] == "expired" else _block(gate, task_id)
            pause = 0.2
        except CannotReach as error:
            if time.monotonic() > deadline:
                raise
            say(f"{error}; asking again in {pause:.1f} s")
            time.sleep(pause)
            pause = min(10.0, pause * 2)
            answer = {"state": "expired", "message": "Asking again.", "news": "asking"}
    return answer


def _join(gate: Gate, task_id: str, body: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = gate.call("PUT", f"/api/waits/{task_id}", body=body)
    return answer


def _block(gate: Gate, task_id: str) -> dict[str, Any]:
    query: dict[str, object] = {}
    if isinstance(gate, DirectGate):
        gate.services.board.wait(task_id, timeout=timedelta(seconds=SLICE_SECONDS))
    else:
        query["block_seconds"] = SLICE_SECONDS
    answer: dict[str, Any] = gate.call("GET", f"/api/waits/{task_id}", query=query)
    return answer
