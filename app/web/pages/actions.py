"""Actions of admins: reserve a machine, end a reservation, force the release of a run, change a priority."""

from __future__ import annotations

from typing import Any

from flask import g, redirect, request, url_for

from app.domain.errors import GateError, RunChanged
from app.domain.phrases import sentence
from app.domain.run import MAX_PRIORITY
from app.domain.status import RunStatus
from app.queries.references import id_of
from app.web.api.routing import current_services
from app.web.errors import Problem
from app.web.pages.base import blueprint
from app.web.pages.forms import Draft, leave_notice, moment, require_form, required
from app.web.pages.machine import show_machine
from app.web.pages.run import show_run


@blueprint.post("/machines/<machine_id>/reserve")
def reserve(machine_id: str) -> Any:
    require_form()
    board = current_services().board
    machine_id = id_of(current_services(), "machine", machine_id)
    try:
        note = required("note", "what it is reserved for")
        until_ms = moment(request.form.get("until_utc") or request.form.get("until", ""), board.now_ms())
        made = board.reserve(machine_id, note=note, by=g.caller.name, until_ms=until_ms)
    except (ValueError, GateError) as error:
        return show_machine(machine_id, Draft("reserve", str(error), request.form))
    leave_notice(f"{made['id']} is reserved. Running work goes on; nobody new starts.")
    return redirect(url_for("pages.machine", machine_id=made["id"]), 303)


@blueprint.post("/machines/<machine_id>/unreserve")
def unreserve(machine_id: str) -> Any:
    require_form()
    machine_id = id_of(current_services(), "machine", machine_id)
    done = current_services().board.unreserve(machine_id, by=g.caller.name)
    leave_notice("The reservation has ended." if done else "It was not reserved.")
    return redirect(url_for("pages.machine", machine_id=machine_id), 303)


@blueprint.post("/runs/<task_id>/force-release")
def force_release(task_id: str) -> Any:
    require_form()
    services = current_services()
    place = services.board.place(task_id)
    if place is None:
        raise Problem(404, "unknown_run", f"{task_id[:100]} is unknown: expected a run that waits or holds")
    try:
        reason = required("reason", "why")
    except ValueError as error:
        return show_run(task_id, Draft("release", str(error), request.form))
    try:
        if _version(place) != place.run.v:
            raise RunChanged(task_id, place.state)
        if not request.form.get("confirm") and (objection := services.objection_to_release(place)):
            complaint = f"{sentence(objection.message)} Released while it runs, it and the next deployment can collide."
            fields = {**request.form, "version": str(place.run.v)}
            return show_run(task_id, Draft("release", complaint, fields, needs_confirm=True, status=409))
        outcome = services.board.release(task_id, cause="forced", by=g.caller.name, reason=reason, seen=place)
    except RunChanged as error:
        return show_run(task_id, Draft("release", sentence(str(error)), request.form, status=409))
    sentences = {"released": "Its machines are free.", "left": "It has left the line.", "nothing": "It held nothing."}
    leave_notice(sentences.get(outcome, outcome))
    return redirect(url_for("pages.run", task_id=task_id), 303)


@blueprint.post("/runs/<task_id>/priority")
def prioritize(task_id: str) -> Any:
    require_form()
    try:
        reason = required("reason", "why")
        place = current_services().board.prioritize(task_id, _priority(), by=g.caller.name, reason=reason)
    except (ValueError, GateError) as error:
        return show_run(task_id, Draft("priority", str(error), request.form))
    leave_notice("It has been granted." if place.is_granted else f"It has place {place.place} now.")
    return redirect(url_for("pages.run", task_id=task_id), 303)


def _version(place: RunStatus) -> int:
    """Of the run that the form is about; of a form without one, that which is there now."""
    try:
        return int(request.form.get("version", place.run.v))
    except ValueError:
        return -1  # of no run


def _priority() -> int:
    try:
        priority = int(request.form.get("priority", ""))
    except ValueError as error:
        raise ValueError("Write the priority as a whole number, such as 10.") from error
    if abs(priority) > MAX_PRIORITY:
        raise ValueError(f"A priority is from {-MAX_PRIORITY:,} to {MAX_PRIORITY:,}.")
    return priority
