"""Deployment freezes, which belong to the whole server and come in an envelope of their own."""

from __future__ import annotations

from typing import Any

from tests.simulator.clock import Clock, iso, parse_iso
from tests.simulator.model import Freeze, Invalid
from tests.simulator.routing import Answer, Call, Routes

routes = Routes()


@routes("GET", "deploymentfreezes")
def freezes(call: Call) -> Answer:
    """``skip`` and ``take`` are required; ``effectiveDate``: those in force then; ``includeComplete``."""
    if not call.text("skip") or not call.text("take"):
        raise Invalid("skip and take are required.")
    skip, take = call.number("skip", 0), call.number("take", 0)
    found = [freeze for freeze in call.octopus.freezes.all() if _is_wanted(call, freeze)]
    return {"Count": len(found), "DeploymentFreezes": [_shown(freeze) for freeze in found[skip : skip + take]]}


def _is_wanted(call: Call, freeze: Freeze) -> bool:
    ids, projects = {i.lower() for i in call.texts("ids")}, set(call.texts("projectIds"))
    environments = set(call.texts("environmentIds"))
    covered = {environment for names in freeze.scope.values() for environment in names}
    return (
        (not ids or freeze.id.lower() in ids)
        and (not projects or bool(projects & freeze.scope.keys()))
        and (not environments or bool(environments & covered))
        and (call.flag("includeComplete") is not False or freeze.end_ms > Clock.now_ms())
        and _is_effective(call, freeze)
    )


def _is_effective(call: Call, freeze: Freeze) -> bool:
    text = call.text("effectiveDate")
    try:
        return not text or freeze.start_ms <= parse_iso(text) < freeze.end_ms
    except ValueError as error:
        raise Invalid(f"effectiveDate is {text!r}: expected a time.") from error


@routes("GET", "deploymentfreezes/{id}")
def freeze(call: Call) -> Answer:
    return _shown(call.octopus.store.get("DeploymentFreezes", call.ids["id"]))


def _shown(freeze: Freeze) -> dict[str, Any]:
    return {"Id": freeze.id, "Name": freeze.name, "Description": "", "OwnerId": None, "Start": iso(freeze.start_ms),
            "End": iso(freeze.end_ms), "TenantProjectEnvironmentScope": [], "RecurringSchedule": None,
            "ProjectEnvironmentScope": {project: list(names) for project, names in freeze.scope.items()}}  # fmt: skip
