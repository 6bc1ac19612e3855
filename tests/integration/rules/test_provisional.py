"""Rule 19: a started run makes the machines busy that its process used last there, until it is known which it uses."""

from datetime import timedelta

import pytest

from app.coordination.board import Policy
from app.domain.events import Effect
from app.domain.records import Filter
from app.domain.run import RunRequest
from tests.conftest import Clock
from tests.integration.octopus_tells import Octopus
from tests.integration.rules.helpers import holders, kinds, seconds
from tests.integration.test_gate_model import Changed

INFO = {
    "space_id": "Spaces-1",
    "project": {"id": "Projects-7"},
    "environment": {"id": "Environments-2"},
    "deployment_id": "Deployments-1",
}


def machines(*numbers):
    return [{"id": f"Machines-{number}", "name": f"web-{number}"} for number in numbers]


@pytest.fixture
def board(make_board):
    return make_board(Policy(has_key=True))


@pytest.fixture
def keyless(make_board):
    return make_board(Policy(provisional=timedelta(seconds=60)))


def ran(octopus, board, *, numbers=(7,), task="ServerTasks-800", info=INFO, **plan):
    """A run without a step that is over, so that its process is remembered."""
    octopus.tells(Effect.STARTED, task, info=info)
    assert board.observe(task, machines(*numbers), info={}, **plan) == "observed"
    octopus.tells(Effect.ENDED, task, outcome="succeeded")


def starts(octopus, task="ServerTasks-900", *, info=INFO, **fields):
    return octopus.tells(Effect.STARTED, task, info=info, **fields)


def is_free(board, number, task="ServerTasks-1"):
    """Whether somebody who asks for the machine is granted it."""
    place = board.join(RunRequest(task), {f"Machines-{number}"})
    board.release(task, cause="forced")
    return place.is_granted


def test_machines_of_the_last_run_are_busy_from_the_start(board, octopus):
    ran(octopus, board, numbers=(7, 8))

    assert starts(octopus) == "unresolved"

    asked = board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    assert asked.is_waiting
    assert holders(board, "ServerTasks-1") == [("provisional", "ServerTasks-900")]
    assert "presumed to use" in asked.message
    assert not is_free(board, 8, "ServerTasks-2")
    assert is_free(board, 9, "ServerTasks-3")


@pytest.mark.parametrize(
    "other",
    [
        {"space_id": "Spaces-2"},
        {"project": {"id": "Projects-8"}},
        {"environment": {"id": "Environments-3"}},
        {"tenant": {"id": "Tenants-1"}},
        {"deployment_id": None, "runbook_run_id": "RunbookRuns-1"},
        {"project": None},
    ],
)
def test_other_processes_are_not_remembered_by_it(board, octopus, other):
    ran(octopus, board)

    starts(octopus, info={name: value for name, value in (INFO | other).items() if value})

    assert is_free(board, 7)


def test_ids_of_the_process_compare_without_letter_case(board, octopus):
    ran(octopus, board)

    starts(octopus, info=INFO | {"project": {"id": "projects-7"}, "space_id": "SPACES-1"})

    assert not is_free(board, 7)


def test_truth_replaces_what_was_presumed(board, octopus, timeline):
    ran(octopus, board, numbers=(7,))
    starts(octopus)
    waiter = RunRequest("ServerTasks-1")
    board.join(waiter, {"Machines-7"})

    assert board.observe("ServerTasks-900", machines(8), info={}) == "observed"

    assert board.place(waiter.task_id).is_granted
    assert not is_free(board, 8, "ServerTasks-2")
    assert kinds(timeline, task_id="ServerTasks-900") == ["event", "presumed", "observed"]


def test_end_ends_what_was_presumed(board, octopus):
    ran(octopus, board)
    starts(octopus)
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})

    octopus.tells(Effect.ENDED, "ServerTasks-900")

    assert board.place("ServerTasks-1").is_granted


def test_reconciled_end_ends_what_was_presumed(board, octopus):
    ran(octopus, board)
    starts(octopus)
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})

    assert board.release("ServerTasks-900", cause="reconciled", seen=board.place("ServerTasks-900")) == "released"

    assert board.place("ServerTasks-1").is_granted


