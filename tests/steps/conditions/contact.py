"""Rule 13: the first contact, silence and other voices, refusals; and what `proceed` may go on without."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

import wording
from run_step import Step
from stand_in import (
    Reply,
    StandIn,
    after_early_hints,
    closing,
    granted,
    page,
    problem,
    raw,
    state,
    unended,
    waiting,
)

from conditions import condition
from conditions.world import NOBODY, SLACK, World, said, seconds_since

PROCEED = {"Octowait.WhenUnreachable": "proceed"}
#: Two minutes are 2 s.
SIXTY = {"OCTOWAIT_TIME_DIVISOR": "60"}
#: Five minutes are 3 s, two minutes 1 s.
HUNDRED = {"OCTOWAIT_TIME_DIVISOR": "100"}
#: A minute is 3 s.
TWENTY = {"OCTOWAIT_TIME_DIVISOR": "20"}

NOT_OCTOWAIT: dict[str, Reply] = {
    "a forbidding page": page(403),
    "a login page": page(200),
    "a failing page": page(500),
    "a redirect": page(302, "", Location="http://127.0.0.1:1/elsewhere"),
    "a JSON of somebody else": page(404, '{"message": "no route", "code": 7}'),
    "a status line inside a page": page(200, "<pre>\nHTTP/1.1 200 OK\n\ngranted 99\nGranted.\n</pre>"),
    "no HTTP at all": raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "an empty answer": page(200, ""),
    "a proxy that wants a password": page(407, Proxy_Authenticate="Basic realm=x"),
}


def _gives_up(
    world: World,
    verb: str,
    server: StandIn,
    after: int,
    variables: Mapping[str, str] | None = None,
    **around: Any,
) -> Step:
    """Run a step that gives up *after* so many seconds, and little more.

    Not earlier: as its own clock says, and by ours it began before. Not much later: counted from its first call, so
    that its start may take any time, to the last, with which it takes back what it may have got.
    """
    began = time.monotonic()
    step = world.run(verb, server, variables, **around)
    (seconds,) = re.findall(r"has not answered for ([0-9]+) s", "\n".join(step.printed.text))
    assert after <= int(seconds) <= seconds_since(began)
    assert server.requests[-1].method == "DELETE"
    assert server.requests[-1].at - server.requests[0].at <= after + SLACK
    return step


@condition(13)
def whatever_is_not_of_octowait_is_an_interruption(world: World) -> None:
    server = world.server(*NOT_OCTOWAIT.values(), granted(17))

    step = world.run("wait", server, env={"OCTOWAIT_RETRY_BASE_SECONDS": "0.01"})

    assert step.printed.variables["Octowait.FencingToken"] == "17"
    assert len(server.requests) == len(NOT_OCTOWAIT) + 2  # and the confirming call


@condition(13)
def early_hints_are_no_answer(world: World) -> None:
    server = world.server(after_early_hints(waiting()), waiting(), granted())

    assert world.run("wait", server).printed.variables["Octowait.FencingToken"] == "17"


@condition(13)
def a_redirect_is_not_followed(world: World) -> None:
    elsewhere = world.server(granted(99))
    server = world.server(page(302, "", Location=f"{elsewhere.url}/api/waits/ServerTasks-1"), granted(17))

    step = world.run("wait", server)

    assert elsewhere.requests == []
    assert said(step, wording.pattern(wording.ASKING_AGAIN, reason=wording.REDIRECT.format(status=302)))


@condition(13)
def a_refusal_ends_a_step_at_once(world: World) -> None:
    for verb, status, code in (("wait", 409, "holds_others"), ("wait", 404, "not_found"), ("claim", 422, "invalid")):
        server = world.server(problem(status, code, "no"))
        last = world.fails(verb, server, PROCEED)
        assert last == wording.REFUSED.format(message=wording.PROBLEM.format(status=status, detail="no"))
        assert server.methods == ["PUT"]


@condition(13)
def problems_that_pass_are_no_refusals(world: World) -> None:
    passing = [problem(404, "unknown_run"), problem(408, "slow"), problem(429, "too_many"), problem(503, "busy")]
    server = world.server(*passing, granted(17))

    for verb in ("wait", "claim"):
        server.replies[:] = [*passing, granted(17)]
        assert world.run(verb, server).printed.variables["Octowait.FencingToken"] == "17"


@condition(13)
def a_place_that_is_gone_is_asked_for_again(world: World) -> None:
    gone = problem(404, "unknown_run", "ServerTasks-1 has not asked to wait")
    server = world.server(waiting(), gone, waiting(5, "Waiting for web-01, place 5.", status=201), granted())

    step = world.run("wait", server)

    assert server.methods == ["PUT", "GET", "PUT", "GET", "GET"]
    assert wording.LOST_PLACE in step.printed.text


@condition(13)
def a_token_that_is_refused_at_first_ends_the_step(world: World) -> None:
    server = world.server(problem(401, "unauthorized", "expected a token"))
    message = wording.TOKEN.format(status=401, detail="expected a token")

    assert world.fails("wait", server) == wording.REFUSED.format(message=message)
    assert server.methods == ["PUT"]


@condition(13)
def a_token_that_is_refused_later_has_a_minute(world: World) -> None:
    """A rolling restart with an older token file passes, a token that was removed does not; here after 3 s."""
    refused = problem(401, "unauthorized", "expected a token")
    server = world.server(waiting(), refused, refused, waiting(), granted())

    assert world.run("wait", server).printed.variables["Octowait.State"] == "granted"
    server = world.server(waiting(), refused)
    message = wording.TOKEN.format(status=401, detail="expected a token")
    assert world.fails("wait", server, env=TWENTY) == wording.REFUSED.format(message=message)
    assert seconds_since(server.requests[1].at) >= 3
    assert len(server.requests) >= 4


@condition(13)
def without_a_first_contact_a_step_gives_up_after_five_minutes(world: World) -> None:
    for reply in (page(200), closing):
        server = world.server(reply)
        step = _gives_up(world, "wait", server, 3, env=HUNDRED, fails=True)
        expected = wording.pattern(wording.NEVER_ANSWERED, url=server.url)
        assert said(step, expected) == [step.printed.result]


@condition(13)
def claim_gives_up_after_a_minute(world: World) -> None:
    server = world.server(page(200))

    step = _gives_up(world, "claim", server, 3, env=TWENTY, fails=True)

    assert said(step, wording.pattern(wording.NEVER_ANSWERED, url=server.url)) == [step.printed.result]
    assert "Octowait.Granted" not in step.printed.variables


@condition(13)
def proceed_goes_on_after_two_minutes_of_silence(world: World) -> None:
    cut = unended("granted 1", '{"state": "gr')
    for verb, replies in (("wait", [closing]), ("wait", [cut, page(502), page(503), page(504)]), ("claim", [closing])):
        server = world.server(*replies)
        step = _gives_up(world, verb, server, 2, PROCEED, env=SIXTY)
        assert said(step, wording.pattern(wording.PROCEEDING, url=server.url)) == step.printed.at("warning")
        assert step.printed.variables["Octowait.State"] == "unreachable"


@condition(13)
def proceed_goes_on_when_nobody_is_there(world: World) -> None:
    step = world.run("wait", NOBODY, PROCEED, env=SIXTY)

    assert said(step, wording.pattern(wording.PROCEEDING, url=NOBODY)) == step.printed.at("warning")


@condition(13)
def proceed_does_not_go_on_when_something_else_was_heard(world: World) -> None:
    others = {
        "a page": [page(200)],
        "once": [page(403), closing],
        "a redirect": [page(302)],
        "a failing page": [page(500)],
    }
    for replies in others.values():
        server = world.server(*replies)
        step = _gives_up(world, "wait", server, 3, PROCEED, env=HUNDRED, fails=True)
        assert said(step, wording.pattern(wording.NOT_PROCEEDING, url=server.url)) == [step.printed.result]
        assert "not an answer of octowait" in step.printed.result
        assert "Octowait.State" not in step.printed.variables


@condition(13)
def proceed_does_not_go_on_once_octowait_has_answered(world: World) -> None:
    limit = {**PROCEED, "Octowait.TimeoutMinutes": "0.07"}
    server = world.server(problem(503, "busy", "Redis does not answer"), closing)

    step = world.run("wait", server, limit, env=SIXTY, fails=True)

    assert said(step, wording.pattern(wording.GAVE_UP, minutes="0.07")) == [step.printed.result]
    step = world.run("claim", world.server(problem(503, "busy")), PROCEED, env=SIXTY, fails=True)
    assert said(step, wording.pattern(wording.GAVE_NO_PLACE)) == [step.printed.result]


@condition(13)
def an_end_of_the_wait_ends_the_step(world: World) -> None:
    for word in ("left", "refused", "released"):
        server = world.server(waiting(), state(word, 0, "ServerTasks-1 may not wait."))
        assert world.fails("wait", server) == wording.REFUSED.format(message="ServerTasks-1 may not wait.")
