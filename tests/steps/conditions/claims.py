"""The contract with the server: claims, the confirming call, the third line; and servers of before."""

from __future__ import annotations

import re

import wording
from stand_in import Exchange, StandIn, closing, granted, outcome, page, problem, state, unended, waiting

from conditions import condition
from conditions.world import World, said

CLAIM = "0123456789abcdef0123456789abcdef"
PROCEED = {"Octowait.WhenUnreachable": "proceed"}
TEXT_LANGUAGES = ("bash", "powershell")


def _claims(server: StandIn) -> set[str | None]:
    return {request.claim for request in server.requests}


@condition("claims")
def a_step_has_an_id_of_its_own(world: World) -> None:
    found = []
    for verb in ("wait", "claim", "wait"):
        server = world.server(granted())
        step = world.run(verb, server)
        (claim,) = _claims(server)
        assert claim and re.fullmatch("[0-9a-f]{32}", claim)
        assert step.printed.variables["Octowait.Claim"] == claim
        found.append(claim)
    assert len(set(found)) == 3


@condition("claims")
def a_grant_counts_when_it_is_confirmed_at_once(world: World) -> None:
    taken_back = [waiting(2), granted(14), waiting(3), granted(15)]
    server = world.server(waiting(1), granted(13), *taken_back, waiting(4), granted(16), granted(17))

    step = world.run("wait", server)

    assert server.asked[1:] == ["GET block_seconds=50", "GET block_seconds=0"] * 4
    confirmed = list(zip(server.requests[1::2], server.requests[2::2], strict=True))
    # The quickest of them: a pause would be in each, a busy machine is not.
    assert min(confirm.at - grant.at for grant, confirm in confirmed) <= 0.9
    assert step.printed.variables["Octowait.FencingToken"] == "17"


@condition("claims")
def a_grant_of_the_first_call_is_confirmed_too(world: World) -> None:
    for verb in ("wait", "claim"):
        server = world.server(granted(16), granted(17))
        assert world.run(verb, server).printed.variables["Octowait.FencingToken"] == "17"
        assert server.asked == ["PUT", "GET block_seconds=0"]


@condition("claims")
def a_lost_confirmation_is_asked_for_again_at_once_and_then_from_the_start(world: World) -> None:
    cut = unended("granted 1", '{"state": "granted", "fencing')
    for verb in ("wait", "claim"):
        server = world.server(granted(), closing, cut, granted(), granted())
        # The one pause that there is takes two seconds at least.
        step = world.run(verb, server, env={"OCTOWAIT_RETRY_BASE_SECONDS": "4"})
        assert server.asked == ["PUT", *["GET block_seconds=0"] * 2, "PUT", "GET block_seconds=0"]
        _, lost, again, anew, _ = (request.at for request in server.requests)
        assert again - lost <= 1.9 < anew - again
        assert step.printed.variables["Octowait.FencingToken"] == "17"


@condition("claims")
def a_grant_that_was_taken_back_is_waited_for(world: World) -> None:
    server = world.server(granted(16), waiting(), granted(17))

    step = world.run("wait", server)

    assert server.asked == ["PUT", "GET block_seconds=0", "GET block_seconds=50", "GET block_seconds=0"]
    assert step.printed.variables["Octowait.FencingToken"] == "17"


@condition("claims")
def a_claim_whose_grant_was_taken_back_parks(world: World) -> None:
    step = world.run("claim", world.server(granted(16), waiting()))

    assert step.printed.variables["Octowait.Granted"] == "False"


@condition("claims")
def a_claim_that_ended_before_its_confirmation_fails(world: World) -> None:
    for verb in ("wait", "claim"):
        server = world.server(granted(16), state("left", 0, "ServerTasks-1 has left the line."))
        last = world.fails(verb, server, PROCEED)
        assert last == wording.REFUSED.format(message="ServerTasks-1 has left the line.")


