"""Subscriptions: every 30 seconds a server task is queued that posts the new events, one call each.

The task needs a slot of the task cap like any other, and waits its turn. A call that fails ends its batch: the rest of
the events are never sent, and the next task is queued only when there are newer ones.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from tests.simulator.activity import Activity, Stopped
from tests.simulator.clock import Clock, Timers
from tests.simulator.delivery import Deliveries, seconds_of
from tests.simulator.engine import Engine
from tests.simulator.events import EventLog, matches
from tests.simulator.faults import Dice
from tests.simulator.model import Event, Invalid, Store, Subscription, Task
from tests.simulator.payload import payload

#: Seconds between two looks for new events, before the clock's speed.
SCHEDULE_SECONDS = 30.0

#: What EventNotificationSubscription holds when nobody says otherwise.
DEFAULTS: Mapping[str, Any] = {
    "EmailTeams": [], "EmailFrequencyPeriod": "01:00:00", "EmailPriority": "Normal", "EmailDigestLastProcessed": None,
    "EmailDigestLastProcessedEventAutoId": None, "EmailShowDatesInTimeZoneId": "UTC", "WebhookURI": None,
    "WebhookTeams": [], "WebhookTimeout": "00:00:10", "WebhookHeaderKey": None,
}  # fmt: skip

_FILTERS = ("Users", "Projects", "ProjectGroups", "Environments", "EventGroups", "EventCategories", "EventAgents",
            "Tenants", "Tags", "DocumentTypes")  # fmt: skip


class Subscriptions:
    """Everything here takes the store's lock, but for the calls."""

    def __init__(
        self, store: Store, events: EventLog, engine: Engine, clock: Clock, timers: Timers, dice: Dice,
        deliveries: Deliveries, *, has_sensitive_values: bool,
    ) -> None:  # fmt: skip
        self.deliveries = deliveries
        #: Whether header values are objects that hide the value, as of newer servers, or plain texts.
        self.has_sensitive_values = has_sensitive_values
        self._store = store
        self._events = events
        self._engine = engine
        self._dice = dice
        self._task: Task | None = None
        timers.every(clock.real(SCHEDULE_SECONDS), self.look)

    def create(self, space_id: str, body: Mapping[str, Any]) -> Subscription:
        """Raises: Invalid."""
        with self._store.lock:
            if not body.get("Name") or not isinstance(body.get("EventNotificationSubscription"), Mapping):
                raise Invalid("Name and EventNotificationSubscription are required.")
            subscription = Subscription(
                id=self._store.new_id("Subscriptions"), space_id=space_id, name="", settings={},
                last_processed_ms=Clock.now_ms(), last_auto_id=self._events.last_auto_id,
            )  # fmt: skip
            self.update(subscription, body)
            return self._store.put(subscription)

    def update(self, subscription: Subscription, body: Mapping[str, Any]) -> None:
        """Take name, settings and secret from *body*; a sensitive value without a new one keeps the old secret.

        Raises:
            Invalid: a time-out that is none.
        """
        with self._store.lock:
            settings = dict(body.get("EventNotificationSubscription") or {})
            secret = _secret(settings.pop("WebhookHeaderValue", None), subscription.secret)
            settings = {**DEFAULTS, **settings}
            settings["Filter"] = {**dict.fromkeys(_FILTERS, []), **(settings.get("Filter") or {})}
            seconds_of(settings["WebhookTimeout"])
            for name in ("WebhookLastProcessed", "WebhookLastProcessedEventAutoId"):
                settings.pop(name, None)
            subscription.name = body.get("Name") or subscription.name
            subscription.is_disabled = bool(body.get("IsDisabled"))
            subscription.settings, subscription.secret = settings, secret

    def look(self) -> None:
        """What the schedule does: queue a task where somebody has new events, unless one is on its way."""
        with self._store.lock:
            if self._task is not None and not self._task.is_completed:
                return
            wanted = [subscription for subscription in self._enabled() if self._news(subscription)]
            for subscription in self._enabled():
                if subscription not in wanted:
                    self._mark(subscription)
            if wanted:
                self._task = self._store.put(Task(
                    id=self._store.new_id("ServerTasks"), space_id=wanted[0].space_id, name="ProcessSubscriptions",
                    description="Process subscriptions", queue_ms=Clock.now_ms(), is_system=True,
                ))  # fmt: skip
                self._engine.enqueue(self._task)

    def has_news(self) -> bool:
        """Whether events wait to be sent, or are being sent."""
        with self._store.lock:
            is_busy = self._task is not None and not self._task.is_completed
            return is_busy or self.deliveries.is_busy or any(map(self._news, self._enabled()))

    def next_batch(self, subscription: Subscription) -> tuple[list[Event], list[dict[str, Any]]]:
        """The new events, and the calls for them; they count as processed from now on."""
        with self._store.lock:
            events = self._news(subscription)
            if self._dice.falls(self._dice.faults.reorder):
                events = self._dice.shuffled(events)
            batch = str(uuid.uuid4())
            bodies = [
                payload(event, subscription, batch, number, len(events), self.has_sensitive_values)
                for number, event in enumerate(events, 1)
            ]
            self._mark(subscription)
            return events, bodies

    def enabled(self) -> list[Subscription]:
        with self._store.lock:
            return list(self._enabled())

    def _enabled(self) -> list[Subscription]:
        return [s for s in self._store.all("Subscriptions") if not s.is_disabled and s.settings["WebhookURI"]]

    def _news(self, subscription: Subscription) -> list[Event]:
        wanted = subscription.settings["Filter"]
        events = self._events.after(subscription.last_auto_id)
        here = [event for event in events if event.space_id == subscription.space_id and not event.is_system]
        return [event for event in here if matches(event, wanted)]

    def _mark(self, subscription: Subscription) -> None:
        subscription.last_processed_ms = Clock.now_ms()
        subscription.last_auto_id = self._events.last_auto_id


class Processing(Activity):
    """The server task that sends what is new."""

    def __init__(self, subscriptions: Subscriptions, dice: Dice) -> None:
        super().__init__()
        self._subscriptions = subscriptions
        self._dice = dice

    def execute(self) -> str:
        """Raises: Stopped."""
        errors = [self._send(subscription) for subscription in self._subscriptions.enabled()]
        return "; ".join(filter(None, errors))

    def _send(self, subscription: Subscription) -> str:
        events, bodies = self._subscriptions.next_batch(subscription)
        deliveries = self._subscriptions.deliveries
        for position, (event, body) in enumerate(zip(events, bodies, strict=True)):
            try:
                self.check()
            except Stopped:
                deliveries.lose(subscription, events[position:])
                raise
            error = "aborted on demand" if self._dice.falls(self._dice.faults.abort) else None
            error = error or deliveries.send(subscription, event, body)
            if error:
                deliveries.lose(subscription, events[position + (error != "aborted on demand") :])
                return f"{subscription.name}: {error}"
        return ""


def _secret(value: Any, present: str | None) -> str | None:
    """*Source*: a text in older servers, an object with NewValue in newer ones, perhaps inside SensitiveValue."""
    if isinstance(value, Mapping):
        value = value.get("SensitiveValue") or value
        if value.get("NewValue"):
            return str(value["NewValue"])
        return present if value.get("HasValue") else None
    return str(value) if value else None
