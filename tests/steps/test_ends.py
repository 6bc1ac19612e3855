"""How a step ends depends on what it heard, not on the moment at which it looks at the clock."""

from __future__ import annotations

import pytest
import wording
from conditions.world import World
from first_call import put_at_first_call
from stand_in import closing, problem

#: A clock that goes on by itself at each look, and only then.
CLOCK = {
    "bash": """
now_ms=0
read_clock() {{ now_ms=$((now_ms + {milliseconds})); }}
sleep_ms() {{ read_clock; }}
""",
    "python": """
looks = 0


def elapsed():
    global looks
    looks += 1
    return looks * {milliseconds} / 1000


time.sleep = lambda seconds: elapsed()
""",
    "powershell": """
$octowait.looks = 0
function Get-OctowaitElapsed {{
    $octowait.looks += 1
    return $octowait.looks * {milliseconds} / 1000
}}
function Start-OctowaitSleep([double]$seconds) {{
    $null = Get-OctowaitElapsed
}}
""",
}
#: Of the clock, at a look: with each, another look of a round is the one that meets the limit.
MILLISECONDS = (130, 190, 290)
LIMIT = {"Octowait.TimeoutMinutes": "0.05"}


def set_clock(world: World, verb: str, milliseconds: int) -> None:
    put_at_first_call(world, verb, CLOCK[world.language].format(milliseconds=milliseconds))


@pytest.mark.parametrize("verb", ["wait", "claim"])
@pytest.mark.parametrize("milliseconds", MILLISECONDS)
def test_an_octowait_that_never_answered_is_said(world: World, verb: str, milliseconds: int) -> None:
    set_clock(world, verb, milliseconds)
    server = world.server(closing)

    last = world.fails(verb, server, LIMIT)

    assert last.startswith(f"octowait at {server.url} has not answered for ")


@pytest.mark.parametrize("milliseconds", MILLISECONDS)
def test_proceed_goes_on_where_nobody_answered(world: World, milliseconds: int) -> None:
    set_clock(world, "wait", milliseconds)
    server = world.server(closing)

    step = world.run("wait", server, {**LIMIT, "Octowait.WhenUnreachable": "proceed"})

    assert "going on WITHOUT waiting" in step.printed.at("warning")[-1]


@pytest.mark.parametrize("milliseconds", MILLISECONDS)
def test_a_time_out_is_said_where_octowait_has_answered(world: World, milliseconds: int) -> None:
    set_clock(world, "wait", milliseconds)

    last = world.fails("wait", world.server(problem(503, "redis_unavailable", "Redis is away.")), LIMIT)

    assert last.startswith(wording.GAVE_UP.format(minutes="0.05", last=""))