def test_run_that_joins_drops_its_own_and_stands_behind(board, octopus):
    ran(octopus, board)
    starts(octopus)
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})

    asked = board.join(RunRequest("ServerTasks-900"), {"Machines-7"})

    assert board.place("ServerTasks-1").is_granted
    assert (asked.state, asked.place) == ("waiting", 1)


def test_with_a_key_only_the_truth_ends_it(board, octopus, clock):
    ran(octopus, board)
    starts(octopus)
    board.join(RunRequest("ServerTasks-1", parked=True), {"Machines-7"})

    clock.advance(timedelta(hours=2))
    board.sweep()

    assert board.place("ServerTasks-1").is_waiting


def test_final_refusal_of_octopus_ends_it_after_a_while(board, octopus, clock, timeline):
    ran(octopus, board)
    starts(octopus)
    board.join(RunRequest("ServerTasks-1", parked=True), {"Machines-7"})

    assert board.refuse_plan("ServerTasks-900") == "noted"
    clock.advance(seconds(59))
    board.sweep()
    assert board.refuse_plan("ServerTasks-900") == "late"  # its time does not begin anew
    assert board.place("ServerTasks-1").is_waiting
    clock.advance(seconds(2))
    board.sweep()

    assert board.place("ServerTasks-1").is_granted
    assert kinds(timeline, task_id="ServerTasks-900") == ["event", "presumed", "dropped"]
    # It is asked for again later, and then its machines are busy after all.
    assert board.place("ServerTasks-900").is_to_resolve


def test_machines_that_turn_out_to_be_used_widen_what_is_presumed(board, octopus, timeline):
    ran(octopus, board, numbers=(7,))
    starts(octopus)

    assert board.presume("ServerTasks-900", ["Machines-8"]) == "presumed"
    assert board.presume("ServerTasks-900", ["machines-7", "Machines-8"]) == "known"

    assert not is_free(board, 7) and not is_free(board, 8, "ServerTasks-2")
    board.observe("ServerTasks-900", machines(8), info={})
    assert is_free(board, 7, "ServerTasks-3") and not is_free(board, 8, "ServerTasks-4")
    assert kinds(timeline, task_id="ServerTasks-900") == ["event", "presumed", "presumed", "observed"]


def test_presuming_is_late_once_the_machines_are_known(board, octopus):
    octopus.runs("ServerTasks-900")

    assert board.presume("ServerTasks-900", ["Machines-8"]) == board.presume("ServerTasks-5", ["Machines-8"]) == "late"


def test_refusal_of_a_run_of_which_nothing_is_presumed_is_late(board, octopus):
    starts(octopus)

    assert board.refuse_plan("ServerTasks-900") == board.refuse_plan("ServerTasks-7") == "late"


def test_run_with_chosen_machines_widens_the_memory(board, octopus):
    ran(octopus, board, numbers=(7, 8))
    ran(octopus, board, numbers=(9,), task="ServerTasks-801", is_full=False)

    starts(octopus)

    assert not any(is_free(board, number, f"ServerTasks-{number}") for number in (7, 8, 9))


def test_full_run_narrows_the_memory_of_deployments(board, octopus):
    ran(octopus, board, numbers=(7, 8))
    ran(octopus, board, numbers=(8,), task="ServerTasks-801")

    starts(octopus)

    assert is_free(board, 7) and not is_free(board, 8, "ServerTasks-2")


def test_runbooks_of_a_project_are_remembered_together(board, octopus):
    info = {**INFO, "runbook_run_id": "RunbookRuns-1"}
    ran(octopus, board, numbers=(7,), info=info)
    ran(octopus, board, numbers=(8,), task="ServerTasks-801", info=info)

    starts(octopus, info=info)

    assert not is_free(board, 7) and not is_free(board, 8, "ServerTasks-2")


