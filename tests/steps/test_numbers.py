"""The numbers of the steps and of the server that hold each other."""

from __future__ import annotations

import re

import pytest
from run_step import STEPS

from app.settings import Settings

#: How each language says its blocks and the longest pause between two tries.
PATTERNS = {
    "sh": (r"(?m)^blocks=\((\d+) ", r"draw_pause (\d+)"),
    "ps1": (r"(?m)^\$octowaitBlocks = @\((\d+),", r"Get-OctowaitPause (\d+)"),
    "py": (r"(?m)^BLOCK_SECONDS = \((\d+),", r"draw_pause\((\d+)\)"),
}

#: Beyond a block, and for the connecting of the next call: `tests/steps/conditions/timing.py` holds the steps to both.
CALL_SECONDS, CONNECT_SECONDS = 20, 10


@pytest.mark.parametrize("suffix", sorted(PATTERNS))
def test_one_failed_call_costs_no_place(suffix: str) -> None:
    """A call that hangs, the longest pause and the next call's connecting are over before the place expires."""
    script = (STEPS / f"wait.{suffix}").read_text()
    (block,), (pause,) = (set(re.findall(pattern, script)) for pattern in PATTERNS[suffix])

    time_to_live = Settings.model_fields["waiter_ttl_seconds"].default
    assert int(block) + CALL_SECONDS + int(pause) + CONNECT_SECONDS < time_to_live


#: Where the first call may be, and what starts the clock of a language that may have taken seconds until there.
CLOCKS = {"sh": (r"(?m)^(while |  ask )", "start_clock"), "ps1": (r"(?m)^while ", "$octowaitClock.Restart()")}


@pytest.mark.parametrize("verb", ["wait", "claim", "release"])
@pytest.mark.parametrize("suffix", sorted(CLOCKS))
def test_what_a_start_takes_is_no_time_of_the_step(verb: str, suffix: str) -> None:
    """Twenty starts of PowerShell at once take half a minute, and a release has 20 s."""
    script = (STEPS / f"{verb}.{suffix}").read_text()
    first_call, clock = CLOCKS[suffix]
    _, _, after_parameters = script.partition("# 2. ")
    begin = re.search(first_call, after_parameters)

    assert begin and clock in after_parameters[: begin.start()]
