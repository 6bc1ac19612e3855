"""``docs/reference/measurements.md``: a section for each command that measures, which that command writes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tests.conftest import ROOT

FILE = ROOT / "docs/reference/measurements.md"

TITLE = """# Measurements

Each section is what one run of the command that it names has measured, and is written by it.
Figures of one section can be compared with each other; those of another day or machine cannot.
"""


def section(name: str, file: Path = FILE) -> str:
    """What is between the markers of *name*; empty where there are none."""
    match = re.search(
        f"{re.escape(_begin(name))}\n(.*?)\n{re.escape(_end(name))}",
        file.read_text() if file.exists() else "",
        re.DOTALL,
    )
    return match[1] if match else ""


def write_section(name: str, text: str, file: Path = FILE) -> None:
    """Put *text* between the markers of *name*; at the end of the file where it has none yet."""
    begin, end = _begin(name), _end(name)
    section = f"{begin}\n{text.strip()}\n{end}"
    before = file.read_text() if file.exists() else TITLE
    after, found = re.subn(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: section, before, flags=re.DOTALL)
    file.write_text(after if found else f"{before.rstrip()}\n\n{section}\n")


def _begin(name: str) -> str:
    return f"<!-- begin: {name} -->"


def _end(name: str) -> str:
    return f"<!-- end: {name} -->"


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
