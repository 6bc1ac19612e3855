"""``python -m tests.bench [names…] [--quick] [--write]``: run benches and say which targets were met.

Its exit status is 1 where a target that was met when it was last written is missed by a fifth, or a bench failed.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import time
import traceback
from importlib import import_module
from types import ModuleType

from tests.bench.limits import time_limit
from tests.bench.machine import commit, machine_line, today
from tests.bench.measurements import markdown_table, write_section
from tests.bench.record import read_record, regressions, write_record
from tests.bench.report import Report

#: Those whose targets are written down, and the seconds after which each is given up; they need 15 min together.
TARGET_BENCHES = {
    "steady": 300, "handoff": 150, "http_waits": 360, "webhook": 240, "hostile": 240, "machines": 120, "burst": 150,
    "start": 90, "readers": 200, "restarts": 90,
}  # fmt: skip

#: In the order of the targets; each is a module of this package with a function of the name ``run``, and with a
#: ``SECTION`` where it has a section in the measurements: its title and a text.
NAMES = (
    *TARGET_BENCHES,
    "steps",
    "steps_conditions",
    "scale",
    "memory",
    "timeline",
    "pages",
    "octopus",
    "soak",
    "scripts",
)

ALIASES = {"http": "http_waits", "steps-conditions": "steps_conditions"}

#: Seconds after which no bench begins any more where all targets are measured.
MOST_SECONDS = 960


def main() -> None:
    arguments, names = _arguments()
    # Ended from outside, it ends its servers all the same.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _raise_descriptors()
    report = Report(quick=arguments.quick, seed=arguments.seed, writes=arguments.write)
    print(f"{machine_line()} Load {os.getloadavg()[0]:.1f}.")
    if report.quick:
        print("--quick: smaller and shorter. Its figures are no measure of the targets, and are not judged.")
    began = time.monotonic()
    record, failures = read_record(), []
    for name in names:
        if arguments.names == ["targets"] and time.monotonic() - began > MOST_SECONDS:
            failures.append(f"{name}: not begun after {MOST_SECONDS} s")
            continue
        failures += _bench(report, name)
    report.summary()
    failures += [] if report.quick else regressions(report.checks, record)
    print(f"\n[{time.monotonic() - began:.0f} s]", *(f"\nFAILED {failure}" for failure in failures), flush=True)
    sys.exit(1 if failures else 0)


def _arguments() -> tuple[argparse.Namespace, list[str]]:
    known = ("targets", *ALIASES, *NAMES)
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="name", help=f"{', '.join(known)} (targets: {', '.join(TARGET_BENCHES)})"
    )
    parser.add_argument("--quick", action="store_true", help="fewer and smaller, for use during work; judges nothing")
    parser.add_argument("--seed", type=int, help="of the soak's chance (default: always the same)")
    parser.add_argument(
        "--write", action="store_true", help="into docs/reference/measurements.md, where a bench has a part in it"
    )
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(known)):
        parser.error(f"{', '.join(unknown)}: expected {', '.join(known)}")
    if arguments.quick and arguments.write:
        parser.error("--write: expected a run without --quick, whose figures are no measure of the targets")
    names = [
        one for name in arguments.names for one in (TARGET_BENCHES if name == "targets" else [ALIASES.get(name, name)])
    ]
    return arguments, names or list(NAMES)


def _bench(report: Report, name: str) -> list[str]:
    """Run one bench and write what it measured; a sentence where it failed."""
    began, checks = time.monotonic(), len(report.checks)
    report.tables.clear()
    failures = []
    try:
        bench = import_module(f"tests.bench.{name}")
        with time_limit(TARGET_BENCHES.get(name, 3600)):
            bench.run(report)
        if report.writes:
            _write(report, bench, name)
    except Exception as error:  # Others are measured all the same.
        traceback.print_exc()
        failures = [f"{name}: {type(error).__name__}: {error}"]
    if report.writes:
        write_record(report.checks[checks:], f"{today()} {commit()}")
    print(f"\n[{name}: {time.monotonic() - began:.0f} s]", flush=True)
    return failures


def _write(report: Report, bench: ModuleType, name: str) -> None:
    if not hasattr(bench, "SECTION"):
        return
    title, text = bench.SECTION
    parts = [f"## {title}", f'`make bench ARGS="{name} --write"`', f"{machine_line()}\n{text}"]
    for table in report.tables:
        parts += [f"{table.title}:", markdown_table(table.columns, table.rows)]
    write_section(name, "\n\n".join(parts))


def _raise_descriptors() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
