"""The body of a webhook, and the event and subscription resources in it."""

from __future__ import annotations

import html
from typing import Any

from tests.simulator.clock import Clock, iso
from tests.simulator.model import Event, Subscription


def payload(
    event: Event, subscription: Subscription, batch: str, number: int, total: int, has_sensitive_values: bool
) -> dict[str, Any]:
    """One event of a batch; ``Timestamp`` is set when it is sent."""
    return {
        "Timestamp": None,
        "EventType": "SubscriptionPayload",
        "Payload": {
            "ServerUri": None,
            "ServerAuditUri": None,
            "BatchProcessingDate": iso(Clock.now_ms()),
            "Subscription": subscription_resource(subscription, has_sensitive_values),
            "Event": event_resource(event),
            "BatchId": batch,
            "TotalEventsInBatch": total,
            "EventNumberInBatch": number,
        },
    }


def event_resource(event: Event) -> dict[str, Any]:
    """As the events API shows it: without its auto id."""
    return {
        "Id": event.id,
        "RelatedDocumentIds": list(event.related),
        "Category": event.category,
        "UserId": event.user.id if event.user else "users-system",
        "Username": event.user.name if event.user else "system",
        "IsService": bool(event.user and event.user.is_service),
        "IdentityEstablishedWith": "API key" if event.user else "",
        "UserAgent": "Server",
        "Occurred": iso(event.occurred_ms),
        "Message": event.message,
        "MessageHtml": _as_html(event),
        "MessageReferences": [
            {"ReferencedDocumentId": document_id, "StartIndex": start, "Length": length}
            for document_id, start, length in event.references
        ],
        "Comments": None,
        "Details": None,
        "ChangeDetails": {"DocumentContext": None, "Differences": None},
        "IpAddress": None,
        "SpaceId": None if event.is_system else event.space_id,
        "Links": {"Self": f"/api/events/{event.id}"},
    }


def _as_html(event: Event) -> str:
    text, end = "", 0
    for document_id, start, length in event.references:
        shown = html.escape(event.message[start : start + length])
        kind = document_id.rpartition("-")[0].lower()
        text += html.escape(event.message[end:start]) + f"<a href='#/{kind}/{document_id}'>{shown}</a>"
        end = start + length
    return text + html.escape(event.message[end:])


def subscription_resource(subscription: Subscription, has_sensitive_values: bool) -> dict[str, Any]:
    """With the secret as older servers show it, or as an object that only says that there is one."""
    value: Any = subscription.secret
    if has_sensitive_values:
        value = {"HasValue": subscription.secret is not None, "NewValue": None, "Hint": None}
    return {
        "Id": subscription.id,
        "Name": subscription.name,
        "Type": "Event",
        "IsDisabled": subscription.is_disabled,
        "SpaceId": subscription.space_id,
        "EventNotificationSubscription": {
            **subscription.settings,
            "WebhookHeaderValue": value,
            "WebhookLastProcessed": iso(subscription.last_processed_ms),
            "WebhookLastProcessedEventAutoId": subscription.last_auto_id,
        },
        "Links": {"Self": f"/api/{subscription.space_id}/subscriptions/{subscription.id}"},
    }
