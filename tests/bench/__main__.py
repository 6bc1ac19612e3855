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
from importlib import import_module
from types import ModuleType

from tests.bench.machine import machine_line
from tests.bench.record import read_record, regressions
from tests.bench.report import Report
from tests.bench.suite import run_bench

#: Those whose targets are written down, and the seconds after which each is given up; they need 15 min together.
TARGET_BENCHES = {
    "steady": 300, "handoff": 150, "http_waits": 360, "webhook": 240, "hostile": 240, "machines": 120, "burst": 150,
    "start": 90, "readers": 200, "restarts": 90,
}  # fmt: skip

#: In the order of the targets; each is a module of this package with a function of the name ``run``, and with a
#: ``SECTION`` where it has a section in the measurements: its title and a text.
NAMES = (
    *TARGET_BENCHES,
    "storms",
    "steps",
    "steps_conditions",
    "scale",
    "memory",
    "timeline",
    "pages",
    "octopus",
    "soak",
    "hostile_soak",
    "wide_states",
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
    report = Report(quick=arguments.quick, seed=arguments.seed, minutes=arguments.minutes, writes=arguments.write)
    print(f"{machine_line()} Load {os.getloadavg()[0]:.1f}.")
    if report.quick:
        print("--quick: smaller and shorter. Its figures are no measure of the targets, and are not judged.")
    began = time.monotonic()
    record, failures = read_record(), []
    for name in names:
        if arguments.names == ["targets"] and time.monotonic() - began > MOST_SECONDS:
            failures.append(f"{name}: not begun after {MOST_SECONDS} s")
            continue
        failures += run_bench(report, name, _load, seconds=TARGET_BENCHES.get(name, 3600))
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
    parser.add_argument("--seed", type=int, help="of the chance of a soak (default: always the same)")
    parser.add_argument(
        "--minutes", type=float, help="with hostile: a soak of all its shapes over HTTP, begun within so long"
    )
    parser.add_argument(
        "--write", action="store_true", help="into docs/reference/measurements.md, where a bench has a part in it"
    )
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(known)):
        parser.error(f"{', '.join(unknown)}: expected {', '.join(known)}")
    if arguments.quick and arguments.write:
        parser.error("--write: expected a run without --quick, whose figures are no measure of the targets")
    if arguments.minutes is not None and (
        arguments.minutes <= 0 or not {"hostile", "hostile_soak"} & {*arguments.names}
    ):
        parser.error(f"--minutes {arguments.minutes:g}: expected hostile, and more than 0")
    aliases = {**ALIASES, **({"hostile": "hostile_soak"} if arguments.minutes else {})}
    names = [
        one for name in arguments.names for one in (TARGET_BENCHES if name == "targets" else [aliases.get(name, name)])
    ]
    return arguments, names or list(NAMES)


def _load(name: str) -> ModuleType:
    return import_module(f"tests.bench.{name}")


def _raise_descriptors() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
