"""What people call a thing, and the id that it stands for: wherever an id is taken, a name is taken too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from app.coordination.registry import closest
from app.domain.errors import AmbiguousName, UnknownName
from app.domain.ids import ID_PATTERN
from app.domain.records import Filter
from app.domain.run_info import Document
from app.services import Services

#: Names that are offered where none is right, and how many ids of one name are listed.
NEAREST, LISTED = 3, 10

#: What the ids that Octopus makes begin with: only such a one is looked for in the timeline. ``web-05`` is none.
_PREFIXES = {"machine": "machines", "project": "projects", "environment": "environments", "tenant": "tenants"}


def id_of(services: Services, kind: str, text: str, *, create: bool = False) -> str:
    """The id that *text*, an id or a name whatever its letter case, stands for.

    Args:
        kind: ``machine``, ``project``, ``environment`` or ``tenant``.
        create: *text* may be the id of a machine that nobody has used yet.

    Raises:
        UnknownName: nothing that octowait knows has it; the message names the nearest.
        AmbiguousName: several things have that name.
        StoreError: Redis could not do it.
    """
    text = text.strip()
    if kind != "machine" and _is_on_record(services, kind, text):
        return text
    if kind == "machine" and (machine := services.registry.machine(text)):
        return machine
    known = _known(services, kind)
    matches = [thing for thing in known if (thing.id or "").lower() == text.lower()]
    matches = matches or [thing for thing in known if (thing.name or "").lower() == text.lower()]
    if len(matches) > 1:
        raise _ambiguous(kind, text, [thing.id for thing in matches])
    if matches and matches[0].id:
        return matches[0].id
    if re.match(ID_PATTERN, text) and (create or _is_on_record(services, kind, text)):
        return text
    raise UnknownName(kind, _unknown(kind, text, known, is_named=bool(matches)))


def joined_ids_of(services: Services, machines: Sequence[str]) -> list[str]:
    """The ids of the machines that a run asks for: one that nobody has used yet is as good as any.

    All are looked up together: a run can have ten thousand of them, and octowait can know as many.

    Raises:
        AmbiguousName: several machines have a name that is one of *machines*.
        StoreError: Redis could not do it.
    """
    own = [machine for machine in machines if not _is_made_by_octopus("machine", machine)]
    ids = services.registry.machine_ids(own)
    if unknown := [machine for machine in own if machine.lower() not in ids]:
        ids |= _ids_by_name(services.registry.machines(), unknown)
    return [ids.get(machine.lower(), machine) for machine in machines]


def _ids_by_name(known: Iterable[Document], names: Iterable[str]) -> dict[str, str]:
    """The ids of the *known* things that have one of *names*, by the name in lower case.

    Raises:
        AmbiguousName: several have it.
    """
    by_name: dict[str, list[str]] = {name.lower(): [] for name in names}
    for thing in known:
        if thing.id and thing.name and thing.name.lower() in by_name:
            by_name[thing.name.lower()].append(thing.id)
    for name in names:
        if len(ids := by_name[name.lower()]) > 1:
            raise _ambiguous("machine", name, ids)
    return {name: ids[0] for name, ids in by_name.items() if ids}


def _ambiguous(kind: str, name: str, ids: Sequence[str | None]) -> AmbiguousName:
    listed = ", ".join(map(str, ids[:LISTED]))
    return AmbiguousName(f"{name!r} is the name of {len(ids)} {kind}s: say which by its id, {listed}")


def _known(services: Services, kind: str) -> list[Document]:
    """Each thing once; one whose id is not known by its name."""
    things: Iterable[Document]
    things = services.registry.machines() if kind == "machine" else services.registry.documents(kind)
    by_id: dict[str, Document] = {}
    for thing in things:
        by_id[(thing.id or f" {thing.name}").lower()] = thing
    return sorted(by_id.values(), key=lambda thing: (thing.name or "", thing.id or ""))


def _is_made_by_octopus(kind: str, text: str) -> bool:
    prefix, _, number = text.lower().partition("-")
    return prefix == _PREFIXES[kind] and number.isascii() and number.isdigit()


def _is_on_record(services: Services, kind: str, text: str) -> bool:
    """Whether the timeline has something of that id, or is too long to tell."""
    if kind == "tenant" or not _is_made_by_octopus(kind, text):
        return False
    filters = {
        "machine": Filter(machine_id=text), "project": Filter(project_id=text),
        "environment": Filter(environment_id=text),
    }  # fmt: skip
    records, cursor = services.timeline.page(filters[kind], limit=1)
    return bool(records or cursor)


def _unknown(kind: str, text: str, known: list[Document], *, is_named: bool) -> str:
    if is_named:
        return f"of the {kind} {text!r} only the name is known here, not the id"
    nearest = _nearest(text.lower(), known)
    hint = f"; the nearest: {', '.join(nearest)}" if nearest else ""
    return f"{text[:100]!r} is no {kind} that octowait knows, neither by id nor by name{hint}"


def _nearest(text: str, known: list[Document]) -> list[str]:
    """What those of *known* are called that are called most like *text*, in lower case."""
    labels = {label.lower(): thing for thing in known for label in (thing.id, thing.name) if label}
    close = [labels[label] for label in closest(text, labels, most=2 * NEAREST)]
    return list(dict.fromkeys(_label(thing) for thing in close))[:NEAREST]


def _label(thing: Document) -> str:
    return f"{thing.name} ({thing.id})" if thing.name and thing.id and thing.name != thing.id else str(thing.label)


def ids_of(services: Services, **texts: str | None) -> dict[str, str | None]:
    """The ids of a filter: ``machine_id="web-01"`` is that machine's id, and what is not set stays so.

    Raises:
        UnknownName: as `id_of` does.
        AmbiguousName: as `id_of` does.
    """
    return {name: id_of(services, name.removesuffix("_id"), text) if text else None for name, text in texts.items()}
