"""A plan is a pure function of its seed."""

from __future__ import annotations

import shlex

import pytest

from tests.chaos.__main__ import again, make_parser, plan_of
from tests.chaos.faults import Fault
from tests.chaos.plan import ActKind, Shape, Vanishes, make_plan


def test_same_seed_gives_the_same_plan():
    shape = Shape(2000, strikes=20, acts=10)

    assert make_plan(7, shape) == make_plan(7, shape)
    assert make_plan(7, shape).digest == make_plan(7, shape).digest != make_plan(8, shape).digest


def test_plan_brings_as_many_grants_as_asked_for_and_every_fault():
    plan = make_plan(1, Shape(10_000, strikes=120, acts=100))

    assert plan.grants >= 10_000
    assert {strike.fault for strike in plan.strikes} == set(Fault)
    assert {act.kind for act in plan.acts} == set(ActKind)
    assert all(0 < strike.at < 10_000 for strike in plan.strikes)


def test_plan_kills_and_stops_step_scripts():
    plan = make_plan(1, Shape(600, scripts=60))
    scripted = [run for run in plan.runs if run.script]

    assert len(scripted) >= 8
    assert {run.script for run in scripted} == {"bash", "python"}
    assert sum(run.vanishes is Vanishes.WAITING for run in scripted) >= 2
    assert sum(run.nap_ms > 0 for run in scripted) >= 2


def test_plan_has_runs_of_every_kind():
    plan = make_plan(1, Shape(5000))
    runs = plan.runs

    for what in ("again", "parked", "is_observed", "child", "outlived", "nap_ms", "priority"):
        assert any(getattr(run, what) for run in runs), what
    assert max(len(run.machines) for run in runs) > 10
    assert len({run.task for run in runs}) == len(runs)


@pytest.mark.parametrize(
    "words",
    [
        "--grants 400 --seed 7",
        "--grants 400 --store redis --seed 7 --machines 60 --strikes 5 --ttl 24 --minutes 2.5",
        "--grants 400 --seed 7 --faults 'web killed' 'clock of Redis jumps back'",
    ],
)
def test_command_that_is_told_has_the_same_plan(words):
    asked = make_parser().parse_args(shlex.split(words))

    make, chaos, arguments = shlex.split(again(asked))
    told = make_parser().parse_args(shlex.split(arguments.removeprefix("ARGS=")))

    assert (make, chaos) == ("make", "chaos")
    assert told == asked
    assert plan_of(told).digest == plan_of(asked).digest


def test_faults_have_names_that_can_be_given_to_a_shell():
    assert not [fault for fault in Fault if set(fault) & set("'\"$`\\")]
