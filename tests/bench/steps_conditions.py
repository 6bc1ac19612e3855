"""What the step scripts stand: the table of tests/steps in each language, with the scripts of version 1 and of now."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.bench.measurements import FILE, markdown_table, write_section
from tests.bench.report import Report
from tests.conftest import ROOT

if TYPE_CHECKING:
    from conditions import Condition

sys.path.insert(0, str(ROOT / "tests/steps"))

TITLES = {"bash": "Bash", "powershell": "PowerShell", "python": "Python"}

#: Conditions at a time: most of them wait.
AT_ONCE = 6

INTRODUCTION = """## Conditions that a step stands

`make bench ARGS="steps-conditions --write"`

Each condition is one test of `tests/steps/conditions`, run with the scripts of version 1 and with those of now.
The rule behind it is one of `steps/parts/README.md`.
Scripts of version 1 know no claims and other words, so there a *no* may also be a cause that was not told."""


def run(report: Report, languages: Sequence[str] = tuple(TITLES)) -> None:
    """Print how many conditions each language stands, before and now; with ``--write`` the whole table.

    The columns of a language that is not run, or cannot be run here, stay in the table as they are.
    """
    from conditions import CONDITIONS
    from run_step import STEPS, VERSION_1

    able = [language for language in languages if language != "powershell" or shutil.which("pwsh")]
    columns = [(language, scripts) for language in able for scripts in (VERSION_1, STEPS)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = {(c.name, *column): pool.submit(_stands, c, *column) for column in columns for c in CONDITIONS}
        cells = {cell: job.result() for cell, job in jobs.items()}
    heads = [f"{TITLES[language]}, {'before' if scripts == VERSION_1 else 'now'}" for language, scripts in columns]
    counts = [_count([cells[condition.name, *column] for condition in CONDITIONS]) for column in columns]
    report.table("Conditions that the steps stand", ("", *heads), [["of them", *counts]])
    if not report.writes:
        return
    found = {"**all**": dict(zip(heads, counts, strict=True))}
    for condition in CONDITIONS:
        title = f"{condition.name.replace('_', ' ')} ({condition.rule})"
        found[title] = {head: cells[condition.name, *column] for head, column in zip(heads, columns, strict=True)}
    write_section("steps-conditions", f"{INTRODUCTION}\n\n{_table(found)}")


def _table(found: dict[str, dict[str, str]]) -> str:
    """What was *found* by title and column, with what the table in the file says of other columns."""
    columns = [f"{title}, {when}" for title in TITLES.values() for when in ("before", "now")]
    kept: dict[str, dict[str, str]] = {}
    if match := re.search(r"<!-- begin: steps-conditions -->.*?<!-- end", FILE.read_text(), re.DOTALL):
        head, _, *rows = [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in match[0].splitlines()
            if line.startswith("|")
        ]
        kept = {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}
    lines = [
        [title, *((kept.get(title, {}) | row).get(column, "") for column in columns)] for title, row in found.items()
    ]
    return markdown_table(["Condition (rule)", *columns], lines)


def _stands(condition: Condition, language: str, scripts: Path) -> str:
    """yes, no, or an empty cell where the condition is none of that language or cannot be made here."""
    from conditions.world import World

    if language not in condition.languages:
        return ""
    with tempfile.TemporaryDirectory() as directory:
        world = World(language, Path(directory), scripts)
        try:
            condition.act(world)
        except pytest.skip.Exception:
            return ""
        except Exception:
            # Whatever it was that the step did, it is not what was expected.
            return "no"
        finally:
            world.close()
    return "yes"


def _count(found: list[str]) -> str:
    return f"{found.count('yes')} of {len(found) - found.count('')}"
