"""Writes the step scripts from their parts: ``make steps``.

A script, such as ``parts/bash/wait.sh``, is written to ``steps/`` with each of its lines ``# part: NAME`` replaced by
the part of that name in the same directory, so that people can paste it as it is.
"""

from __future__ import annotations

import re
from pathlib import Path

PARTS = Path(__file__).parent
STEPS = PARTS.parent

VERBS = ("wait", "claim", "release")

#: The directories of the languages, and what their files end with.
LANGUAGES = {"bash": "sh", "powershell": "ps1", "python": "py"}

_PART = re.compile(r"^# part: (\w+)$", re.MULTILINE)


def part_names(verb: str, language: str) -> list[str]:
    """The parts of a script, in their order."""
    return _PART.findall(_text(verb, language))


def build_script(verb: str, language: str) -> str:
    """The text of a script, with its parts in it."""
    return _PART.sub(lambda line: _text(line[1], language).rstrip("\n"), _text(verb, language))


def _text(name: str, language: str) -> str:
    return (PARTS / language / f"{name}.{LANGUAGES[language]}").read_text(encoding="utf-8")


def main() -> None:
    """Write all scripts."""
    for language, suffix in LANGUAGES.items():
        for verb in VERBS:
            (STEPS / f"{verb}.{suffix}").write_text(build_script(verb, language), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