def test_claims_widen_the_memory(board, octopus):
    board.join(RunRequest("ServerTasks-800", info=INFO), {"Machines-7", "Machines-8"})
    board.release("ServerTasks-800")
    board.join(RunRequest("ServerTasks-801", info=INFO), {"Machines-8"})
    board.release("ServerTasks-801")

    starts(octopus)

    assert not is_free(board, 7) and not is_free(board, 8, "ServerTasks-2")


def test_empty_plan_takes_back_what_was_presumed(board, octopus):
    ran(octopus, board)
    starts(octopus)
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})

    assert board.observe("ServerTasks-900", [], info={}) == "observed"

    assert board.place("ServerTasks-1").is_granted


def test_two_starts_at_once_presume_both(board, octopus):
    ran(octopus, board)
    starts(octopus, "ServerTasks-900")
    starts(octopus, "ServerTasks-901")
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})

    octopus.tells(Effect.ENDED, "ServerTasks-900")
    assert board.place("ServerTasks-1").is_waiting
    octopus.tells(Effect.ENDED, "ServerTasks-901")

    assert board.place("ServerTasks-1").is_granted


def test_presumption_alone_is_no_overlap(board, octopus, timeline):
    ran(octopus, board)
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    starts(octopus)
    assert not list(timeline.read(Filter(kind="overlapped")))

    board.observe("ServerTasks-900", machines(7), info={})

    [record] = timeline.read(Filter(kind="overlapped"))
    assert (record.task_id, record.detail["with"]) == ("ServerTasks-900", "ServerTasks-1")


def test_presumed_run_keeps_its_time_when_it_is_observed(board, octopus, clock):
    ran(octopus, board)
    starts(octopus)
    began_ms = board.place("ServerTasks-900").now_ms
    clock.advance(seconds(20))

    board.observe("ServerTasks-900", machines(7), info={})

    assert began_ms - 100 <= board.place("ServerTasks-900").run.observed_at_ms <= began_ms


# Without an API key


@pytest.fixture
def told(keyless):
    """What Octopus tells a board without an API key, whose last run was a claim for Machines-7."""
    keyless.join(RunRequest("ServerTasks-800", info=INFO), {"Machines-7"})
    keyless.release("ServerTasks-800")
    return Octopus(keyless, Clock(keyless))


def test_without_a_key_it_ends_by_itself(keyless, told):
    clock = Clock(keyless)
    starts(told)
    keyless.join(RunRequest("ServerTasks-1", parked=True), {"Machines-7"})

    clock.advance(seconds(59))
    keyless.sweep()
    assert keyless.place("ServerTasks-1").is_waiting
    clock.advance(seconds(2))
    keyless.sweep()

    assert keyless.place("ServerTasks-1").is_granted


def test_without_a_key_one_head_is_delayed_at_most_twice_the_time_in_all(keyless, told):
    clock = Clock(keyless)
    starts(told, "ServerTasks-900")
    keyless.join(RunRequest("ServerTasks-1", parked=True), {"Machines-7"})
    waited = 0
    for number in range(901, 920):
        for _ in range(5):
            clock.advance(seconds(10))
            keyless.sweep()
            waited += 10
            if keyless.place("ServerTasks-1").is_granted:
                break
        starts(told, f"ServerTasks-{number}")
        if keyless.place("ServerTasks-1").is_granted:
            break

    assert keyless.place("ServerTasks-1").is_granted
    assert 60 < waited <= 120


def test_without_a_key_the_time_counts_that_goes_on(keyless, told):
    """A presumption can last for longer than one does, where it has grown: what it delays by then counts at once."""
    clock = Clock(keyless)
    starts(told, "ServerTasks-900")
    clock.advance(seconds(5))
    keyless.join(RunRequest("ServerTasks-1", parked=True), {"Machines-7"})
    clock.advance(seconds(45))
    keyless.presume("ServerTasks-900", ["Machines-8"])
    clock.advance(seconds(50))

    starts(told, "ServerTasks-901")

    clock.advance(seconds(24))
    keyless.sweep()
    assert keyless.place("ServerTasks-1").is_waiting
    clock.advance(seconds(2))
    keyless.sweep()
    assert keyless.place("ServerTasks-1").is_granted
    assert not keyless.client.exists(keyless.keys.delays)


