"""Rules 7 to 11: one deadline a call, dead addresses, no hot loop, sizes, and proxies that cut."""

from __future__ import annotations

import errno
import re
import socket
import time

import pytest
import wording
from run_step import Step
from stand_in import (
    DeadAddress,
    Exchange,
    Reply,
    StandIn,
    closing,
    dripping,
    granted,
    huge,
    outcome,
    page,
    problem,
    silent,
    state,
    waiting,
)

from conditions import condition
from conditions.world import SLACK, World, said, seconds_since


@condition(7)
def an_answer_that_drips_ends_at_the_deadline(world: World) -> None:
    server = world.server(state("expired", 0, "It expired."), dripping(0.5), granted())

    step = world.run("wait", server)

    # The clock of a call begins a little before its request comes in; for the first one of a step long before.
    assert 19 <= server.requests[2].at - server.requests[1].at <= 20 + SLACK
    assert said(step, wording.pattern(wording.ASKING_AGAIN, reason=wording.NO_TIME.format(seconds=20)))


@condition(7)
def a_release_that_drips_ends_at_the_deadline(world: World) -> None:
    server = world.server(problem(404, "unknown_run"), deletes=[closing, dripping(0.5), outcome("released")])

    step = world.run("release", server, {"Octowait.Claim": "0123456789abcdef"})

    assert server.methods == ["DELETE"] * 3
    assert 4 <= server.requests[2].at - server.requests[1].at <= 5 + SLACK
    assert step.printed.at("highlight") == ["Released: ServerTasks-1 has given its machines back."]


@condition(7)
def a_release_that_nobody_answers_takes_20_seconds(world: World) -> None:
    server = world.server(silent, deletes=[silent])
    started = time.monotonic()

    step = world.run("release", server)

    assert seconds_since(started) >= 4.9
    assert seconds_since(server.requests[0].at) <= 20 + SLACK
    assert len(step.printed.at("warning")) == 1


def _bind_name_server(dead: socket.socket) -> str:
    """The address at which *dead* takes every question and answers none; each test that runs now has its own."""
    for number in range(77, 100):
        address = f"127.0.0.{number}"
        try:
            dead.bind((address, 53))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                pytest.skip(f"no name server of our own here: {error}")
        else:
            return address
    raise AssertionError("no address is free for a name server: expected one of 127.0.0.77 to 127.0.0.99")


@condition(7)
def a_release_does_not_wait_for_dead_name_servers(world: World) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dead:
        around = world.with_hosts(name_server=_bind_name_server(dead))
        step = world.start("release", "http://octowait.example.com", around=around)
        dead.settimeout(45)
        dead.recv(512)
        asked = time.monotonic()

        assert step.ends(60) == 0, step.output

    assert seconds_since(asked) <= 20 + SLACK


@condition(8)
def a_dead_first_address_is_passed(world: World) -> None:
    server = world.server(waiting(1), waiting(2), waiting(3), granted())
    around = world.with_hosts("::1 octowait.test", "127.0.0.1 octowait.test")
    try:
        world.dead_address("::1", server.port)
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")

    step = world.run("wait", f"http://octowait.test:{server.port}", around=around, within=100)

    # By the step's own clock, which begins when it asks.
    before = int(step.printed.variables["Octowait.WaitedSeconds"]) - (server.requests[-1].at - server.requests[0].at)
    assert before <= 10 + SLACK
    gaps = [two.at - one.at for one, two in zip(server.requests, server.requests[1:], strict=False)]
    assert max(gaps) <= 10 + SLACK / 4


@condition(8)
def a_dead_address_alone_is_said(world: World) -> None:
    dead = DeadAddress("127.0.0.1")
    try:
        started = time.monotonic()
        last = world.fails("wait", f"http://127.0.0.1:{dead.port}", {"Octowait.TimeoutMinutes": "0.05"})
    finally:
        dead.stop()

    assert seconds_since(started) <= 30 + SLACK
    assert str(dead.port) in last


@condition(9)
def polls_that_tell_nothing_new_are_a_second_apart(world: World) -> None:
    server = world.server(*[waiting()] * 7, granted(), granted())

    world.run("wait", server)

    # The first is the news of a place, the second and the last (the confirmation) come after news.
    polls = [request.at for request in server.requests[2:-1]]
    gaps = [two - one for one, two in zip(polls, polls[1:], strict=False)]
    assert len(gaps) == 5
    # A call that comes in late, on a busy machine, makes the gap after it shorter, but not all of them together.
    assert min(gaps) >= 0.5 and sum(gaps) >= 5 * 0.95


@condition(9)
def a_place_that_is_lost_again_and_again_makes_no_hot_loop(world: World) -> None:
    server = world.server(waiting(status=201), state("expired"), waiting(status=201), state("expired"))

    world.fails("wait", server, {"Octowait.TimeoutMinutes": "0.07"})

    assert len(server.requests) <= 30


@condition(9)
def a_time_out_never_comes_before_its_second(world: World) -> None:
    # Its clock began before its first call came in: little before on a machine that has nothing else to do.
    for _ in range(3):
        server = world.server(waiting())
        step = world.run("wait", server, {"Octowait.TimeoutMinutes": "0.05"}, fails=True)
        assert server.requests[-1].method == "DELETE"
        assert step.printed.result == wording.GAVE_UP.format(minutes="0.05", last="Waiting for web-01, place 1.")
        lasted = server.requests[-1].at - server.requests[0].at
        if lasted >= 2.8:
            break
    assert lasted >= 2.8


