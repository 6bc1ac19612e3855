"""The machines that a run asks for, by id or by name: all of them are looked up together, however many there are."""

import json

import pytest

from app.coordination.registry import COMPARED, COMPARED_IN_A_TURN
from app.domain.errors import AmbiguousName, UnknownName
from app.queries.references import id_of, joined_ids_of
from tests.conftest import services_on

MACHINES = {"Machines-5": "web-05", "own-1": "db", "Machines-7": "Same", "Machines-8": "same", "Machines-9": "own-1"}


@pytest.fixture
def services(board, a_run, redis_url):
    run = a_run()
    board.join(run, list(MACHINES))
    board.name(run.task_id, {}, [{"id": machine, "name": name} for machine, name in MACHINES.items()])
    return services_on(board, redis_url)


@pytest.mark.parametrize(
    ("asked", "ids"),
    [
        (["Machines-5"], ["Machines-5"]),
        (["Machines-99"], ["Machines-99"]),
        (["web-05", "WEB-05"], ["Machines-5", "Machines-5"]),
        (["new-01", "db", "Machines-7"], ["new-01", "own-1", "Machines-7"]),
        (["OWN-1", "DB"], ["own-1", "own-1"]),  # An id comes before a name.
        ([], []),
    ],
)
def test_a_machine_is_meant_by_its_id_or_its_name(services, asked, ids):
    assert joined_ids_of(services, asked) == ids


def test_a_name_of_several_machines_is_none(services):
    with pytest.raises(AmbiguousName, match="'SAME' is the name of 2 machines: say which by its id, Machines-"):
        joined_ids_of(services, ["new-01", "SAME"])


@pytest.mark.parametrize("asked", [["web-05"], [f"made-up-{n}" for n in range(2000)], ["own-1"] * 2000])
def test_looking_up_many_takes_as_many_commands_as_looking_up_one(services, asked):
    before = services.client.info("stats")["total_commands_processed"]
    joined_ids_of(services, asked)
    commands = services.client.info("stats")["total_commands_processed"] - before

    assert commands <= 3


def test_an_unknown_name_is_compared_with_others_in_turns(services, monkeypatch):
    turns = []
    monkeypatch.setattr("app.store.fairness.time.sleep", turns.append)
    names = {f"Machines-{n}": {"id": f"Machines-{n}", "name": f"web-{n}"} for n in range(1000, 1500)}
    services.client.hset(services.keys.machines, mapping={i.lower(): json.dumps(named) for i, named in names.items()})

    with pytest.raises(UnknownName, match="the nearest: web-1345 "):
        id_of(services, "machine", "web-12345")
    assert len(turns) >= 2 * len(names) // COMPARED_IN_A_TURN


def test_a_name_that_is_too_long_to_be_meant_is_compared_with_none(services, monkeypatch):
    monkeypatch.delattr("app.coordination.registry.get_close_matches")

    with pytest.raises(UnknownName, match="is no machine that octowait knows, neither by id nor by name$"):
        id_of(services, "machine", "web " * COMPARED)


def test_all_machines_are_read_in_turns(services, monkeypatch):
    turns = []
    monkeypatch.setattr("app.store.fairness.time.sleep", turns.append)
    names = {f"machines-{n}": json.dumps({"id": f"Machines-{n}"}) for n in range(1000, 3000)}
    services.client.hset(services.keys.machines, mapping=names)

    joined_ids_of(services, ["new-01"])

    assert len(turns) >= 4
