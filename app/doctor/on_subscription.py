"""Checks of the subscription: that it is there and right, that Octopus works on it, and that its events arrive."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from app.doctor.context import DoctorContext
from app.doctor.findings import Finding, error, ok, unknown, warning
from app.domain.durations import format_duration
from app.domain.events import Unreadable, parse_event
from app.domain.phrases import several
from app.octopus.server import Space
from app.octopus.subscriptions import Subscription, SubscriptionSpec
from app.provision.subscription_differences import differences
from app.provision.subscriptions import name_of, own, secret_of, url_of

#: An event is sent within this, unless something is wrong: 30 s until Octopus looks, 20 s until a node takes the task,
#: and the events before it. Milliseconds.
SENT_WITHIN_MS = 120_000

#: How far back events are compared, milliseconds.
LOOK_BACK_MS = 3_600_000

#: Events of Octopus that are looked for in the timeline, the newest ones.
MOST_EVENTS = 20

#: Pages of the timeline that are read at most.
MOST_PAGES = 20

ENSURE = "Run 'octowait subscription ensure'."


def present(context: DoctorContext) -> Iterator[Finding]:
    """Each space has its subscription, enabled, with the right address, header and categories."""
    for space in context.spaces:
        subscription = _subscription(context, space)
        if subscription is None:
            yield error(
                "subscription_missing",
                f"{space.name} has no subscription {name_of(context.settings)}: events of runs "
                "without the steps, and of ends, are only seen when they are asked for.",
                ENSURE,
            )
        else:
            yield from _right(context, space, subscription)


def _right(context: DoctorContext, space: Space, subscription: Subscription) -> Iterator[Finding]:
    spec = SubscriptionSpec(
        subscription.name,
        url_of(context.settings) or subscription.url or "",
        context.settings.webhook_header,
        secret_of(context.settings) or subscription.secret or "",
        context.categories,
    )
    wrong = [change for change in differences(subscription, spec) if change.what != "time-out"]
    for change in wrong:
        before = "" if change.what == "header value" else f" ({change.before})"
        code = f"subscription_{change.what.replace(' ', '_')}"
        yield error(
            code, f"{change.what} of the subscription of {space.name} is not what octowait needs{before}.", ENSURE
        )
    if not wrong:
        yield ok(
            "subscription", f"The subscription of {space.name} ({subscription.id}) is enabled and as it should be."
        )
    if not url_of(context.settings):
        yield unknown(
            "subscription_url",
            f"The subscription of {space.name} posts to {subscription.url}; whether octowait is there is not known.",
            "Set OCTOWAIT_PUBLIC_URL.",
        )
    if subscription.has_secret and subscription.secret is None:
        yield unknown(
            "subscription_secret",
            f"Octopus does not show the header value of the subscription of {space.name}.",
            "See whether events arrive; 'octowait subscription ensure --rotate-secret' writes it again.",
        )


def fresh(context: DoctorContext) -> Iterator[Finding]:
    """Octopus has looked for events to send since the last one that there is to send."""
    for space in context.spaces:
        subscription = _subscription(context, space)
        now_ms = context.server.clock_ms
        if subscription is None or subscription.is_disabled or now_ms is None:
            continue
        since_ms = max(subscription.last_processed_ms or 0, now_ms - LOOK_BACK_MS)
        to_ms = now_ms - SENT_WITHIN_MS
        pending = _events(context, space, since_ms, to_ms) if to_ms > since_ms else []
        last = (
            f"{format_duration(now_ms - subscription.last_processed_ms)} ago"
            if subscription.last_processed_ms
            else "never"
        )
        if pending:
            yield error(
                "subscription_stale",
                f"Octopus has worked on the subscription of {space.name} {last}, and events "
                f"since then are not sent, the newest of them {pending[0]['id']}.",
                "Look in Octopus for a task 'Process subscriptions' that waits for a slot of the task cap or fails.",
            )
        else:
            yield ok(
                "subscription_fresh",
                f"Octopus has worked on the subscription of {space.name} {last}; no event of "
                "the last hour waits to be sent.",
            )


def arriving(context: DoctorContext) -> Iterator[Finding]:
    """The last events of Octopus came by webhook: address, network and secret are right."""
    now_ms = context.server.clock_ms
    if now_ms is None:
        return
    to_ms = now_ms - SENT_WITHIN_MS
    from_ms = max(to_ms - LOOK_BACK_MS, _first_ms(context))
    arrived = _arrived(context, from_ms)
    for space in context.spaces:
        sent = _events(context, space, from_ms, to_ms) if from_ms < to_ms else []
        if not sent:
            yield unknown(
                "events",
                f"No event of {space.name} between an hour and two minutes ago that could have come.",
                "Run the doctor again after a deployment.",
            )
            continue
        missing = [event for event in sent if arrived.get(event["id"].lower()) != "webhook"]
        if len(missing) == len(sent):
            yield error(
                "events_missing",
                f"Of the last {several(len(sent), 'event')} of {space.name} none came by webhook.",
                "Octopus cannot reach octowait, or has another secret: look at its subscription logs under "
                "Configuration, Diagnostics, and run 'octowait subscription ensure --rotate-secret'.",
            )
        elif missing:
            yield warning(
                "events_lost",
                f"Of the last {several(len(sent), 'event')} of {space.name}, {len(missing)} did not come by "
                f"webhook, the newest of them {missing[0]['id']}.",
                "Look at the subscription logs of Octopus for answers other than 202.",
            )
        else:
            yield ok("events", f"The last {several(len(sent), 'event')} of {space.name} came by webhook.")


def _subscription(context: DoctorContext, space: Space) -> Subscription | None:
    """Ours, or one of another name that posts to us."""
    listed = context.subscriptions[space.id]
    url = url_of(context.settings)
    return own(listed, name_of(context.settings)) or next((each for each in listed if url and each.url == url), None)


def _events(context: DoctorContext, space: Space, from_ms: int, to_ms: int) -> list[dict[str, str]]:
    """The newest events of the space that its subscription is about, newest first: ``{"id", "category"}``."""
    resources = context.client.events(from_ms=from_ms, to_ms=to_ms, categories=context.categories, spaces=[space.id])
    events = []
    for resource in islice(resources, MOST_EVENTS):
        try:
            event = parse_event(resource)
        except Unreadable:
            continue
        if event.id and event.category in context.categories:
            events.append({"id": event.id, "category": event.category})
    return events


def _first_ms(context: DoctorContext) -> int:
    """When octowait first had something to tell; what happened before is not missing. 0 if it never had."""
    records = context.gate.call("GET", "/api/timeline", query={"limit": 1})["records"]
    return int(records[0]["at_ms"]) if records else 0


def _arrived(context: DoctorContext, from_ms: int) -> dict[str, str]:
    """How each event reached octowait, by lower-case id: ``webhook``, or what asked for it."""
    arrived: dict[str, str] = {}
    # The timeline goes by octowait's clock.
    query: dict[str, Any] = {"kind": "event", "limit": 1000, "from_ms": max(0, from_ms - 60_000), "cursor": None}
    for _ in range(MOST_PAGES):
        page = context.gate.call("GET", "/api/timeline", query=query)
        for record in page["records"]:
            arrived[str(record["detail"].get("event", "")).lower()] = record["detail"].get("via", "webhook")
        query["cursor"] = page["next_cursor"]
        if not query["cursor"]:
            break
    return arrived
