"""Subscriptions and what was done about them, in words for people and in JSON for programs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from app.octopus.client import OctopusClient
from app.octopus.server import Space
from app.octopus.subscriptions import Subscription
from app.provision.subscription_differences import NONE, SubscriptionChange, names
from app.provision.subscriptions import SubscriptionOutcome, choose_spaces, name_of, own
from app.settings import Settings

_OUTCOMES = {
    "unchanged": "is as it should be",
    "created": "was created",
    "corrected": "was corrected",
    "would_create": "would be created",
    "would_correct": "would be corrected",
    "removed": "was removed",
    "would_remove": "would be removed",
    "nothing": "is not there",
    "failed": "could not be looked after",
}


def outcome_lines(name: str, outcome: SubscriptionOutcome) -> list[str]:
    """The outcome for people, with what changes as a diff."""
    which = f" ({outcome.subscription_id})" if outcome.subscription_id else ""
    lines = [f"{outcome.space} ({outcome.space_id}): subscription {name}{which} {_OUTCOMES[outcome.outcome]}"]
    for change in outcome.changes:
        gone, come = (change.before, change.after) if change.what != "categories" else _apart(change)
        lines += [f"  - {change.what}: {gone}"] if gone != NONE else []
        lines += [f"  + {change.what}: {come}"] if come != NONE else []
    return lines + [f"  {note}" for note in outcome.notes]


def _apart(change: SubscriptionChange) -> tuple[str, str]:
    """What is only in the one list, and only in the other."""
    before, after = ({*value.split(", ")} - {NONE} for value in (change.before, change.after))
    return names(before - after), names(after - before)


def facts_of_all(client: OctopusClient, settings: Settings, space_name: str | None) -> list[dict[str, Any]]:
    """`facts_of` in each space.

    Raises:
        OctopusError: as `OctopusClient`.
    """
    now_ms = client.server().clock_ms
    name = name_of(settings)
    return [
        facts_of(own(client.subscriptions(space=space.id), name), space, now_ms)
        for space in choose_spaces(client, settings, space_name)
    ]


def facts_of(existing: Subscription | None, space: Space, now_ms: int | None) -> dict[str, Any]:
    """What ``subscription show`` says of one space, without the secret."""
    if existing is None:
        return {"space_id": space.id, "space": space.name, "subscription_id": None}
    last = existing.last_processed_ms
    lag = now_ms - last if now_ms is not None and last is not None else None
    return {
        "space_id": space.id, "space": space.name, "subscription_id": existing.id, "name": existing.name,
        "enabled": not existing.is_disabled, "url": existing.url, "header": existing.header,
        "has_header_value": existing.has_secret, "timeout": existing.timeout,
        "categories": sorted(existing.categories), "other_filters": {k: list(v) for k, v in existing.filters.items()},
        "teams": list(existing.teams), "last_processed_ms": last, "lag_ms": lag,
    }  # fmt: skip


def fact_lines(facts: dict[str, Any], name: str) -> list[str]:
    """`facts_of` for people."""
    if facts["subscription_id"] is None:
        return [f"{facts['space']} ({facts['space_id']}): no subscription {name}; 'subscription ensure' makes one"]
    last = facts["last_processed_ms"]
    when = datetime.fromtimestamp(last / 1000, UTC).isoformat(timespec="seconds") if last else "never"
    others = "; ".join(f"{key}: {names(ids)}" for key, ids in facts["other_filters"].items())
    return [
        f"{facts['space']} ({facts['space_id']}): {facts['name']} ({facts['subscription_id']})",
        f"  enabled: {'yes' if facts['enabled'] else 'no'}",
        f"  url: {facts['url'] or NONE}",
        f"  header: {facts['header'] or NONE}, {'with' if facts['has_header_value'] else 'without'} a value",
        f"  time-out: {facts['timeout'] or NONE}",
        f"  categories: {names(facts['categories'])}",
        f"  other filters: {others or NONE}",
        f"  teams: {names(facts['teams'])}",
        f"  last processed: {when}",
    ]
