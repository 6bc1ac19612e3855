"""Posts webhooks, or does not, as the dice say; and keeps what became of each."""

from __future__ import annotations

import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable
from http.client import HTTPException
from typing import Any

from tests.simulator.clock import Clock, Timers, iso
from tests.simulator.faults import Dice
from tests.simulator.model import Event, Invalid, Subscription

_TIMESPAN = re.compile(r"^(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2})(?:\.\d+)?$")


def seconds_of(timespan: str) -> float:
    """Seconds of ``hh:mm:ss`` or ``d.hh:mm:ss``. Raises: Invalid."""
    found = _TIMESPAN.match(str(timespan))
    if not found:
        raise Invalid(f"WebhookTimeout is {timespan!r}: expected a time span such as 00:00:30.")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        return None


class Deliveries:
    """The time-out of a call is real: it is the receiver's time, not the simulator's."""

    def __init__(self, clock: Clock, timers: Timers, dice: Dice) -> None:
        self._clock = clock
        self._timers = timers
        self._dice = dice
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._lock = threading.Lock()
        self._under_way = 0
        #: What became of each, in the order of the tries.
        self.all: list[dict[str, Any]] = []

    @property
    def is_busy(self) -> bool:
        """Whether delayed calls are still to come."""
        with self._lock:
            return self._under_way > 0

    def send(self, subscription: Subscription, event: Event, body: dict[str, Any]) -> str | None:
        """Post it now, later, twice or not at all. Returns: what went wrong, which ends the batch."""
        faults = self._dice.faults
        if self._dice.falls(faults.drop):
            self._keep(subscription, event, "dropped")
            return None
        error = None
        for is_again in (False, True) if self._dice.falls(faults.double) else (False,):
            if faults.delay_seconds:
                self._send_later(subscription, event, body, is_again)
            else:
                error = error or self._post(subscription, event, body, is_again)
        return error

    def lose(self, subscription: Subscription, events: Iterable[Event]) -> None:
        """Note that *events* are never sent."""
        for event in events:
            self._keep(subscription, event, "lost with its batch")

    def _send_later(self, subscription: Subscription, event: Event, body: dict[str, Any], is_again: bool) -> None:
        with self._lock:
            self._under_way += 1

        def post() -> None:
            try:
                self._post(subscription, event, body, is_again)
            finally:
                with self._lock:
                    self._under_way -= 1

        pause = self._clock.real(self._dice.between(self._dice.faults.delay_seconds))
        self._timers.after(pause, lambda: threading.Thread(target=post, name="delivery", daemon=True).start())

    def _post(self, subscription: Subscription, event: Event, body: dict[str, Any], is_again: bool) -> str | None:
        settings = subscription.settings
        text = json.dumps({**body, "Timestamp": iso(Clock.now_ms())}).encode()
        headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "Octopus-Server"}
        if settings["WebhookHeaderKey"] and subscription.secret is not None:
            headers[settings["WebhookHeaderKey"]] = subscription.secret
        started, status, error = Clock.now_ms(), None, None
        try:
            request = urllib.request.Request(settings["WebhookURI"], text, headers)
            with self._opener.open(request, timeout=seconds_of(settings["WebhookTimeout"])) as answer:
                status = answer.status
        except urllib.error.HTTPError as answer:
            answer.close()
            status, error = answer.code, f"the webhook answered {answer.code}"
        except TimeoutError:
            error = "the webhook timed out"
        except (OSError, HTTPException, ValueError) as failure:
            error = f"the webhook could not be called: {failure}"
        outcome = "again" if is_again else "delivered"
        self._keep(subscription, event, error or outcome, status=status, sent_ms=started, took=Clock.now_ms() - started)
        return error

    def _keep(
        self, subscription: Subscription, event: Event, outcome: str, *, status: int | None = None,
        sent_ms: int | None = None, took: int | None = None,
    ) -> None:  # fmt: skip
        entry = {"event": event.id, "category": event.category, "subscription": subscription.id, "outcome": outcome,
                 "status": status, "occurred_ms": event.occurred_ms, "sent_ms": sent_ms, "took_ms": took}  # fmt: skip
        with self._lock:
            self.all.append(entry)
