"""The subscription through which Octopus tells octowait what happens: one in each space, made and kept right."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from app.domain.events import Effect, effect_of
from app.octopus.client import OctopusClient
from app.octopus.documents import EventCategory
from app.octopus.errors import OctopusError
from app.octopus.header_value import uses_objects
from app.octopus.server import Space
from app.octopus.subscriptions import Subscription, SubscriptionSpec
from app.provision.subscription_differences import NONE, SubscriptionChange, differences
from app.settings import PREFIX, BadSettings, Settings
from app.settings.generated import read_secrets

WEBHOOK_PATH = "/webhooks/octopus"

HIDDEN = (
    "Octopus does not show the header value, so it was not compared: 'subscription ensure --rotate-secret' writes it "
    "again."
)


class NoRunCategories(OctopusError):
    """Octopus has no event category that is about a run: there is nothing that a subscription could be made of."""


class NoSuchSpace(OctopusError):
    """The API key may see no such space."""


@dataclass(frozen=True)
class SubscriptionOutcome:
    """What was found and done in one space.

    *outcome* is ``unchanged``, ``created``, ``corrected``, ``would_create``, ``would_correct``, ``removed``,
    ``would_remove``, ``nothing`` or ``failed``; *notes* are sentences for people.
    """

    space_id: str
    space: str
    outcome: str
    subscription_id: str | None = None
    changes: tuple[SubscriptionChange, ...] = ()
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The outcome as ``--json`` prints it."""
        return asdict(self)


def name_of(settings: Settings) -> str:
    """What our subscription is called: ``octowait``, and the namespace where there are several."""
    return "octowait" if settings.namespace == "default" else f"octowait-{settings.namespace}"


def url_of(settings: Settings) -> str | None:
    """Where Octopus is to post, as far as PUBLIC_URL says."""
    return f"{settings.public_url}{WEBHOOK_PATH}" if settings.public_url else None


def secret_of(settings: Settings) -> str | None:
    """WEBHOOK_SECRET, or the one that the octowait of this directory made for itself."""
    if settings.webhook_secret:
        return settings.webhook_secret.get_secret_value()
    return (read_secrets(settings.data_dir) or {}).get(f"{PREFIX}WEBHOOK_SECRET")


def make_spec(
    settings: Settings, categories: Sequence[EventCategory], *, webhook_url: str | None = None
) -> SubscriptionSpec:
    """What our subscription should be.

    Raises:
        BadSettings: nothing says where to post to, or with which secret.
        NoRunCategories: *categories* has none about a run; a subscription without any would be told of everything.
    """
    url = webhook_url or url_of(settings)
    if not url:
        raise BadSettings(f"{PREFIX}PUBLIC_URL is not set: expected it, or --webhook-url, to say where Octopus posts")
    if not re.match(r"https?://[^/\s]+/\S*$", url):
        raise BadSettings(
            f"--webhook-url {url!r}: expected an address such as https://octowait.example.com{WEBHOOK_PATH}"
        )
    secret = secret_of(settings)
    if not secret:
        raise BadSettings(f"{PREFIX}WEBHOOK_SECRET: expected to be set to what octowait itself is started with")
    chosen = wanted_categories(categories)
    if not chosen:
        raise NoRunCategories(f"none of the {len(categories)} event categories of this Octopus is about a run")
    return SubscriptionSpec(name_of(settings), url, settings.webhook_header, secret, chosen)


def wanted_categories(categories: Sequence[EventCategory]) -> tuple[str, ...]:
    """The ids of those that say something about a run, sorted."""
    return tuple(sorted({each.id for each in categories if effect_of(each.id)[0] is not Effect.OTHER}))


def choose_spaces(client: OctopusClient, settings: Settings, space_name: str | None) -> list[Space]:
    """The space *space_name*, by id or name; else those of OCTOPUS_SPACES; else all that the key may see.

    Raises:
        NoSuchSpace: there is no such space, or none at all.
    """
    known = client.spaces()
    names = [space_name] if space_name else list(settings.octopus_spaces)
    chosen = []
    for name in names:
        matches = [space for space in known if name.lower() in (space.id.lower(), space.name.lower())]
        if not matches:
            seen = ", ".join(f"{space.id} ({space.name})" for space in known) or "none"
            raise NoSuchSpace(f"{name}: expected a space that the API key may see: {seen}")
        chosen.append(matches[0])
    if not names and not known:
        raise NoSuchSpace("the API key may see no space")
    return chosen or list(known)