def test_memory_of_as_many_machines_as_a_run_may_have_is_kept_and_gets_no_more(board, octopus):
    """Whoever names machines that there are not has none forgotten that a process uses."""
    board.script = Changed(board, {"MAX_PLAN = 10000": "MAX_PLAN = 3"})
    for task, numbers in (("ServerTasks-1", (1, 2)), ("ServerTasks-2", (2, 3, 4)), ("ServerTasks-3", (4, 5, 6, 7))):
        board.join(RunRequest(task, info=INFO), {f"Machines-{number}" for number in numbers})
        board.release(task)

    starts(octopus)

    busy = {number for number in range(1, 8) if not is_free(board, number, f"ServerTasks-{10 + number}")}
    assert {1, 2} <= busy and len(busy) == 3


def test_without_a_key_a_head_with_many_machines_has_as_much_patience_as_one_with_few(keyless):
    many, told, clock = {f"Machines-{n}" for n in range(5)}, Octopus(keyless, Clock(keyless)), Clock(keyless)
    keyless.join(RunRequest("ServerTasks-800", info=INFO), many)
    keyless.release("ServerTasks-800")
    starts(told, "ServerTasks-900")
    keyless.join(RunRequest("ServerTasks-1", parked=True), many)
    clock.advance(seconds(30))
    starts(told, "ServerTasks-901")
    keyless.release("ServerTasks-900", cause="forced")
    starts(told, "ServerTasks-902")
    keyless.release("ServerTasks-901", cause="forced")

    clock.advance(seconds(55))
    keyless.sweep()
    assert keyless.place("ServerTasks-1").is_waiting
    clock.advance(seconds(10))
    keyless.sweep()

    assert keyless.place("ServerTasks-1").is_granted


def test_what_is_presumed_of_many_runs_with_many_machines_does_not_end_in_one_script(keyless):
    many, told = {f"Machines-{number}" for number in range(400)}, Octopus(keyless, Clock(keyless))
    keyless.join(RunRequest("ServerTasks-800", info=INFO), many)
    keyless.release("ServerTasks-800")
    for number in range(8):
        starts(told, f"ServerTasks-{900 + number}")
    Clock(keyless).advance(seconds(61))

    keyless.script._call_due("sweep", (0, 0))

    left = {member.rpartition(b"\0")[2] for member in keyless.client.zrange(keyless.keys.holders, 0, -1)}
    assert 6 <= len(left) < 8


def test_without_a_key_the_next_head_has_patience_of_its_own(keyless, told):
    clock = Clock(keyless)
    for number, waiter in ((900, "ServerTasks-1"), (901, "ServerTasks-2")):
        starts(told, f"ServerTasks-{number}")
        assert keyless.join(RunRequest(waiter, parked=True), {"Machines-7"}).is_waiting
        clock.advance(seconds(61))
        keyless.sweep()
        assert keyless.place(waiter).is_granted
        keyless.release(waiter)


def test_memory_of_an_older_octowait_is_kept(board, octopus):
    redis = board.client
    ran(octopus, board, numbers=(7, 8))
    [key] = [key for key in redis.keys(f"*{board.keys.namespace}*:plan:*") if redis.type(key) == b"hash"]
    redis.delete(key)
    redis.set(key, '{"machines": "Machines-7,Machines-8", "at_ms": 1}')

    assert starts(octopus) == "unresolved"
    assert not is_free(board, 8, "ServerTasks-2")

    board.join(RunRequest("ServerTasks-3", info=INFO), {"Machines-9"})
    assert sorted(redis.hvals(key)) == [b"Machines-7", b"Machines-8", b"Machines-9"]


def test_run_with_one_machine_of_many_reads_one(board, octopus):
    redis = board.client
    ran(octopus, board, numbers=range(1, 501))
    redis.config_resetstat()

    board.join(RunRequest("ServerTasks-3", info=INFO), {"Machines-7"})

    calls = redis.info("commandstats")
    assert not {"cmdstat_hvals", "cmdstat_hkeys", "cmdstat_hgetall"} & set(calls)
    assert sum(each["calls"] for each in calls.values()) < 100
