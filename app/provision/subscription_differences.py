"""Differences between a subscription and what it should be, as far as Octopus shows it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from app.octopus.subscriptions import Subscription, SubscriptionSpec

#: What is shown in place of nothing.
NONE = "(none)"


@dataclass(frozen=True)
class SubscriptionChange:
    """One thing that is not as it should be, in words; never with a secret."""

    what: str
    before: str
    after: str


def differences(
    existing: Subscription | None, spec: SubscriptionSpec, *, rotate: bool = False
) -> tuple[SubscriptionChange, ...]:
    """What is to change, nothing where *existing* is as *spec* says as far as Octopus shows it."""
    before, after = _facts(existing), _facts_of_spec(spec)
    changes = [
        SubscriptionChange(what, before[what], after[what])
        for what in after
        if not _same(what, before[what], after[what])
    ]
    if existing is None:
        changes.append(SubscriptionChange("header value", NONE, "the webhook secret"))
    elif rotate or not existing.has_secret or existing.secret not in (None, spec.secret):
        had = "another value" if existing.secret not in (None, spec.secret) else "not shown"
        changes.append(SubscriptionChange("header value", had if existing.has_secret else NONE, "the webhook secret"))
    return tuple(changes)


def _same(what: str, before: str, after: str) -> bool:
    # What a header is called may differ in letter case.
    return before == after or (what == "header" and before.lower() == after.lower())


def _facts(existing: Subscription | None) -> dict[str, str]:
    if existing is None:
        return dict.fromkeys(("enabled", "url", "header", "time-out", "categories", "other filters", "teams"), NONE)
    return {
        "enabled": "no" if existing.is_disabled else "yes",
        "url": existing.url or NONE,
        "header": existing.header or NONE,
        "time-out": (existing.timeout or NONE).partition(".")[0],
        "categories": names(existing.categories),
        "other filters": "; ".join(f"{name}: {names(ids)}" for name, ids in sorted(existing.filters.items())) or NONE,
        "teams": names(existing.teams),
    }


def _facts_of_spec(spec: SubscriptionSpec) -> dict[str, str]:
    return {
        "enabled": "yes",
        "url": spec.url,
        "header": spec.header,
        "time-out": spec.timeout,
        "categories": names(spec.categories),
        "other filters": NONE,
        "teams": NONE,
    }


def names(values: Collection[str]) -> str:
    """*values* in one line."""
    return ", ".join(sorted(values)) or NONE
