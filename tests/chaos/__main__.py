"""``python -m tests.chaos --grants 100000 --store valkey --seed 1``: one long run, and the table of its faults."""

from __future__ import annotations

import argparse
import random
import resource
import sys
from pathlib import Path

from tests.chaos import experiment
from tests.chaos.expected import act_out
from tests.chaos.plan import Shape, make_plan
from tests.chaos.report import print_outcome, write_outcome
from tests.chaos.store import STORES, NoStore, binary

#: Grants between two faults.
GRANTS_A_STRIKE = 600

#: Grants between two acts of the operator.
GRANTS_AN_ACT = 150


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--grants", type=int, default=5000, help="at least so many (default 5000)")
    parser.add_argument("--store", choices=STORES, default="valkey")
    parser.add_argument("--seed", type=int, help="of a run that is to be had again (default: another each time)")
    parser.add_argument("--slots", type=int, default=48, help="runs at once (default 48)")
    parser.add_argument("--strikes", type=int, help=f"faults (default: one each {GRANTS_A_STRIKE} grants)")
    parser.add_argument("--expected", action="store_true", help="only act out what is expected to fail")
    parser.add_argument("--plan", action="store_true", help="print the plan of the seed, and do nothing")
    parser.add_argument("--write", action="store_true", help="write the table into docs/reference/measurements.md")
    parser.add_argument("--keep", type=Path, help="where to leave the history of a run that failed")
    asked = parser.parse_args()
    if asked.expected:
        return act_out()
    seed = random.randrange(2**31) if asked.seed is None else asked.seed
    strikes = asked.grants // GRANTS_A_STRIKE if asked.strikes is None else asked.strikes
    plan = make_plan(seed, Shape(asked.grants, strikes=strikes, acts=asked.grants // GRANTS_AN_ACT))
    print(plan, flush=True)
    if asked.plan:
        return 0
    try:
        binary(asked.store)
    except NoStore as error:
        print(f"SKIPPED: {error}", file=sys.stderr)
        return 0
    _raise_descriptors()
    with experiment.workplace() as where:
        outcome = experiment.run(plan, experiment.Setup(store=asked.store, slots=asked.slots), where)
    status = print_outcome(outcome, asked.store, asked.keep)
    if asked.write and status == 0:
        write_outcome(outcome, asked.store)
    return status


def _raise_descriptors() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))


if __name__ == "__main__":
    sys.exit(main())
