"""The filter of the timeline and of the ledger, from the fields of their form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.services import Services
from app.web.pages.base import matching_id


@dataclass(frozen=True)
class HistoryFilter:
    """The ids to filter by, from the fields of a form.

    Args:
        entered: The text in each field.
        ids: The id that each text stands for.
        unknown: The texts that stand for none.
    """

    entered: Mapping[str, str]
    ids: Mapping[str, str]
    unknown: tuple[str, ...]

    @classmethod
    def of(cls, services: Services, args: Mapping[str, str], *names: str) -> HistoryFilter:
        """The fields *names*, e.g. ``machine_id``: a machine may also be called by its name.

        Raises:
            StoreError: Redis could not do it.
        """
        entered = {name: args.get(name, "").strip()[:200] for name in names}
        ids = {name: _id_of(services, name, text) for name, text in entered.items() if text}
        unknown = tuple(entered[name] for name, id_ in ids.items() if id_ is None)
        return cls(entered, {name: id_ for name, id_ in ids.items() if id_}, unknown)


def _id_of(services: Services, name: str, text: str) -> str | None:
    known = services.registry.machine_named(text) if name == "machine_id" else None
    return known or matching_id(text)
