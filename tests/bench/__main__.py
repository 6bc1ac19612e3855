"""``python -m tests.bench [names…] [--quick]``: run the benches and say which targets were met."""

from __future__ import annotations

import argparse
import os
import platform
import resource
import signal
import sys
import time
from importlib import import_module

from tests.bench.report import Bench, Report

#: In the order of the targets; each is a module of this package with a function of the name ``run``.
NAMES = (
    "handoff",
    "http_waits",
    "steps",
    "steps_conditions",
    "scale",
    "hostile",
    "memory",
    "webhook",
    "timeline",
    "pages",
    "octopus",
    "soak",
    "readers",
    "restarts",
    "scripts",
)

ALIASES = {"http": "http_waits", "steps-conditions": "steps_conditions"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join((*ALIASES, *NAMES)))
    parser.add_argument("--quick", action="store_true", help="fewer and smaller, in 5 min instead of 25")
    parser.add_argument("--seed", type=int, help="of the soak's chance (default: always the same)")
    parser.add_argument(
        "--write", action="store_true", help="into docs/reference/measurements.md, where a bench has a part in it"
    )
    arguments = parser.parse_args()
    names = [ALIASES.get(name, name) for name in arguments.names] or list(NAMES)
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        parser.error(f"{', '.join(unknown)}: expected {', '.join((*ALIASES, *NAMES))}")
    # Ended from outside, it ends its servers all the same.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _raise_descriptors()
    report = Report(quick=arguments.quick, seed=arguments.seed, writes=arguments.write)
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, loopback only.")
    for name in names:
        began = time.monotonic()
        _bench(name)(report)
        print(f"\n[{name}: {time.monotonic() - began:.0f} s]", flush=True)
    report.summary()


def _bench(name: str) -> Bench:
    bench: Bench = import_module(f"tests.bench.{name}").run
    return bench


def _raise_descriptors() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
