"""Machines, events, and what documents are called."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Annotated

from pydantic import PlainValidator

from app.domain.plan import Target
from app.octopus.fields import WHOLE, Demanded, Id, Name, Value
from app.octopus.resources import Resources, scope
from app.octopus.shapes import Resource, list_of, text

#: The ids of target tags, as nothing else of a machine looks.
_TAG_ID = re.compile(r"TagSets-[^/]+/Tags-[^/]+\Z", re.IGNORECASE)


def _target_tags(machine: Resource) -> frozenset[str] | None:
    # No reference names the field (2026.3), so every one that has such ids is read.
    fields = (value for name, value in machine.items() if "tag" in name.lower() and "tenant" not in name.lower())
    tags = (tag for value in fields for tag in list_of(value) if isinstance(tag, str) and _TAG_ID.match(tag))
    return frozenset(tags) or None


@dataclass(frozen=True)
class DeploymentTarget(Value):
    """A machine; its name is its id where Octopus did not say.

    *tags* are the ids of its target tags; None where the answer has none, which need not mean that there are none.
    """

    id: Id
    name: Name
    tags: Annotated[frozenset[str] | None, PlainValidator(_target_tags), WHOLE] = None

    @property
    def target(self) -> Target:
        """The machine as plans name it."""
        return Target(self.id, self.name if self.name != self.id else None, self.tags)


@dataclass(frozen=True)
class EventCategory(Value):
    """A kind of event; *name* is what people read, *id* what filters and events carry."""

    id: Demanded
    name: Name


class Documents(Resources):
    """Calls about machines, events and names."""

    def machines(self, machine_ids: Collection[str], *, space: str | None = None) -> tuple[DeploymentTarget, ...]:
        """Those of *machine_ids* that exist, in no order. No ids: no request, since Octopus would list all."""
        targets = DeploymentTarget.read_all(self._by_ids(machine_ids, space, "machines"))
        return tuple({machine.id.lower(): machine for machine in targets}.values())

    def all_machines(self, *, space: str | None = None) -> Iterator[DeploymentTarget]:
        """Every machine of the space that the key may see, page by page as they are consumed."""
        return (DeploymentTarget.read(item) for item in self._items(space, "machines"))

    def name(self, kind: str, document_id: str, *, space: str | None = None) -> str | None:
        """What people call it, asked once without retries: it is only for show.

        Args:
            kind: ``projects``, ``environments``, ``tenants``, ``machines``, or ``releases`` for a version.
        """
        return _name(kind, self._get(space, kind, document_id, attempts=1))

    def slug(self, kind: str, document_id: str, *, space: str | None = None) -> str | None:
        """What it is called in addresses and in signed identities; None where this version has none.

        Args:
            kind: ``projects``, or ``spaces``, for which *space* does not count.
        """
        return text(self._get(None if kind == "spaces" else space, kind, document_id), "Slug")

    def events(
        self, *, from_ms: int, to_ms: int, categories: Collection[str] = (), spaces: Collection[str] = ()
    ) -> Iterator[Resource]:
        """The events from *from_ms* until before *to_ms*, newest first, for `app.domain.events.parse_event`.

        Pages are asked for as they are consumed. They do not shift while new events come in, since *to_ms* is fixed.

        Args:
            from_ms: By Octopus's clock, as *to_ms*.
            categories: Ids of `event_categories`; empty for all.
            spaces: Empty for all that the key may see.
        """
        inside, query = scope(None, spaces)
        query |= {"from": _iso(from_ms), "to": _iso(to_ms)}
        if categories:
            query["eventCategories"] = ",".join(categories)
        return self._items(inside, "events", query=query)

    def event_categories(self) -> tuple[EventCategory, ...]:
        """The kinds of events that this server knows; they differ between versions."""
        return EventCategory.read_all(self._list(None, "events", "categories"))

    def names_at_once(self, kind: str, ids: Collection[str], *, space: str | None = None) -> Mapping[str, str | None]:
        """What people call them, as `tasks_at_once`, asked once without retries: it is only for show.

        Args:
            kind: As `name`.
        """
        return self._at_once(kind, ids, partial(_name, kind), space, attempts=1)


def _name(kind: str, resource: Resource) -> str | None:
    return text(resource, "Version" if kind == "releases" else "Name")


def _iso(moment_ms: int) -> str:
    return datetime.fromtimestamp(moment_ms / 1000, UTC).isoformat(timespec="milliseconds")
