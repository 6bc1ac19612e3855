"""Where a step begins to ask, so that a test can put something there."""

from __future__ import annotations

import re

from conditions.world import World
from run_step import STEPS, SUFFIXES

_LOOP = {"bash": r"(?m)^while :", "python": r"(?m)^while True", "powershell": r"(?m)^while "}


def put_at_first_call(world: World, verb: str, text: str, *, is_end: bool = False) -> None:
    """Write the script of a step into the directory of *world*, with *text* where it begins to ask.

    Args:
        is_end: The script ends there.
    """
    name = f"{verb}.{SUFFIXES[world.language]}"
    script = (STEPS / name).read_text()
    loop = re.search(_LOOP[world.language], script)
    assert loop
    behind = "" if is_end else script[loop.start() :]
    (world.directory / name).write_text(f"{script[: loop.start()]}\n{text}\n{behind}")
