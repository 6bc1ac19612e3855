"""Counts refused calls: logged once a minute with who, from where and why, and kept for Health and doctor."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import structlog
from flask import Flask, Response, g, request

from app.coordination.refusals import CallRefusal, Refusals
from app.followers.metrics import REFUSALS
from app.services import Services
from app.store.errors import StoreError
from app.web.auth import TooManyAttempts, caller
from app.web.peers import group_of

log = structlog.get_logger()

#: Seconds between two lines of the log about the same.
EVERY_SECONDS = 60.0

#: Callers and reasons of one minute that are told apart; what is more is counted together.
MOST_KINDS = 50

_STATUSES = {401: "unauthorized", 403: "forbidden", 429: "too_many"}


class RefusalLog:
    """What this process has refused since it last said so."""

    def __init__(self, refusals: Refusals, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._refusals = refusals
        self._clock = clock
        self._counts: Counter[CallRefusal] = Counter()
        self._said_at = -EVERY_SECONDS

    def count(self, refusal: CallRefusal) -> None:
        if refusal not in self._counts and len(self._counts) >= MOST_KINDS:
            refusal = CallRefusal("others", "several addresses", refusal.why)
        self._counts[refusal] += 1
        self.say_if_due()

    def say_if_due(self) -> None:
        """Log and keep what was counted, unless that was done within the last minute."""
        if not self._counts or self._clock() - self._said_at < EVERY_SECONDS:
            return
        self._said_at = self._clock()
        counts, self._counts = self._counts, Counter()
        for refusal, count in counts.items():
            log.warning("calls refused", who=refusal.who, address=refusal.address, why=refusal.why, count=count)
        try:
            self._refusals.add(counts)
        except StoreError as error:
            log.warning("refused calls were not kept", error=str(error))


def install(app: Flask, services: Services) -> RefusalLog:
    """Count every answer of *app* that refuses its caller."""
    refusal_log = RefusalLog(services.refusals)

    @app.after_request
    def _count(response: Response) -> Response:
        # What a step may not do is no error in its script's words.
        step_refusal = g.get("step_refused_because")
        if response.status_code in _STATUSES or step_refusal:
            services.metric_buffer.add(REFUSALS.count(_STATUSES.get(response.status_code, "not_allowed")))
            why = str(step_refusal or g.get("refused_because") or f"status {response.status_code}")[:200]
            refusal_log.count(CallRefusal(_who(), group_of(request.remote_addr or "(no address)"), why))
        return response

    return refusal_log


def _who() -> str:
    try:
        token = caller()
    except (TooManyAttempts, StoreError):
        return "unknown token"
    if token:
        return f"{token.name} ({token.role})"
    if request.path.startswith("/webhooks/"):
        return "webhook"
    return "unknown token" if "Authorization" in request.headers or request.method == "POST" else "nobody"