@condition(9)
def a_limit_of_a_second_still_asks_once(world: World) -> None:
    server = world.server(waiting())

    world.fails("wait", server, {"Octowait.TimeoutMinutes": "0.017"})

    assert server.methods[0] == "PUT" and server.methods[-1] == "DELETE"
    blocks = [int(request.query["block_seconds"]) for request in server.requests if request.method == "GET"]
    assert set(blocks) <= {1}


def _reads_a_little(world: World, size: int, most: int, reply: Reply) -> None:
    server = world.server(reply, granted())

    step = world.run("wait", server)

    assert step.printed.variables["Octowait.FencingToken"] == "17"
    assert server.requests[1].at - server.requests[0].at <= SLACK
    assert server.sent <= most, f"{server.sent} bytes of {size} were taken"


@condition(10)
def a_page_of_a_megabyte_costs_little(world: World) -> None:
    _reads_a_little(world, 1_000_000, 4_000_000, huge(1_000_000))


@condition(10)
def a_page_of_a_hundred_megabytes_is_not_read(world: World) -> None:
    # What is on its way in the buffers of both sides comes on top of what is read.
    _reads_a_little(world, 100_000_000, 12_000_000, huge(100_000_000))


@condition(10)
def a_state_of_a_hundred_megabytes_is_no_state(world: World) -> None:
    _reads_a_little(world, 100_000_000, 12_000_000, huge(100_000_000, "granted 1\n"))


def _blocks(server: StandIn) -> list[int]:
    return [int(request.query["block_seconds"]) for request in server.requests if request.method == "GET"]


@condition(11)
def polls_that_break_off_get_shorter(world: World) -> None:
    cut = [waiting(), closing] * 5
    server = world.server(*cut, waiting(), granted())

    step = world.run("wait", server, env={"OCTOWAIT_RETRY_BASE_SECONDS": "0.01"})

    assert _blocks(server)[:6] == [50, 25, 12, 6, 6, 6]
    _says_it_once(step)


def _says_it_once(step: Step) -> None:
    shorter = said(step, wording.pattern(wording.SHORTER_POLLS))
    assert len(shorter) == 1, step.output
    assert not said(step, wording.pattern(wording.ASKING_AGAIN)), step.output
    assert len(step.printed.at("wait")) == 2, "the state is repeated after each poll that broke off"


@condition(11)
def a_proxy_s_own_page_for_a_long_call_counts_as_broken_off(world: World) -> None:
    server = world.server(waiting(), page(504), waiting(), page(502), waiting(), granted())

    step = world.run("wait", server)

    assert _blocks(server)[:3] == [50, 25, 12]
    _says_it_once(step)


@condition(11)
def a_server_that_restarts_is_asked_on_as_before(world: World) -> None:
    """Nobody heard the calls that were refused, so none of them cost the step its place, or its long blocks."""

    def last(exchange: Exchange) -> None:
        # First, for the step asks again as soon as it has the answer.
        exchange.server.stop()
        waiting(2, "Waiting for web-02.")(exchange)

    before = world.server(waiting(), last)
    # Twelve pauses take three seconds at least: so long the other server may take to be there.
    step = world.start("wait", before, env={"OCTOWAIT_RETRY_BASE_SECONDS": "0.5"})
    step.says(wording.ASKING_AGAIN.split("{")[0])
    after = world.server(waiting(2, "Waiting for web-02."), granted(), port=before.port)

    assert step.ends(45) == 0, step.output
    assert before.asked + after.asked == ["PUT", *["GET block_seconds=50"] * 3, "GET block_seconds=0"]
    assert not said(step, wording.pattern(wording.SHORTER_POLLS)), step.output


@condition(11)
def ten_whole_polls_make_the_next_longer(world: World) -> None:
    whole = [waiting(place) for place in range(30, 20, -1)]
    server = world.server(waiting(), closing, waiting(), closing, waiting(31), *whole, waiting(20), granted())

    world.run("wait", server)

    assert _blocks(server)[:14] == [50, 25, *[12] * 10, 25, 25]


@condition(11)
def retry_after_is_heeded_up_to_30_seconds(world: World) -> None:
    server = world.server(problem(503, "busy", Retry_After="1"), problem(503, "busy", Retry_After="86400"), granted())

    world.run("wait", server, env={"OCTOWAIT_TIME_DIVISOR": "10"})

    first, second = (two.at - one.at for one, two in zip(server.requests[:2], server.requests[1:3], strict=True))
    assert 0.95 <= first <= 1 + SLACK / 2
    assert 2.9 <= second <= 3 + SLACK / 2


@condition(11)
def the_log_has_a_line_at_each_change_and_else_one_a_minute(world: World) -> None:
    """With a minute of 2 s."""
    server = world.server(waiting(1, "Waiting for web-01: ServerTasks-7 (Api) has held it for 9 s."))

    step = world.run(
        "wait", server, {"Octowait.TimeoutMinutes": "0.12"}, env={"OCTOWAIT_TIME_DIVISOR": "30"}, fails=True
    )

    assert 2 <= len([line for line in step.printed.at("wait") if re.match("Waiting for", line)]) <= 4
