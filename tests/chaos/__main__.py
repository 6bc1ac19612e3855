"""``python -m tests.chaos --grants 100000 --store valkey --seed 1``: one long run, and the table of its faults."""

from __future__ import annotations

import argparse
import random
import resource
import signal
import sys
from dataclasses import replace
from pathlib import Path

from tests.chaos import experiment
from tests.chaos.expected import act_out, exempt, left_out
from tests.chaos.faults import Fault
from tests.chaos.plan import Plan, Shape, make_plan
from tests.chaos.report import print_outcome, write_outcome
from tests.chaos.store import STORES, NoStore, binary

#: Grants between two faults.
GRANTS_A_STRIKE = 600

#: Grants between two acts of the operator.
GRANTS_AN_ACT = 150

#: Each so many grants it is said how far the run has come.
GRANTS_TOLD = 1000

#: One run in so many has real step scripts.
RUNS_A_SCRIPT = 200


def make_parser() -> argparse.ArgumentParser:
    """What can be asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--grants", type=int, default=5000, help="at least so many (default 5000)")
    parser.add_argument("--store", choices=STORES, default="valkey")
    parser.add_argument("--seed", type=int, help="of a run that is to be had again (default: another each time)")
    parser.add_argument("--slots", type=int, default=48, help="runs at once (default 48)")
    parser.add_argument("--machines", type=int, default=120, help="in all; one in ten is hot (default 120)")
    parser.add_argument("--ttl", type=int, default=8, help="seconds that a waiter lives without a sign of life; on a "
                        "machine that has much else to do more, or the living expire (default 8)")  # fmt: skip
    parser.add_argument("--strikes", type=int, help=f"faults (default: one each {GRANTS_A_STRIKE} grants)")
    parser.add_argument("--faults", type=Fault, nargs="+", metavar="FAULT", help=f"only these: {', '.join(Fault)}")
    parser.add_argument("--minutes", type=float, help="after which no further runs are begun (default: all are)")
    parser.add_argument("--expected", action="store_true", help="only act out what is expected to fail")
    parser.add_argument("--plan", action="store_true", help="print the plan of the seed, and do nothing")
    parser.add_argument("--write", action="store_true", help="write the table into docs/reference/measurements.md")
    parser.add_argument("--keep", type=Path, help="where to leave the history of a run that failed")
    return parser


def plan_of(asked: argparse.Namespace) -> Plan:
    """What is done, of what was asked for with a seed."""
    shape = Shape(
        asked.grants, machines=asked.machines, hot=asked.machines // 10, scripts=RUNS_A_SCRIPT,
        strikes=asked.grants // GRANTS_A_STRIKE if asked.strikes is None else asked.strikes,
        acts=asked.grants // GRANTS_AN_ACT,
    )  # fmt: skip
    faults = tuple((fault, 1) for fault in asked.faults or ())
    return make_plan(asked.seed, replace(shape, faults=faults) if faults else shape.without(left_out()))


def again(asked: argparse.Namespace) -> str:
    """The command that has the same plan again."""
    names = ("grants", "store", "seed", "slots", "machines", "ttl", "strikes", "minutes")
    words = [f"--{name} {getattr(asked, name)}" for name in names if getattr(asked, name) is not None]
    faults = " ".join(f"'{fault}'" for fault in asked.faults or ())
    return f'make chaos ARGS="{" ".join([*words, *([f"--faults {faults}"] if faults else [])])}"'


def main() -> int:
    asked = make_parser().parse_args()
    if asked.expected:
        return act_out()
    if asked.seed is None:
        asked.seed = random.randrange(2**31)
    plan = plan_of(asked)
    print(plan, flush=True)
    if asked.plan:
        return 0
    try:
        binary(asked.store)
    except NoStore as error:
        print(f"SKIPPED: {error}", file=sys.stderr)
        return 0
    _raise_descriptors()
    # Whoever ends it ends its processes, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with experiment.workplace() as where:
        setup = experiment.Setup(
            store=asked.store, slots=asked.slots, ttl=asked.ttl, stuck=max(90.0, 5.0 * asked.ttl), exempt=exempt(),
            told=GRANTS_TOLD, seconds=asked.minutes and 60 * asked.minutes,
        )  # fmt: skip
        outcome = experiment.run(plan, setup, where)
    status = print_outcome(outcome, asked.store, again(asked), asked.keep)
    if asked.write and status == 0:
        write_outcome(outcome, asked.store, again(asked))
    return status


def _raise_descriptors() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))


if __name__ == "__main__":
    sys.exit(main())
