"""``/api/waits``: joining a line, waiting, giving back, and what an operator can do to a run."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, request

from app.domain.errors import RunChanged, UnknownRun
from app.domain.status import WAIT_STATES, RunStatus
from app.queries.pages import waiting_page
from app.queries.references import joined_ids_of
from app.queries.views import wait_answer, waiting_places
from app.settings.values import Token
from app.store.fairness import in_turns
from app.web.api.joining import have_named, request_of
from app.web.api.joins_in_turn import JoinsInTurn, NoTurnYet
from app.web.api.owning import StepCalls
from app.web.api.routing import Api, current_services
from app.web.api.schemas.waits import (
    ForceRelease,
    Outcome,
    PollQuery,
    Prioritize,
    ReleaseOutcome,
    ReleaseQuery,
    WaitModel,
    WaitRequest,
    Waits,
    WaitsQuery,
)
from app.web.api.step_answers import JSON, TEXT, answer_to_release, answer_to_step
from app.web.errors import Problem
from app.web.polls.long_poll import HAS_SLEPT, PROBLEM, TELLS_WAITING
from app.web.request_log import name_in_log
from app.web.step_headers import StepHeaders, step_headers

api = Api(Blueprint("waits", __name__))

#: Waits that are put into an answer between two turns of others.
IN_A_TURN = 10


@api.route("PUT", "/api/waits/{task_id}", role="step", body=WaitRequest, answers={201: WaitModel, 200: WaitModel},
           errors=(409,), text=True)  # fmt: skip
def join(task_id: str, body: WaitRequest, caller: Token) -> Any:
    """Join the line, or ask again.

    201 when it is new there, 200 when it waits or holds already: then it keeps its place and gets the same answer.
    With a claim (header X-Octowait-Claim) the answer collects no grant. A new claim takes the place of the one before,
    whose requests are answered with `left` from then on, as are those of a claim that is over.
    """
    step, services = step_headers(request.environ), current_services()
    joins: JoinsInTurn = current_app.extensions["octowait.joins"]
    calls = _calls(caller, step)
    try:
        _raise_problem()
        with joins.turn(caller.name, len(body.machines)):
            place = calls.join(request_of(task_id, body, step), joined_ids_of(services, body.machines))
            have_named(services, place)
            return _answer(place, step, 201 if place.is_new else 200, is_new=step.is_new)
    except NoTurnYet as problem:
        if step.is_new:
            raise
        # Under "proceed" a script of before would go on without waiting after two minutes of 503.
        return _answer(calls.without_place(task_id, problem.detail), step, 200, is_new=False)


@api.route("GET", "/api/waits/{task_id}", role="step", query=PollQuery, answers={200: WaitModel}, errors=(404,),
           text=True)  # fmt: skip
def poll(task_id: str, query: PollQuery, caller: Token) -> Any:
    """The present state, or the state as soon as it is no longer waiting.

    Every call is a sign of life of the run, but with `look`. Without a claim (header X-Octowait-Claim) an answer
    `granted` collects the grant. With one only a call without `block_seconds` does, once an answer has told of the
    grant: it is answered `granted` where the grant is collected, and `waiting` before.
    """
    # It has slept in `Blocking` already, in front of Flask.
    _raise_problem()
    step, services = step_headers(request.environ), current_services()
    if query.look:
        place = services.board.look(task_id)
    else:
        blocks = query.block_seconds > 0 or request.environ.get(HAS_SLEPT, False)
        place = _calls(caller, step).poll(task_id, blocks=blocks)
    if place is None or place.state not in WAIT_STATES:
        raise Problem(404, "unknown_run", f"{task_id[:100]} has not asked to wait: expected a PUT first")
    if step.claim and not query.look and not query.block_seconds:
        place = place.as_confirmed()
    request.environ[TELLS_WAITING] = place.is_waiting and not query.look
    return _answer(place, step, 200, is_new=query.look or step.is_new)


@api.route("DELETE", "/api/waits/{task_id}", role="step", query=ReleaseQuery, answers={200: ReleaseOutcome}, text=True)
def release(task_id: str, query: ReleaseQuery, caller: Token) -> Any:
    """Give back the machines, or leave the line.

    With a claim (header X-Octowait-Claim) only its own run ends, and requests of that claim change nothing any more.
    """
    _raise_problem()
    step = step_headers(request.environ)
    outcome = _calls(caller, step).release(task_id, reason=query.reason)
    kind = TEXT if _wants_text() else JSON
    return Response(answer_to_release(task_id, outcome, step.claim, kind), content_type=kind)


@api.route("GET", "/api/waits", role="viewer", query=WaitsQuery, answers={200: Waits})
def everyone(query: WaitsQuery, caller: Token) -> Any:
    """Those who wait, in order, with blockers; of more than `limit`, 500 at most, the others behind `next_cursor`."""
    services = current_services()
    snapshot = services.snapshot()
    page, next_cursor = waiting_page(snapshot, limit=query.limit, cursor=query.cursor)
    places = waiting_places(snapshot, in_turns(page, IN_A_TURN))
    return {
        "waits": [WaitModel.model_validate(wait_answer(services, place), from_attributes=True) for place in places],
        "waits_count": len(snapshot.queue),
        "next_cursor": next_cursor,
    }


@api.route("POST", "/api/waits/{task_id}/force-release", role="admin", body=ForceRelease, answers={200: Outcome},
           errors=(404, 409))  # fmt: skip
def force_release(task_id: str, body: ForceRelease, caller: Token) -> Any:
    """End a run's lease, observed hold or wait, with a reason.

    Refused with 409 while Octopus says that its task still runs, or cannot be asked, unless it is repeated with
    `confirm`. Without an API key nobody is asked. A run that changes meanwhile is left as it is, with 409.
    """
    services = current_services()
    place = services.board.place(task_id)
    if place is None:
        raise UnknownRun(f"{task_id[:100]} is unknown: expected a run that waits or holds")
    _name_in_log(place)
    if body.version not in (None, place.run.v):
        raise RunChanged(task_id, place.state)
    if not body.confirm and (objection := services.objection_to_release(place)):
        raise Problem(409, objection.code, f"{objection.message}: repeat with confirm if you are sure that it does not")
    outcome = services.board.release(task_id, cause="forced", by=caller.name, reason=body.reason, seen=place)
    return {"outcome": outcome}


@api.route("POST", "/api/waits/{task_id}/priority", role="admin", body=Prioritize, answers={200: WaitModel},
           errors=(404, 409))  # fmt: skip
def prioritize(task_id: str, body: Prioritize, caller: Token) -> Any:
    """Move a waiting run in all its lines; higher is sooner, and among equals it keeps its arrival."""
    place = current_services().board.prioritize(task_id, body.priority, by=caller.name, reason=body.reason)
    _name_in_log(place)
    return wait_answer(current_services(), place)


def _raise_problem() -> None:
    """Raise that in which the call has ended in front of Flask, if it has: it is not carried out again."""
    if problem := request.environ.get(PROBLEM):
        raise problem


def _calls(caller: Token, step: StepHeaders) -> StepCalls:
    return StepCalls(current_services(), caller, step.claim, current_app.extensions["octowait.tokens"])


def _wants_text() -> bool:
    accepted = request.accept_mimetypes
    return accepted["text/plain"] > accepted["application/json"]


def _answer(place: RunStatus, step: StepHeaders, status: int, *, is_new: bool) -> Any:
    _name_in_log(place)
    services = current_services()
    base_url = services.settings.public_url or request.host_url
    text, kind = answer_to_step(services, place, step, as_text=_wants_text(), is_new=is_new, base_url=base_url)
    return Response(text, status, content_type=kind)


def _name_in_log(place: RunStatus) -> None:
    name_in_log(task=place.task_id, machines=[machine.id for machine in place.machines])