@condition("claims")
def a_place_that_expired_before_its_confirmation_is_asked_for_again(world: World) -> None:
    server = world.server(granted(16), state("expired", 0, "It expired."), waiting(status=201), granted(17))

    assert world.run("wait", server).printed.variables["Octowait.FencingToken"] == "17"


@condition("claims")
def an_unconfirmed_claim_fails_and_is_never_granted(world: World) -> None:
    def reply(exchange: Exchange) -> None:
        if exchange.request.method == "PUT":
            granted()(exchange)

    server = world.server(reply)

    step = world.run("claim", server, PROCEED, env={"OCTOWAIT_TIME_DIVISOR": "20"}, fails=True)

    assert said(step, wording.pattern(wording.UNCONFIRMED, url=server.url)) == [step.printed.result]
    assert "Octowait.Granted" not in step.printed.variables
    assert server.requests[-1].method == "DELETE" and len(_claims(server)) == 1


@condition("claims")
def a_time_out_does_not_stand_before_the_confirmation(world: World) -> None:
    def late(exchange: Exchange) -> None:
        exchange.server.stopped.wait(1.5)
        granted(16)(exchange)

    server = world.server(late, granted(17))

    step = world.run("wait", server, {"Octowait.TimeoutMinutes": "0.017"})

    assert server.methods == ["PUT", "GET"]

    assert step.printed.variables["Octowait.FencingToken"] == "17"


@condition("claims")
def the_claim_of_another_is_not_ours(world: World) -> None:
    server = world.server(granted(16, claim=CLAIM))

    step = world.run("wait", server)

    assert server.asked == ["PUT"]
    assert "Octowait.Claim" not in step.printed.variables


@condition("claims")
def a_server_of_before_grants_without_a_confirmation(world: World) -> None:
    for verb in ("wait", "claim"):
        server = world.server(granted(), is_new=False)
        step = world.run(verb, server)
        assert server.asked == ["PUT"]
        assert "Octowait.Claim" not in step.printed.variables


@condition("claims", languages=TEXT_LANGUAGES)
def a_third_line_without_its_end_is_not_there(world: World) -> None:
    def reply(exchange: Exchange) -> None:
        unended(f"granted 17\nGranted.\nclaim {exchange.request.claim}", "")(exchange)

    server = world.server(reply)

    step = world.run("wait", server)

    assert server.asked == ["PUT"]
    assert "Octowait.Claim" not in step.printed.variables


@condition("claims")
def what_is_said_besides_comes_in_any_order_and_may_be_unknown(world: World) -> None:
    def reply(exchange: Exchange) -> None:
        more = {
            "colour": "blue",
            "details": "https://octowait.example.com/runs/ServerTasks-1",
            "claim": exchange.request.claim,
        }
        granted(**more)(exchange)

    server = world.server(reply)

    step = world.run("wait", server)

    assert server.asked == ["PUT", "GET block_seconds=0"]
    assert step.printed.at("default") == ["Details: https://octowait.example.com/runs/ServerTasks-1"]


@condition("claims")
def the_last_seen_is_said_again_in_the_next_call(world: World) -> None:
    server = world.server(waiting(), waiting(2, seen="a.1"), waiting(3), waiting(4, seen="b.2"), closing, granted())

    world.run("wait", server)

    seen = [request.headers.get("x-octowait-seen") for request in server.requests]
    assert seen == [None, None, "a.1", "a.1", "b.2", "b.2", "b.2"]


@condition("claims")
def news_say_when_to_print_again(world: World) -> None:
    text = "Waiting for web-01, place 1: ServerTasks-7 (Api) has held it for {}."
    same = [waiting(1, text.format(f"{seconds} rabbits"), news="n1") for seconds in (1, 2)]
    server = world.server(*same, waiting(1, text.format("2 rabbits"), news="n2"), granted())

    step = world.run("wait", server)

    assert step.printed.at("wait") == [text.format("1 rabbits"), text.format("2 rabbits")]


