"""Rules 1 and 2: one at a time on a machine; all machines or none."""

from app.domain.events import Effect
from tests.integration.rules.helpers import holders


def test_first_run_is_granted_at_once(board, a_run):
    place = board.join(a_run(), {"Machines-7"})

    assert place.is_granted
    assert place.is_new


def test_second_run_waits_and_sees_the_holder(board, a_run):
    board.join(a_run(info={"project": {"id": "Projects-7", "name": "Api"}}), {"Machines-7"})

    place = board.join(a_run(), {"Machines-7"})

    assert (place.state, place.place) == ("waiting", 1)
    assert "ServerTasks-1 (Api)" in place.message


def test_release_grants_the_next(board, a_run):
    first, second = a_run(), a_run()
    board.join(first, {"Machines-7"})
    board.join(second, {"Machines-7"})

    assert board.release(first.task_id) == "released"

    assert board.place(first.task_id).state == "released"
    assert board.place(second.task_id).is_granted


def test_runs_on_different_machines_do_not_wait_for_each_other(board, a_run):
    board.join(a_run(), {"Machines-7"})

    assert board.join(a_run(), {"Machines-70"}).is_granted
    assert board.join(a_run(), {"Machines-"}).is_granted


def test_nobody_is_granted_while_an_observed_run_is_there(board, a_run, octopus):
    octopus.runs("ServerTasks-900")

    place = board.join(a_run(), {"Machines-7"})

    assert place.is_waiting
    assert holders(board, place.task_id) == [("observed", "ServerTasks-900")]


def test_end_of_an_observed_run_grants_the_next(board, a_run, octopus):
    octopus.runs("ServerTasks-900")
    waiter = a_run()
    board.join(waiter, {"Machines-7"})

    octopus.tells(Effect.ENDED, "ServerTasks-900")

    assert board.place(waiter.task_id).is_granted


def test_fencing_tokens_grow_with_every_grant(board, a_run):
    runs = [a_run() for _ in range(5)]
    for run in runs:
        board.join(run, {"Machines-7"})

    tokens = []
    for run in runs:
        tokens.append(board.place(run.task_id).fencing_token)
        board.release(run.task_id)

    assert tokens == sorted(set(tokens))


def test_run_gets_none_of_its_machines_while_one_is_busy(board, a_run):
    board.join(a_run(), {"Machines-7"})
    board.join(a_run(), {"Machines-7", "Machines-8"})

    third = board.join(a_run(), {"Machines-8"})

    assert third.is_waiting
    assert third.machines[0].holders == ()


def test_two_runs_that_want_the_same_two_machines_do_not_lock_each_other(board, a_run):
    holder, one, other = a_run(), a_run(), a_run()
    board.join(holder, {"Machines-7", "Machines-8"})
    board.join(one, ["Machines-7", "Machines-8"])
    board.join(other, ["Machines-8", "Machines-7"])

    board.release(holder.task_id)

    assert board.place(one.task_id).is_granted
    assert board.place(other.task_id).is_waiting


def test_machine_given_twice_is_one(board, a_run):
    place = board.join(a_run(), ["Machines-7", "machines-7", "Machines-7"])

    assert [machine.id for machine in place.machines] == ["Machines-7"]


def test_thousands_of_machines_in_one_run(board, a_run):
    machines = [f"Machines-{number}" for number in range(9_000)]

    place = board.join(a_run(), machines)

    assert place.is_granted
    assert (place.machines_count, len(place.machines)) == (9_000, 200)
