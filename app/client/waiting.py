"""Waiting from the command line: over HTTP as a step does, or blocking on Redis itself."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.client.api import CannotReach, Gate, Refused, in_process

#: Seconds a request blocks; below what load balancers cut.
SLICE_SECONDS = 50

#: The version of what a step says, as in ``X-Octowait-Version``.
VERSION = "2"

Say = Callable[[str], None]


def wait_for_grant(gate: Gate, task_id: str, body: dict[str, Any], *, say: Say) -> dict[str, Any]:
    """Join and block until the run waits no longer: the last answer.

    The gate ends the wait at ``timeout_seconds``. An octowait that cannot be reached meanwhile is asked again until
    then, and a waiter that was removed joins again. A grant counts when the gate has confirmed it: the answer that told
    of it may have been one to a call that was given up.

    Raises:
        CannotReach: it could not be reached when the time was over, or not even once.
        Refused: it does not want this run.
    """
    deadline = time.monotonic() + body["timeout_seconds"]
    calls = _Calls(gate, task_id, body, secrets.token_hex(16))
    answer = calls.join()
    news = ""
    pause = 0.2
    while not calls.is_final(answer):
        # An octowait of before has no word for it.
        word = answer.get("news", answer["message"])
        if answer["state"] != "granted" and word != news:
            news = word
            say(answer["message"])
        try:
            answer = calls.next(answer)
            pause = 0.2
        except CannotReach as error:
            if time.monotonic() > deadline:
                raise
            say(f"{error}; asking again in {pause:.1f} s")
            time.sleep(pause)
            pause = min(10.0, pause * 2)
            answer = {"state": "expired", "message": "Asking again.", "news": "asking"}
    return answer


@dataclass
class _Calls:
    """The calls of one wait, which is one claim."""

    gate: Gate
    task_id: str
    body: dict[str, Any]
    claim: str
    is_confirmed: bool = False

    def is_final(self, answer: Mapping[str, Any]) -> bool:
        """Whether nothing is to be asked after this answer; one of an octowait of before claims says none."""
        if answer["state"] == "granted":
            return self.is_confirmed or answer.get("claim") != self.claim
        return answer["state"] not in ("waiting", "expired")

    def next(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        if answer["state"] == "expired":
            return self.join()
        if answer["state"] == "granted":
            return self._confirm()
        return self._block()

    def join(self) -> dict[str, Any]:
        return self._call("PUT", body=self.body)

    def _block(self) -> dict[str, Any]:
        if direct := in_process(self.gate):
            board = direct.services.board
            board.wait(self.task_id, timeout=timedelta(seconds=SLICE_SECONDS), claim=self.claim)
            return self._poll()
        return self._poll(block_seconds=SLICE_SECONDS)

    def _confirm(self) -> dict[str, Any]:
        answer = self._poll()
        self.is_confirmed = answer["state"] == "granted"
        return answer

    def _poll(self, **query: object) -> dict[str, Any]:
        try:
            return self._call("GET", query=query)
        except Refused as refused:
            if refused.code != "unknown_run":
                raise
            # octowait has lost its memory: the place is to be asked for again.
            return {"state": "expired", "message": str(refused), "news": "unknown"}

    def _call(self, method: str, **options: Any) -> dict[str, Any]:
        headers = {"X-Octowait-Claim": self.claim, "X-Octowait-Version": VERSION}
        answer: dict[str, Any] = self.gate.call(method, f"/api/waits/{self.task_id}", headers=headers, **options)
        return answer


def give_back(gate: Gate, task_id: str, *, reason: str | None) -> dict[str, Any]:
    """Give back the machines of a run, or take it out of its lines: the answer, ``{"outcome": …}``.

    What the task has now is given back: its claim is looked up first, so that this call ends nothing that comes later.
    """
    path, headers = f"/api/waits/{task_id}", {"X-Octowait-Version": VERSION}
    try:
        claim = gate.call("GET", path, query={"look": 1}, headers=headers).get("claim")
    except Refused as refused:
        # It has no place, or this is an octowait of before claims, which does not know how to look.
        if refused.status not in (404, 422):
            raise
        claim = None
    named = {"X-Octowait-Claim": claim} if claim else {}
    answer: dict[str, Any] = gate.call("DELETE", path, query={"reason": reason}, headers=headers | named)
    return answer