@condition("claims")
def a_server_of_before_has_news_when_more_than_a_duration_changes(world: World) -> None:
    text = "Waiting for web-01, place 1: ServerTasks-7 (Api) has held it for {}. Expected in about {}."
    server = world.server(
        waiting(1, text.format("59 s", "2 min")), waiting(1, text.format("1 h 2 min", "1 min")), granted(), is_new=False
    )

    assert len(world.run("wait", server).printed.at("wait")) == 1


@condition("claims")
def the_details_are_linked_once(world: World) -> None:
    link = "https://octowait.example.com/runs/ServerTasks-1"
    for verb in ("wait", "claim"):
        server = world.server(waiting(1, details=link), waiting(2, details=link), granted(details=link))
        assert world.run(verb, server).printed.at("default") == [wording.DETAILS.format(url=link)]


@condition("claims")
def the_family_is_a_sensitive_output(world: World) -> None:
    for verb in ("wait", "claim"):
        step = world.run(verb, world.server(waiting(family="f-123"), granted(family="f-123")))
        assert step.printed.variables["Octowait.Family"] == "f-123"
        assert step.printed.sensitive == {"Octowait.Family"}
        assert "f-123" not in step.output
    assert "Octowait.Family" not in world.run("wait", world.server(granted())).printed.variables


@condition("claims")
def the_claim_is_known_to_octopus_as_soon_as_octowait_has_it(world: World) -> None:
    step = world.start("wait", world.server(waiting()))

    step.says("Waiting for web-01")
    assert re.fullmatch("[0-9a-f]{32}", step.printed.variables["Octowait.Claim"])


@condition("claims")
def who_gives_up_ends_its_own_claim(world: World) -> None:
    server = world.server(waiting())

    world.fails("wait", server, {"Octowait.TimeoutMinutes": "0.017"})

    assert server.requests[-1].method == "DELETE"
    assert len(_claims(server)) == 1 and None not in _claims(server)


@condition("claims")
def release_ends_the_claim_that_it_is_given(world: World) -> None:
    server = world.server(granted())

    step = world.run("release", server, {"Octowait.Claim": CLAIM})

    assert [(request.method, request.claim) for request in server.requests] == [("DELETE", CLAIM)]
    assert step.printed.at("highlight") == ["Released: ServerTasks-1 has given its machines back."]


@condition("claims")
def release_asks_for_the_claim_that_it_is_not_given(world: World) -> None:
    server = world.server(granted(claim=CLAIM))

    world.run("release", server, {"Octowait.Claim": "#{Octopus.Action[Wait].Output.Octowait.Claim}"})

    assert [(str(request).partition("reason")[0], request.claim) for request in server.requests] == [
        ("GET look=1", None),
        ("DELETE ", CLAIM),
    ]


@condition("claims")
def release_asks_again_for_a_claim_that_it_did_not_hear(world: World) -> None:
    server = world.server(closing, page(502), granted(claim=CLAIM))

    world.run("release", server)

    assert server.methods == ["GET", "GET", "GET", "DELETE"]
    assert server.requests[-1].claim == CLAIM


@condition("claims")
def release_at_a_server_of_before_deletes_as_before(world: World) -> None:
    for look in (problem(422, "unknown_parameter", "look"), granted()):
        server = world.server(look, is_new=False)
        step = world.run("release", server)
        assert server.methods == ["GET", "DELETE"]
        assert server.requests[-1].claim is None
        assert step.printed.at("highlight") == ["Released: ServerTasks-1 has given its machines back."]


@condition("claims")
def release_of_a_run_that_nobody_knows_has_nothing_to_do(world: World) -> None:
    server = world.server(problem(404, "unknown_run"), deletes=[outcome("nothing")])

    step = world.run("release", server)

    assert step.printed.at("highlight") == ["Nothing to release: ServerTasks-1 holds no machines."]


@condition("claims")
def release_warns_of_a_claim_that_is_none(world: World) -> None:
    step = world.run("release", variables={"Octowait.Claim": "two words"})

    why = wording.CLAIM.format(value="two words") + "."
    assert step.printed.at("warning") == [wording.NOT_RELEASED.format(why=why)]
