"""Rule 4: asking again is free; and what cannot be asked for."""

import pytest

from app.domain.errors import HoldsOthers, InvalidId, NoMachines
from app.domain.events import Effect
from app.domain.run import RunRequest


def test_waiter_that_asks_again_keeps_its_place(board, a_run):
    board.join(a_run(), {"Machines-7"})
    waiter = a_run()
    board.join(waiter, {"Machines-7"})
    board.join(a_run(), {"Machines-7"})

    again = board.join(waiter, {"Machines-7"})

    assert (again.state, again.place, again.is_new) == ("waiting", 1, False)


def test_holder_that_asks_again_gets_the_same_token(board, a_run):
    run = a_run()
    token = board.join(run, {"Machines-7"}).fencing_token

    again = board.join(run, {"Machines-7"})

    assert again.is_granted
    assert again.fencing_token == token


def test_holder_that_asks_for_fewer_is_granted_and_keeps_all(board, a_run):
    run = a_run()
    board.join(run, {"Machines-7", "Machines-8"})

    assert board.join(run, {"Machines-8"}).is_granted
    assert board.join(a_run(), {"Machines-7"}).is_waiting


@pytest.mark.parametrize(("before", "verb"), [("Machines-7", "holds"), ("Machines-9", "waits for")])
def test_asking_for_more_is_refused_and_changes_nothing(board, a_run, before, verb):
    board.join(a_run(), {"Machines-9"})
    run = RunRequest("ServerTasks-4711")
    board.join(run, {before})

    with pytest.raises(HoldsOthers) as refused:
        board.join(run, {before, "Machines-12"})

    assert str(refused.value) == f"ServerTasks-4711 {verb} {before}: release before asking for Machines-12"
    assert [machine.id for machine in board.place(run.task_id).machines] == [before]
    assert board.join(a_run(), {"Machines-12"}).is_granted


def test_asking_for_no_machine_is_an_error(board, a_run):
    with pytest.raises(NoMachines):
        board.join(a_run(), set())


@pytest.mark.parametrize(("task", "machine"), [("ServerTasks-1\0", "Machines-7"), ("ServerTasks-1", "a/b"), ("", "m")])
def test_ids_that_could_break_out_of_a_key_are_refused(board, task, machine):
    with pytest.raises(InvalidId):
        board.join(RunRequest(task), {machine})


@pytest.mark.parametrize("again", [True, False])
def test_ids_compare_without_regard_to_letter_case(board, a_run, octopus, again):
    holder, waiter = RunRequest("ServerTasks-1"), RunRequest("ServerTasks-2")
    board.join(holder, {"Machines-7"})
    assert board.join(waiter, {"MACHINES-7"}).is_waiting
    if again:
        assert board.join(RunRequest("servertasks-2"), {"machines-7"}).place == 1

    octopus.tells(Effect.ENDED, "SERVERTASKS-1")

    assert board.poll("SERVERtasks-2").is_granted
    assert board.poll("servertasks-2").task_id == "ServerTasks-2"
    assert board.release("servertasks-2") == "released"


@pytest.mark.parametrize(
    "info",
    [
        {"project": {"name": "Web"}, "environment": {"name": "Prod"}},
        {"project": {"id": None, "name": "Web"}},
        {"project": {"id": ""}},
        {"project": None, "environment": None, "deployment_id": None, "runbook_run_id": None},
        {"project": "Web", "tenant": [], "url": "x" * 2000},
    ],
)
def test_info_of_any_shape_does_not_stop_a_run(board, a_run, info):
    first, second = a_run(info=info), a_run(info=info)
    board.join(first, {"Machines-7"})
    board.join(second, {"Machines-7"})

    board.release(first.task_id)

    assert board.place(second.task_id).is_granted
    assert board.release(second.task_id) == "released"
