"""The filter of the timeline and of the ledger, from the fields of their form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.domain.errors import AmbiguousName, UnknownName
from app.domain.phrases import sentence
from app.domain.wording import capitalized
from app.queries.references import id_of
from app.services import Services
from app.web.pages.base import matching_id


@dataclass(frozen=True)
class HistoryFilter:
    """The ids to filter by, from the fields of a form.

    Args:
        entered: The text in each field.
        ids: The id that each text stands for.
        complaints: A sentence for each text that stands for none, or for several.
    """

    entered: Mapping[str, str]
    ids: Mapping[str, str]
    complaints: tuple[str, ...]

    @classmethod
    def of(cls, services: Services, args: Mapping[str, str], *names: str) -> HistoryFilter:
        """The fields *names*, e.g. ``machine_id``: everything but a task may also be called by its name.

        Raises:
            StoreError: Redis could not do it.
        """
        entered = {name: args.get(name, "").strip()[:200] for name in names}
        ids: dict[str, str] = {}
        complaints = []
        for name, text in entered.items():
            try:
                if text:
                    ids[name] = _id_of(services, name.removesuffix("_id"), text)
            except (UnknownName, AmbiguousName) as error:
                complaints.append(sentence(capitalized(str(error))))
        return cls(entered, ids, tuple(complaints))


def _id_of(services: Services, kind: str, text: str) -> str:
    if kind != "task":
        return id_of(services, kind, text)
    if not matching_id(text):
        raise UnknownName(kind, f"{text!r} is no server task: expected an id such as ServerTasks-4711")
    return text
