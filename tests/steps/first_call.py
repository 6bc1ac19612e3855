"""Where a step begins to ask: what is before it, and from there on, so that a test can put something between."""

from __future__ import annotations

import re

from run_step import STEPS, SUFFIXES

_LOOP = {"bash": r"(?m)^while :", "python": r"(?m)^while True", "powershell": r"(?m)^while "}


def split_at_first_call(verb: str, language: str) -> tuple[str, str]:
    script = (STEPS / f"{verb}.{SUFFIXES[language]}").read_text()
    loop = re.search(_LOOP[language], script)
    assert loop
    return script[: loop.start()], script[loop.start() :]