def ensure_all(
    client: OctopusClient, settings: Settings, *, space: str | None = None, webhook_url: str | None = None,
    dry_run: bool = False, rotate: bool = False,
) -> list[SubscriptionOutcome]:  # fmt: skip
    """`ensure` in each space; one that fails does not stop the others.

    Raises:
        BadSettings: nothing says where to post to, or with which secret.
        OctopusError: before any space was looked at.
    """
    spec = make_spec(settings, client.event_categories(), webhook_url=webhook_url)
    return [
        _attempt(each, partial(ensure, client, spec, each, dry_run=dry_run, rotate=rotate))
        for each in choose_spaces(client, settings, space)
    ]


def remove_all(
    client: OctopusClient, settings: Settings, *, space: str | None = None, dry_run: bool = False
) -> list[SubscriptionOutcome]:
    """`remove` in each space; one that fails does not stop the others."""
    name = name_of(settings)
    return [
        _attempt(each, partial(remove, client, name, each, dry_run=dry_run))
        for each in choose_spaces(client, settings, space)
    ]


def _attempt(space: Space, look_after: Callable[[], SubscriptionOutcome]) -> SubscriptionOutcome:
    try:
        return look_after()
    except OctopusError as error:
        return SubscriptionOutcome(space.id, space.name, "failed", notes=(str(error),))


def ensure(
    client: OctopusClient, spec: SubscriptionSpec, space: Space, *, dry_run: bool = False, rotate: bool = False
) -> SubscriptionOutcome:
    """Make the space's subscription what *spec* says, unless it is; nothing is ever deleted.

    Args:
        dry_run: SubscriptionChange nothing, say what would be.
        rotate: Write the secret again also when nothing else is to change.

    Raises:
        OctopusError: as `OctopusClient`.
    """
    listed = client.subscriptions(space=space.id)
    existing = own(listed, spec.name)
    notes = _notes(listed, existing, spec)
    if existing is None:
        if dry_run:
            return SubscriptionOutcome(space.id, space.name, "would_create", None, differences(None, spec), notes)
        made = client.create_subscription(spec, space=space.id, as_object=_as_object(client, listed))
        notes += _not_taken(made, spec)
        return SubscriptionOutcome(space.id, space.name, "created", made.id, differences(None, spec), notes)
    changes = differences(existing, spec, rotate=rotate)
    if not changes:
        hidden = (HIDDEN,) if existing.secret is None else ()
        return SubscriptionOutcome(space.id, space.name, "unchanged", existing.id, (), notes + hidden)
    if not dry_run:
        as_object = _as_object(client, [existing] if existing.header_value.is_object is not None else listed)
        after = client.update_subscription(existing, spec, space=space.id, as_object=as_object)
        notes += _not_taken(after, spec)
    done = "would_correct" if dry_run else "corrected"
    return SubscriptionOutcome(space.id, space.name, done, existing.id, changes, notes)


def _as_object(client: OctopusClient, listed: Collection[Subscription]) -> bool:
    return uses_objects([each.header_value for each in listed], client.server().version)


def _not_taken(after: Subscription, spec: SubscriptionSpec) -> tuple[str, ...]:
    return tuple(f"Octopus did not take {change.what}." for change in differences(after, spec))


def remove(client: OctopusClient, name: str, space: Space, *, dry_run: bool = False) -> SubscriptionOutcome:
    """Delete the space's subscription called *name*, and no other.

    Raises:
        OctopusError: as `OctopusClient`.
    """
    existing = own(client.subscriptions(space=space.id), name)
    if existing is None:
        return SubscriptionOutcome(space.id, space.name, "nothing")
    if not dry_run:
        client.delete_subscription(existing.id, space=space.id)
    change = SubscriptionChange("subscription", f"{existing.name}, posting to {existing.url or NONE}", NONE)
    return SubscriptionOutcome(space.id, space.name, "would_remove" if dry_run else "removed", existing.id, (change,))


def own(subscriptions: Collection[Subscription], name: str) -> Subscription | None:
    """Ours among them."""
    return next((each for each in subscriptions if each.name.lower() == name.lower()), None)


def _notes(listed: Sequence[Subscription], existing: Subscription | None, spec: SubscriptionSpec) -> tuple[str, ...]:
    notes = [
        f"{each.id} ({each.name}) posts to the same address: every event is told twice until it is removed there."
        for each in listed
        if each.url == spec.url and each is not existing and not each.is_disabled
    ]
    if _is_loopback(spec.url):
        notes.append(f"{spec.url} is a loopback address: only an Octopus Server on the same machine reaches it.")
    return tuple(notes)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
