"""Catch up: events that no webhook brought are read and applied once."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import Any

import pytest

from app.domain.events import parse_event
from app.domain.run import RunRequest
from app.octopus.errors import OctopusBusy, OctopusDenied, OctopusMissing
from tests.conftest import an_event
from tests.e2e.repairs.helpers import asked_for, deploys, do_in, records, state
from tests.simulator.steps import work
from workers import catch_up, resolve


def test_events_that_no_webhook_brought_are_applied_once(board, octopus, context, do):
    one = deploys(octopus, "Web", steps=[work("deploy", machines=["web-01"], seconds=0.1)])
    octopus.wait_for(one)
    two = deploys(octopus, "Api")

    do(catch_up)
    do(catch_up)

    assert state(board, one) == "ended" or board.place(one.task_id).run.end_seen
    assert state(board, two) == "started"
    [caught_up] = records(board, kind="caught_up")
    assert caught_up.detail["missed"] == len([r for r in records(board, kind="event") if not r.detail.get("note")])
    assert {r.detail["via"] for r in records(board, kind="event")} == {"catch_up"}
    assert asked_for(context, "resolve")


def test_lost_end_is_repaired(board, octopus, do):
    one = deploys(octopus, "Web", steps=[work("deploy", machines=["web-01"], seconds=0.1)])
    board.join(RunRequest(one.task_id), {"Machines-1"})
    octopus.wait_for(one)

    do(catch_up)

    assert state(board, one) == "released"


def test_run_that_works_again_holds_its_machines_when_the_end_of_the_one_before_is_read(board, octopus, do):
    """Between the two, as Octopus tells them, its machines would be free, and a waiter would be granted."""
    one = deploys(octopus, "Web")
    do(catch_up)
    do(resolve)
    octopus.cancel(one)
    octopus.wait_for(one)
    octopus.rerun(one)
    octopus.wait_for(one, "Executing")
    board.join(RunRequest("ServerTasks-900", parked=True), {"Machines-1"})

    do(catch_up)

    assert (state(board, one), state(board, "ServerTasks-900")) == ("started", "waiting")
    do(resolve)
    assert (state(board, one), state(board, "ServerTasks-900")) == ("observed", "waiting")
    octopus.cancel(one)
    octopus.wait_for(one)
    do(catch_up)
    assert (state(board, one), state(board, "ServerTasks-900")) == ("ended", "granted")


def test_event_that_came_as_a_webhook_is_not_counted_as_missed(board, octopus, do):
    one = deploys(octopus, "Web", steps=[work("deploy", machines=["web-01"], seconds=0.1)])
    octopus.wait_for(one)
    for resource in reversed(octopus.api("events?take=100")["Items"]):
        board.deliver(parse_event(resource))

    do(catch_up)

    assert records(board, kind="caught_up") == []


def test_catch_up_goes_on_from_the_last_event_with_an_overlap(board, octopus, context, do):
    one = deploys(octopus, "Web", steps=[work("deploy", machines=["web-01"], seconds=0.1)])
    octopus.wait_for(one)
    do(catch_up)
    cursor = int(board.client.get(board.keys.named("caught-up-to")))
    newest = max(r.detail["occurred_ms"] for r in records(board, kind="event"))
    assert cursor == newest

    two = deploys(octopus, "Api")
    do(catch_up)

    assert state(board, two) == "started"


def test_catch_up_over_days_is_read_piece_by_piece(board, octopus, context, do):
    board.client.set(board.keys.named("caught-up-to"), board.now_ms() - 3 * 86_400_000)
    one = deploys(octopus, "Web")

    do(catch_up)

    assert state(board, one) == "started"
    assert int(board.client.get(board.keys.named("caught-up-to"))) > board.now_ms() - 600_000


def test_catch_up_that_fails_half_way_is_not_remembered_as_done(board, octopus, do):
    board.client.set(board.keys.named("caught-up-to"), 1)
    octopus.faults(error=1.0)

    with pytest.raises(OctopusBusy):
        do(catch_up)

    assert board.client.get(board.keys.named("caught-up-to")) == b"1"


def test_stretch_of_more_events_than_may_be_asked_for_is_read_in_shorter_ones(board, octopus, context):
    """It needed more requests than there are in a minute, and was read anew from its beginning for ever."""
    board.client.set(board.keys.named("caught-up-to"), board.now_ms() - 86_400_000)
    one = deploys(octopus, "Web")

    class Much:
        """Three hours hold more pages than the budget."""

        def __getattr__(self, name: str) -> Any:
            return getattr(context.octopus, name)

        def events(self, *, from_ms: int, to_ms: int, **options: Any) -> Any:
            if to_ms - from_ms > 3 * 3_600_000:
                raise OctopusBusy("held back to stay within the request budget")
            return context.octopus.events(from_ms=from_ms, to_ms=to_ms, **options)

    for _ in range(30):
        with suppress(OctopusBusy):
            do_in(replace(context, octopus=Much()), catch_up)

    assert state(board, one) == "started"


@pytest.mark.parametrize("status", [403, 401])
def test_event_about_what_the_key_may_not_see_does_not_stop_the_later_ones(board, octopus, context, status):
    """A key that is not accepted at all says nothing of that event, which is read again."""
    one = deploys(octopus, "Web")
    hidden = {**an_event(number=900, task=None, related=["Deployments-900"]), "SpaceId": octopus.space_id}

    class Hides:
        def __getattr__(self, name: str) -> Any:
            return getattr(context.octopus, name)

        def events(self, **options: Any) -> Any:
            return [*context.octopus.events(**options), hidden]

        def deployment(self, *args: Any, **options: Any) -> Any:
            raise OctopusDenied(f"GET /api/deployments/Deployments-900: {status}", status=status)

    with suppress(OctopusDenied) if status == 401 else nullcontext():
        do_in(replace(context, octopus=Hides()), catch_up)

    assert bool(board.client.get(board.keys.named("caught-up-to"))) == (status == 403)
    assert status == 401 or state(board, one) == "started"


@pytest.mark.parametrize("status", [403, 404])
def test_hidden_space_does_not_stop_the_events_of_the_others(board, octopus, context, status):
    one = deploys(octopus, "Web")
    asked: list[Any] = []

    class Hides:
        def __getattr__(self, name: str) -> Any:
            return getattr(context.octopus, name)

        def events(self, *, spaces: Any, **options: Any) -> Any:
            asked.append(spaces)
            if spaces != [octopus.space_id]:
                raise OctopusDenied("403") if status == 403 else OctopusMissing("404")
            return context.octopus.events(spaces=spaces, **options)

    settings = context.settings.model_copy(update={"octopus_spaces": ("Spaces-99", octopus.space_id)})
    services = replace(context.services, settings=settings)
    do_in(replace(context, services=services, octopus=Hides()), catch_up)

    assert state(board, one) == "started"
    assert asked[:2] == [["Spaces-99"], [octopus.space_id]]


def test_event_that_cannot_be_read_does_not_stop_the_later_ones(board, octopus, context):
    one = deploys(octopus, "Web")

    class Odd:
        def __getattr__(self, name: str) -> Any:
            return getattr(context.octopus, name)

        def events(self, **options: Any) -> Any:
            return [*context.octopus.events(**options), an_event(number=900, occurred="yesterday")]

    do_in(replace(context, octopus=Odd()), catch_up)

    assert state(board, one) == "started"


def test_event_without_a_task_finds_it_through_its_deployment(board, octopus, context):
    one = deploys(octopus, "Web")
    [started] = [e for e in octopus.api("events?take=100")["Items"] if e["Category"] == "DeploymentStarted"]
    related = [i for i in started["RelatedDocumentIds"] if not i.startswith("ServerTasks-")]
    event = replace(parse_event({**started, "RelatedDocumentIds": related, "MessageReferences": []}), task_id=None)
    context.services.dead_deliveries.keep(body="{}", reason="names no server task", event=event.id)

    catch_up.CatchUp(context, context.octopus)._apply([event])

    assert state(board, one) == "started"
    assert context.services.dead_deliveries.all() == []
