"""The filter of the timeline and of the ledger, from the fields of their form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.services import Services
from app.web.pages.base import matching_id


@dataclass(frozen=True)
class Wanted:
    """*asked*: what stands in the fields; *ids*: what that means, by field; *unknown*: what cannot mean anything."""

    asked: Mapping[str, str]
    ids: Mapping[str, str]
    unknown: tuple[str, ...]

    @classmethod
    def of(cls, gate: Services, args: Mapping[str, str], *names: str) -> Wanted:
        """The fields *names*, e.g. ``machine_id``: a machine may also be called by its name.

        Raises:
            StoreError: Redis could not do it.
        """
        asked = {name: args.get(name, "").strip()[:200] for name in names}
        ids = {name: _id_of(gate, name, text) for name, text in asked.items() if text}
        unknown = tuple(asked[name] for name, found in ids.items() if found is None)
        return cls(asked, {name: found for name, found in ids.items() if found}, unknown)


def _id_of(gate: Services, name: str, text: str) -> str | None:
    known = gate.registry.machine_named(text) if name == "machine_id" else None
    return known or matching_id(text)
