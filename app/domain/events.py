"""Octopus events as a subscription delivers them: read with tolerance, for no two versions of Octopus write them alike.

Source: subscription payloads captured from 2018 to 2023 and the events API; nothing here trusts an index, a type or a
field to be there.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from app.domain.ids import space_id_of

#: The longest that a webhook is under way while Octopus has a free task slot, by Octopus's clock and ours: what is read
#: from Octopus sooner may yet come, and is not lost.
WEBHOOK_MS = 50_000


def is_early(via: str, late_ms: int) -> bool:
    """Whether what was read from Octopus may yet come by webhook: who read it has repaired nothing."""
    return via in ("catch_up", "reconcile") and late_ms <= WEBHOOK_MS


class Effect(StrEnum):
    """The effect of an event on a run."""

    QUEUED = "queued"  #: will start
    STARTED = "started"  #: runs
    RESUMED = "resumed"  #: runs again after a pause
    PAUSED = "paused"  #: waits for a person
    ENDED = "ended"  #: runs no longer, however it ended
    OTHER = "other"  #: nothing that the gate needs


@dataclass(frozen=True)
class Batch:
    """Where in its batch an event was delivered; *number* counts from 1 to *total*."""

    id: str
    number: int
    total: int


@dataclass(frozen=True)
class Event:
    """One event. *key* is what it is known by: its id, or a digest where Octopus sent none."""

    key: str
    id: str | None
    category: str
    effect: Effect
    occurred_ms: int | None
    task_id: str | None
    deployment_id: str | None
    outcome: str | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    batch: Batch | None = None
    #: When its webhook was sent, or later than that was prepared, by Octopus's clock; None where it does not say.
    sent_ms: int | None = None


class Unreadable(ValueError):
    """A delivery is not a subscription payload; the message says what was missing."""


_ENDINGS = ("succeeded", "failed", "canceled", "cancelled", "timedout", "abandoned")
_ABOUT = re.compile(r"^(deployment|runbookrun|task)(\w+)$")

# A category is an id such as TaskCanceled; where only its display name is known ("Task canceled"), the letters agree.
_NOT_LETTERS = re.compile(r"[^a-z]")


def effect_of(category: str) -> tuple[Effect, str | None]:
    """What *category* says about a run, and for an end how it ended (``succeeded``, ``failed``, …)."""
    letters = _NOT_LETTERS.sub("", category.lower())
    if letters.endswith("interruptionraised"):
        return Effect.PAUSED, None
    about = _ABOUT.match(letters)
    if not about:
        return Effect.OTHER, None
    word = about[2]
    if word in _ENDINGS:
        return Effect.ENDED, "canceled" if word == "cancelled" else word
    if word in ("queued", "started", "resumed"):
        return Effect(word), None
    return Effect.OTHER, None


def parse_delivery(body: bytes) -> Event:
    """The event of one subscription payload.

    Args:
        body: ``{"Payload": {"Event": {"Id", "Category", "Occurred", "RelatedDocumentIds", …}, "Subscription": …}}``.

    Raises:
        Unreadable: it is not JSON, has no event, or the event lacks what its category needs.
    """
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"not JSON: {error}"[:200]) from error
    outer = _dict(payload)
    inner = _dict(outer.get("Payload"))
    event = inner.get("Event")
    if not isinstance(event, dict):
        raise Unreadable("no Payload.Event object")
    sent = [milliseconds(time) for time in (outer.get("Timestamp"), inner.get("BatchProcessingDate"))]
    sent_ms = max((moment for moment in sent if moment is not None), default=None)
    return parse_event(event, server=_text(inner.get("ServerUri")), batch=_batch(inner), sent_ms=sent_ms)


def parse_event(
    event: Mapping[str, Any], *, server: str | None = None, batch: Batch | None = None, sent_ms: int | None = None
) -> Event:  # fmt: skip
    """The event in an event resource, as subscriptions carry it and ``GET /events`` returns it.

    Args:
        server: The address of Octopus; *batch* and *sent_ms* are those of the webhook that brings it.

    Raises:
        Unreadable: it has no category, or it is about a run and says not when it occurred.
    """
    category = _text(event.get("Category"))
    if not category:
        raise Unreadable("Payload.Event.Category is missing or not text")
    effect, outcome = effect_of(category)
    occurred_ms = milliseconds(event.get("Occurred"))
    if occurred_ms is None and effect is not Effect.OTHER:
        raise Unreadable(f"Payload.Event.Occurred {event.get('Occurred')!r}: expected an ISO 8601 time")
    event_id = _text(event.get("Id"))
    ids = _ids_by_prefix(event)
    deployment_id = ids.get("deployments") or ids.get("runbookruns")
    info: dict[str, Any] = {}
    for name, prefix in (("project", "projects"), ("environment", "environments"), ("tenant", "tenants"),
                         ("release", "releases")):  # fmt: skip
        if prefix in ids:
            info[name] = {"id": ids[prefix]}
    if "deployments" in ids:
        info["deployment_id"] = ids["deployments"]
    if "runbookruns" in ids:
        info["runbook_run_id"] = ids["runbookruns"]
    # The event counts whatever it says of its space, which becomes part of addresses.
    space_id = space_id_of(_text(event.get("SpaceId")))
    if space_id:
        info["space_id"] = space_id
    # Shown as a link: what the payload calls its server may be anything.
    if server and re.match(r"https?://", server) and "servertasks" in ids:
        path = f"{space_id}/tasks" if space_id else "tasks"
        info["url"] = f"{server.rstrip('/')}/app#/{path}/{ids['servertasks']}"
    return Event(
        key=(event_id or _digest(event)).lower(),
        id=event_id,
        category=category[:100],
        effect=effect,
        occurred_ms=occurred_ms,
        task_id=ids.get("servertasks"),
        deployment_id=deployment_id,
        outcome=outcome,
        info=info,
        batch=batch,
        sent_ms=sent_ms,
    )


_BATCH_ID, _COUNT = re.compile(r"[A-Za-z0-9_-]{1,64}"), re.compile(r"[0-9]{1,6}")


def _batch(payload: Mapping[str, Any]) -> Batch | None:
    """Where in its batch a delivery came; None where that is not said. The counters are numbers or numeric texts."""
    batch_id, number, total = (payload.get(k) for k in ("BatchId", "EventNumberInBatch", "TotalEventsInBatch"))
    if not isinstance(batch_id, str) or not _BATCH_ID.fullmatch(batch_id):
        return None
    if not _COUNT.fullmatch(str(number)) or not _COUNT.fullmatch(str(total)):
        return None
    return Batch(batch_id.lower(), int(str(number)), int(str(total)))


def milliseconds(value: object) -> int | None:
    """ISO 8601 with three or seven fraction digits, ``Z`` or an offset, as milliseconds; None if it is no such time.

    A time without an offset is taken as UTC.
    """
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


_DOCUMENT_ID = re.compile(r"^([A-Za-z]+)-[A-Za-z0-9-]{1,80}\Z")


def _ids_by_prefix(event: Mapping[str, Any]) -> dict[str, str]:
    """Document ids by their lower-case prefix; the first of a kind counts, related ids before the message's."""
    ids: dict[str, str] = {}
    for value in _document_ids(event):
        match = _DOCUMENT_ID.match(value)
        if match:
            ids.setdefault(match[1].lower(), value)
    return ids


def _document_ids(event: Mapping[str, Any]) -> Iterator[str]:
    for related in _list(event.get("RelatedDocumentIds")):
        if isinstance(related, str):
            yield related.strip()
    for reference in _list(event.get("MessageReferences")):
        value = _dict(reference).get("ReferencedDocumentId")
        if isinstance(value, str):
            yield value.strip()


def _digest(event: Mapping[str, Any]) -> str:
    facts = json.dumps(
        [event.get(k) for k in ("Category", "Occurred", "RelatedDocumentIds", "Message")], sort_keys=True
    )
    return "digest-" + hashlib.sha256(facts.encode()).hexdigest()[:32]


def _text(value: object) -> str | None:
    # JSON can spell half a character, which neither Redis nor Lua takes.
    return value.encode("utf-8", "replace").decode().strip() or None if isinstance(value, str) else None


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
