"""The short form: some hundred grants under one of each fault, counted rather than timed."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.chaos import experiment
from tests.chaos.expected import exempt
from tests.chaos.faults import Fault
from tests.chaos.history import Kind
from tests.chaos.plan import Shape, make_plan
from tests.chaos.report import write_evidence

#: Faults of the short form; an empty Redis and steps that are stopped for long are in the long one and in the mutants.
FAULTS = (
    Fault.KILL_WEB, Fault.STOP_WEB, Fault.KILL_WORKER, Fault.KILL_SCHEDULER, Fault.KILL_STORE, Fault.STOP_STORE,
    Fault.EMPTY_STORE, Fault.KILL_STEPS, Fault.LOSE, Fault.HOLD, Fault.CUT,
)  # fmt: skip


@pytest.mark.timeout(300)
def test_rules_hold_under_every_fault():
    seed = int(os.environ.get("CHAOS_SEED", random.randrange(2**31)))
    faults = tuple((fault, 1) for fault in FAULTS)
    shape = Shape(600, scripts=60, strikes=len(FAULTS), faults=faults, acts=12)
    plan = make_plan(seed, shape)
    print(plan)

    with experiment.workplace() as where:
        outcome = experiment.run(plan, experiment.Setup(slots=32, exempt=exempt()), where)

    if "CHAOS_KEEP" in os.environ and outcome.verdict.violations:
        write_evidence(outcome, Path(os.environ["CHAOS_KEEP"]))
    # CHAOS_SEED has the same plan again, CHAOS_KEEP names a directory for its history.
    assert [str(violation) for violation in outcome.verdict.violations] == [], f"CHAOS_SEED={seed}"
    assert outcome.verdict.grants >= 500
    assert {blow.strike.fault for blow in outcome.blows} == set(FAULTS)
    # The faults were felt: Redis was emptied once, calls broke, and none of Octopus was asked in vain.
    assert len(outcome.epochs) == 2
    assert sum(op.kind is Kind.BROKEN for op in outcome.ops) > 10
    assert outcome.calls > 0
    scripts = {op.task for op in outcome.ops if op.verb == "script"}
    assert {run.task for run in plan.runs if run.script} == scripts
    assert any(op.task in scripts and op.kind is Kind.GONE for op in outcome.ops)
    assert any(op.task in scripts and op.kind is Kind.WORKS for op in outcome.ops)
    assert outcome.unknown == set()
