"""The audit trail over the API: newest first, and no auto id in sight."""

from __future__ import annotations

from tests.simulator.categories import CATEGORIES, GROUPS, INTERNAL
from tests.simulator.clock import parse_iso
from tests.simulator.envelope import collection
from tests.simulator.events import matches
from tests.simulator.model import Event, Invalid
from tests.simulator.payload import event_resource
from tests.simulator.routing import OPEN, Answer, Call, Routes

routes = Routes()

#: Parameters that filter as a subscription does.
_FILTERS = {"EventCategories": "eventCategories", "EventGroups": "eventGroups", "DocumentTypes": "documentTypes",
            "Projects": "projects", "Environments": "environments", "Tenants": "tenants", "Users": "users"}  # fmt: skip


@routes("GET", "events", "EventView")
def events(call: Call) -> Answer:
    """``from`` and ``fromAutoId`` are inclusive, ``to`` and ``toAutoId`` exclusive; ``regarding`` all, ``regardingAny``
    one of its ids."""
    since, until = _moment(call, "from"), _moment(call, "to")
    first, last = call.number("fromAutoId", 0), call.number("toAutoId", 2**62)
    wanted = {kind: call.texts(name) for kind, name in _FILTERS.items()}
    ids = {text.lower() for text in call.texts("ids")}
    found = [
        event
        for event in reversed(call.in_space(call.octopus.events.all))
        if (since is None or event.occurred_ms >= since)
        and (until is None or event.occurred_ms < until)
        and first <= event.auto_id < last
        and (not ids or event.id.lower() in ids)
        and _is_regarding(call, event)
        and matches(event, wanted)
        and not (event.is_system and call.flag("includeSystem") is False)
        and not (event.category in INTERNAL and call.flag("includeInternalEvents") is False)
    ]
    return collection(call, found, "Event", event_resource)


def _moment(call: Call, name: str) -> int | None:
    try:
        return parse_iso(call.text(name)) if call.text(name) else None
    except ValueError as error:
        raise Invalid(f"{name} is {call.text(name)!r}: expected a time.") from error


def _is_regarding(call: Call, event: Event) -> bool:
    related = {document_id.lower() for document_id in event.related}
    every = {text.lower() for text in call.texts("regarding")}
    one = {text.lower() for text in call.texts("regardingAny")}
    return every <= related and (not one or bool(one & related))


@routes("GET", "events/categories", OPEN)
def categories(call: Call) -> Answer:
    return [{"Id": name, "Name": shown, "Links": {}} for name, shown in CATEGORIES.items()]


@routes("GET", "events/groups", OPEN)
def groups(call: Call) -> Answer:
    return [{"Id": name, "Name": name, "EventCategories": list(of), "Links": {}} for name, of in GROUPS.items()]


@routes("GET", "events/documenttypes", OPEN)
def document_types(call: Call) -> Answer:
    kinds = {"Deployments": "Deployment", "RunbookRuns": "Runbook run", "Machines": "Deployment target"}
    return [{"Id": name, "Name": shown, "Links": {}} for name, shown in kinds.items()]


@routes("GET", "events/agents", OPEN)
def agents(call: Call) -> Answer:
    return [{"Id": "server", "Name": "Server", "Links": {}}]


@routes("GET", "events/{id}", "EventView")
def event(call: Call) -> Answer:
    return event_resource(call.get("Events", call.ids["id"]))
