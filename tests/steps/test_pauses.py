"""The pauses between the calls of a step that fail: they grow, but for the first dozen of refused connections."""

from __future__ import annotations

import re

import pytest
from conditions.world import NOBODY, World
from first_call import put_at_first_call
from stand_in import Reply, StandIn, closing, page

#: What a step does instead of asking: it makes one call, and says how long its pauses after such calls are.
PROBES = {
    "bash": """
call GET '' '' 5
for _ in {1..18}; do
  draw_pause 30
  echo "pause $pause_ms$(is_asked_again && echo ' again')"
  count_failure
done
""",
    "python": """
call("GET", "", None, 5)
for _ in range(18):
    print("pause", int(1000 * draw_pause(30)), "again" if is_asked_again() else "")
    count_failure()
""",
    "powershell": """
function Start-OctowaitSleep([double]$seconds) {
    $octowaitAgain = if (Test-OctowaitAskedAgain) { 'again' } else { '' }
    [Console]::WriteLine("pause $([int](1000 * $seconds)) $octowaitAgain")
}
$null = Invoke-OctowaitCall 'GET' '' '' 5
foreach ($octowaitNumber in 1..18) {
    Wait-OctowaitRetry 0 1e6
}
}
""",
}

#: The call before that was refused.
WAS_REFUSED = {"bash": "is_refused=True", "python": "was_refused = True", "powershell": "$octowait.isRefused = $true"}

#: Milliseconds of a pause that does not grow, at most; the least is half of it. The tests' is a tenth of the product's.
FIRST = 100
#: As many times the first one a pause is at most: the probes ask for no more than 30.
MOST = 30


def pauses(world: World, at: StandIn | str) -> tuple[list[int], int]:
    """Milliseconds of each, and before how many of them a poll would be asked again as it was: the first ones."""
    put_at_first_call(world, "wait", f"{WAS_REFUSED[world.language]}\n{PROBES[world.language]}", is_end=True)
    step = world.start("wait", at)
    step.ends(45)
    found = re.findall(r"(?m)^pause (\d+)( again)?", step.output)
    again = [bool(word) for _, word in found]
    assert len(found) == 18 and again == sorted(again, reverse=True), step.output
    return [int(text) for text, _ in found], sum(again)


def grow(numbers: list[int], first: int) -> bool:
    """Whether each is between half and all of *first*, its double, and so on; a millisecond is lost in rounding."""
    wholes = [first * min(2**at, MOST) for at in range(len(numbers))]
    return all(whole / 2 - 1 <= number <= whole for whole, number in zip(wholes, numbers, strict=True))


def test_pauses_after_refused_connections_do_not_grow_for_a_dozen_of_them(world: World) -> None:
    found, again = pauses(world, NOBODY)

    assert again == 12
    assert all(FIRST / 2 - 1 <= pause <= FIRST for pause in found[:12]), found
    assert grow(found[12:], FIRST), found


@pytest.mark.parametrize("answer", [closing, page(503)], ids=["broken off", "503"])
def test_pauses_after_other_failures_grow_at_once(world: World, answer: Reply) -> None:
    """Also where the call before was refused, as while a server behind a balancer comes back."""
    found, again = pauses(world, world.server(answer))

    assert again == 0
    assert grow(found[:5], FIRST), found
