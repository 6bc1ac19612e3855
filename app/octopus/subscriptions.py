"""Subscriptions, through which Octopus tells others what happens: what they are, and the calls that look after them.

Times are milliseconds since the epoch by Octopus's clock, None where Octopus did not say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import PlainValidator

from app.octopus.errors import OctopusError, OctopusMissing, OctopusRejected
from app.octopus.fields import Demanded, Flag, Ids, Milliseconds, Text, TextOrEmpty, Value, Whole, at
from app.octopus.header_value import HeaderValue, object_of, parse_header_value, without
from app.octopus.resources import Resources
from app.octopus.shapes import Resource, ids_of, mapping_of


@dataclass(frozen=True)
class SubscriptionSpec:
    """What a subscription should be. *timeout* is as Octopus writes it, ``hh:mm:ss``."""

    name: str
    url: str
    header: str
    secret: str = field(repr=False)
    categories: tuple[str, ...] = ()
    timeout: str = "00:00:30"


_WEBHOOK = "EventNotificationSubscription"
_HEADER_VALUE = "WebhookHeaderValue"
_CATEGORIES = "EventCategories"
_UNTOLD = HeaderValue(is_told=False)

Filters = Mapping[str, tuple[str, ...]]


def _other_filters(value: object) -> Filters:
    return {name: ids_of(ids) for name, ids in mapping_of(value).items() if name != _CATEGORIES and ids}


@dataclass(frozen=True)
class Subscription(Value):
    """A subscription that calls a URL.

    *filters* are those beside the categories that are not empty, by their names in Octopus; each of them can keep
    events back. *resource* is all of it, as Octopus wrote it.
    """

    id: Demanded
    name: TextOrEmpty = ""
    space_id: Text = None
    is_disabled: Flag = False
    url: Annotated[Text, at(_WEBHOOK, "WebhookURI")] = None
    header: Annotated[Text, at(_WEBHOOK, "WebhookHeaderKey")] = None
    header_value: Annotated[HeaderValue, PlainValidator(parse_header_value), at(_WEBHOOK, _HEADER_VALUE)] = _UNTOLD
    categories: Annotated[Ids, at(_WEBHOOK, "Filter", _CATEGORIES)] = ()
    filters: Annotated[Filters, PlainValidator(_other_filters), at(_WEBHOOK, "Filter")] = field(default_factory=dict)
    teams: Annotated[Ids, at(_WEBHOOK, "WebhookTeams")] = ()
    timeout: Annotated[Text, at(_WEBHOOK, "WebhookTimeout")] = None
    last_processed_ms: Annotated[Milliseconds, at(_WEBHOOK, "WebhookLastProcessed")] = None
    resource: Whole = field(default_factory=dict, repr=False)

    @property
    def secret(self) -> str | None:
        """None where the server keeps it to itself; *has_secret* then says whether there is one."""
        return self.header_value.value

    @property
    def has_secret(self) -> bool:
        return self.header_value.is_set


def subscription_body(
    spec: SubscriptionSpec, space_id: str, existing: Subscription | None = None, *, as_object: bool
) -> Resource:
    """What makes *existing*, or a new subscription, what *spec* says; other fields stay as they are.

    Args:
        as_object: Write the secret as a sensitive value, rather than as a text.
    """
    before = existing.resource if existing else {}
    webhook = dict(mapping_of(before.get(_WEBHOOK)))
    emptied: dict[str, list[str]] = dict.fromkeys(
        ("EventGroups", "DocumentTypes", *mapping_of(webhook.get("Filter"))), []
    )
    webhook |= {
        "Filter": {**emptied, _CATEGORIES: list(spec.categories)},
        "WebhookURI": spec.url,
        "WebhookTeams": [],
        "WebhookTimeout": spec.timeout,
        "WebhookHeaderKey": spec.header,
    }
    webhook[_HEADER_VALUE] = object_of(spec.secret, webhook.get(_HEADER_VALUE)) if as_object else spec.secret
    return {
        **({} if existing else {"Type": "Event"}),
        **before,
        "Name": spec.name,
        "SpaceId": space_id,
        "IsDisabled": False,
        _WEBHOOK: webhook,
    }


class Subscriptions(Resources):
    """Calls about subscriptions."""

    def subscriptions(self, *, space: str | None = None) -> tuple[Subscription, ...]:
        """The subscriptions of the space."""
        return Subscription.read_all(self._items(space, "subscriptions"))

    def subscription(self, subscription_id: str, *, space: str | None = None) -> Subscription:
        """The subscription as it stands."""
        return Subscription.read(self._get(space, "subscriptions", subscription_id))

    def create_subscription(self, spec: SubscriptionSpec, *, space: str, as_object: bool = True) -> Subscription:
        """A new subscription of the space.

        Args:
            as_object: Write the secret as a sensitive value first, rather than as a text; a server that does not take
                the one is given the other. No error that is raised has the secret in it.
        """
        return self._give_secret(spec, space, None, as_object)

    def update_subscription(
        self, existing: Subscription, spec: SubscriptionSpec, *, space: str, as_object: bool | None = None
    ) -> Subscription:
        """*existing* made what *spec* says, its secret included; its fields that *spec* does not name stay.

        Args:
            as_object: As of `create_subscription`; by default as *existing* shows.
        """
        is_object = existing.header_value.is_object is not False
        return self._give_secret(spec, space, existing, is_object if as_object is None else as_object)

    def _give_secret(
        self, spec: SubscriptionSpec, space: str, existing: Subscription | None, as_object: bool
    ) -> Subscription:
        with _hiding(spec.secret):
            try:
                after = self._write_subscription(spec, space, existing, as_object)
            except OctopusRejected as error:
                if not error.is_about_body:
                    raise
                return self._write_subscription(spec, space, existing, not as_object)
            # A text need not be shown; what is shown as an object says whether it has a value.
            value = after.header_value
            if value.is_set or not value.is_told or (not as_object and not value.is_object):
                return after
            with suppress(OctopusRejected):
                return self._write_subscription(spec, space, existing or after, not as_object)
            return after

    def _write_subscription(
        self, spec: SubscriptionSpec, space: str, existing: Subscription | None, as_object: bool
    ) -> Subscription:
        body = subscription_body(spec, space, existing, as_object=as_object)
        if existing is None:
            return Subscription.read(self._write("POST", space, "subscriptions", body=body))
        return Subscription.read(self._write("PUT", space, "subscriptions", existing.id, body=body))

    def delete_subscription(self, subscription_id: str, *, space: str | None = None) -> bool:
        """Whether there was one to delete."""
        return self._delete(space, "subscriptions", subscription_id)

    def _delete(self, space: str | None, *path: str) -> bool:
        try:
            self._write("DELETE", space, *path)
        except OctopusMissing:
            # Also when our first attempt got through and only its answer did not.
            return False
        return True


@contextmanager
def _hiding(secret: str) -> Iterator[None]:
    """Errors of Octopus without *secret*: a server that cannot read a value quotes it."""
    try:
        yield
    except OctopusError as error:
        error.args = (without(secret, str(error)),)
        raise
