"""Runs benches one after the other; one that fails does not keep the others."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable
from typing import Any

from tests.bench.limits import time_limit
from tests.bench.machine import commit, machine_line, today
from tests.bench.measurements import markdown_table, write_section
from tests.bench.record import write_record
from tests.bench.report import Report

#: Gives a bench by its name: something with a function ``run``, and with a ``SECTION`` where it has a section.
Loader = Callable[[str], Any]


def run_bench(report: Report, name: str, load: Loader, *, seconds: float) -> list[str]:
    """Run one bench for *seconds* at most, and write what it measured if *report* is to be written.

    Returns:
        A sentence where it failed; what it had measured until then counts.
    """
    began, checks = time.monotonic(), len(report.checks)
    report.tables.clear()
    failures = []
    load_before = os.getloadavg()[0]
    try:
        bench = load(name)
        with time_limit(seconds):
            bench.run(report)
        if report.writes and hasattr(bench, "SECTION"):
            _write(report, name, *bench.SECTION, load=load_before)
    except Exception as error:
        traceback.print_exc()
        failures = [f"{name}: {type(error).__name__}: {error}"]
    if report.writes:
        write_record(report.checks[checks:], f"{today()} {commit()}")
    print(f"\n[{name}: {time.monotonic() - began:.0f} s]", flush=True)
    return failures


def _write(report: Report, name: str, title: str, text: str, *, load: float) -> None:
    command = [name, *([f"--minutes {report.minutes:g}"] if report.minutes else []),
               *([f"--seed {report.seed}"] if report.seed is not None else []), "--write"]  # fmt: skip
    parts = [
        f"## {title}",
        f'`make bench ARGS="{" ".join(command)}"`',
        f"{machine_line()}\nLoad before it {load:.1f}.\n{text}",
    ]
    for table in report.tables:
        parts += [f"{table.title}:", markdown_table(table.columns, table.rows)]
    write_section(name, "\n\n".join(parts))
