"""What an ETA costs a process that serves others meanwhile: counted, in looks at the past and in turns of others."""

from __future__ import annotations

import pytest

from app.domain.eta import likely
from app.domain.run import RunState, State
from app.domain.run_info import Document, RunInfo
from app.domain.status import Holder, MachinePlace, RunStatus
from app.history import estimates, kinds
from app.history.durations import stored_durations
from app.history.estimates import IN_A_TURN, Estimates
from app.history.kinds import Kinds
from app.store.keys import Keys

NOW = 1_000_000_000


class Past:
    """A Redis that has durations."""

    def get(self, name):
        return b"1"

    def hgetall(self, name):
        return {b"all": stored_durations(NOW, [60_000, 90_000, 120_000]).encode()}


@pytest.fixture
def turns(monkeypatch):
    """The turns that others had."""
    slept = []
    monkeypatch.setattr("app.store.fairness.time.sleep", slept.append)
    return slept


def a_run(task, *machines):
    return RunState(
        task, State.WAITING, info=RunInfo(project=Document("Projects-1", "Api")), machines=machines, requested_at_ms=NOW
    )


def waits_at(count, holder="ServerTasks-1"):
    held = Holder("lease", holder, NOW - 30_000)
    places = tuple(MachinePlace(f"Machines-{n}", f"web-{n}", 2, (held,), ()) for n in range(count))
    return RunStatus(a_run("ServerTasks-9", *(place.id for place in places)), NOW, places)


def foretell(place):
    runs = lambda tasks: {task.lower(): a_run(task) for task in tasks}  # noqa: E731
    return Estimates(Past(), Keys("test"), lambda task: None, runs).eta(place)


def test_others_have_their_turn_between_the_machines_of_a_wide_wait(turns):
    assert foretell(waits_at(200))
    assert len(turns) == 200 // IN_A_TURN - 1


def test_a_wait_for_few_machines_gives_no_turn(turns):
    assert foretell(waits_at(IN_A_TURN))
    assert turns == []


def test_the_rest_of_a_holder_is_worked_out_once_for_all_its_machines(monkeypatch):
    worked_out = []
    monkeypatch.setattr(estimates, "likely", lambda *args, **how: worked_out.append(how) or likely(*args, **how))

    assert foretell(waits_at(200)) == foretell(waits_at(1))
    assert worked_out == 2 * [{"elapsed_ms": 30_000}]


def test_the_cache_of_kinds_may_be_emptied_while_others_are_read(monkeypatch):
    monkeypatch.setattr(kinds, "MOST_KINDS", 2)

    def runs(tasks):
        if "ServerTasks-3" in tasks:
            known.of(["ServerTasks-4", "ServerTasks-5"])  # Somebody else has his turn.
        return {task.lower(): a_run(task, task) for task in tasks}

    known = Kinds(runs)
    known.of(["ServerTasks-1", "ServerTasks-2"])

    assert [kind.machines for kind in known.of(["ServerTasks-1", "ServerTasks-3"])] == [
        ("ServerTasks-1",), ("ServerTasks-3",),
    ]  # fmt: skip
