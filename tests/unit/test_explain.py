import pytest

from app.domain.eta import Eta
from app.domain.explain import explain
from app.domain.explanation import MOST_LINKS
from app.domain.run import RunState, State
from app.domain.run_info import Document, RunInfo
from app.domain.status import Holder, MachinePlace, RunStatus

INFO = RunInfo(project=Document(name="Api"), url="https://octopus.example.com/1")


def a_holder(task="ServerTasks-1", *, since_ms=0, kind="lease", **fields):
    return Holder(kind, task, since_ms, INFO, **fields)


def a_machine(number, place, *holders, ahead=()):
    return MachinePlace(f"Machines-{number}", f"web-{number}", place, holders, tuple(ahead))


def a_waiter(task, *machines, order=1):
    run = RunState(task, State.WAITING, order=f"{order:026}", requested_at_ms=1_000, info=INFO)
    return RunStatus(run, 61_000, machines)


def why(place, *others):
    there = {other.task_id: other for other in others}
    return explain(place, there.get, lambda other: Eta(60_000 * (other.place or 1), 90_000))


def test_chain_goes_over_those_ahead_to_the_run_that_works():
    second = a_waiter("ServerTasks-2", a_machine(7, 1), a_machine(8, 1, a_holder()))

    found = why(a_waiter("ServerTasks-3", a_machine(7, 2, ahead=["ServerTasks-2"])), second)

    assert [(link.kind, link.task_id, link.machine) for link in found.chain] == [
        ("waiting", "ServerTasks-2", "web-7"), ("working", "ServerTasks-1", "web-8"),
    ]  # fmt: skip
    assert found.chain[0].eta_ms == Eta(60_000, 90_000)
    assert found.chain[1].url == INFO.url


def test_holder_that_came_first_is_the_one_in_the_way():
    place = a_waiter(
        "ServerTasks-3", a_machine(7, 1, a_holder(since_ms=50)), a_machine(8, 1, a_holder("ServerTasks-2"))
    )

    assert [link.task_id for link in why(place).chain] == ["ServerTasks-2"]


def test_what_the_family_holds_is_no_link():
    place = a_waiter(
        "ServerTasks-3", a_machine(7, 0, a_holder()), a_machine(8, 1, a_holder("ServerTasks-2", since_ms=9))
    )

    assert [link.task_id for link in why(place).chain] == ["ServerTasks-2"]


@pytest.mark.parametrize(
    ("holder", "kind", "said", "remedy"),
    [
        (a_holder(), "working", "has worked on web-7 for 1 min", "octowait force-release ServerTasks-1"),
        (a_holder(kind="observed"), "working", "has worked on", "it had not asked octowait before it began"),
        (a_holder(paused=True), "paused", "waits for a person", "answer the intervention of ServerTasks-1"),
        (
            Holder("reservation", None, 0, note="disk", by="ann"),
            "reservation",
            "by ann: disk",
            "unreserve Machines-7",
        ),
        (
            Holder("reservation", None, 0, note="d", until_ms=99, by="ann"),
            "reservation",
            "by ann",
            "at the reservation's end",
        ),
        (Holder("rebuilding", None, 0), "rebuilding", "granted nothing for 1 min", "Octopus has told"),
    ],
)
def test_last_link_says_what_would_let_it_go(holder, kind, said, remedy):
    found = why(a_waiter("ServerTasks-3", a_machine(7, 1, holder)))

    assert [link.kind for link in found.chain] == [kind]
    assert said in found.sentences[1]
    assert remedy in found.sentences[2]


def test_a_long_chain_is_cut():
    def waiter(number):
        return a_waiter(f"ServerTasks-{number}", a_machine(number, 2, ahead=[f"ServerTasks-{number + 1}"]))

    found = why(waiter(1), *(waiter(number) for number in range(2, 60)))

    assert len(found.chain) == MOST_LINKS and found.is_cut
    assert any("The chain is longer than" in said for said in found.sentences)


def test_a_chain_that_changes_under_the_look_ends():
    one = a_waiter("ServerTasks-1", a_machine(7, 2, ahead=["ServerTasks-2"]))
    two = a_waiter("ServerTasks-2", a_machine(8, 2, ahead=["ServerTasks-1"]))

    assert len(why(one, one, two).chain) == 2


def test_first_of_all_it_would_wait_for_holders_only():
    place = a_waiter(
        "ServerTasks-9", a_machine(7, 5, a_holder(), ahead=["ServerTasks-2"]), a_machine(8, 2, ahead=["ServerTasks-2"])
    )

    found = why(place)

    assert (found.first.place, found.first.starts_now, found.first.passes) == (1, False, 4)
    assert found.first.blocked_by == ("ServerTasks-1 (Api)",)
    assert found.sentences[-4] == (
        "With the highest priority it would be at place 1 and pass 4; "
        "it would wait for ServerTasks-1 (Api), in about 1 min."
    )


def test_without_a_machine_it_stands_as_the_others_let_it():
    place = a_waiter("ServerTasks-9", a_machine(7, 1), a_machine(8, 3, a_holder(), ahead=["ServerTasks-2"]))

    without_7, without_8 = why(place).without

    assert (without_7.machine, without_7.place, without_7.starts_now) == ("web-7", 3, False)
    assert (without_8.machine, without_8.place, without_8.starts_now) == ("web-8", 1, True)
    assert "Without web-8 it would start at once." in why(place).sentences


def test_a_run_of_one_machine_has_nothing_to_drop():
    assert why(a_waiter("ServerTasks-9", a_machine(7, 1, a_holder()))).without == ()


def test_of_many_machines_those_with_the_longest_lines_are_dropped():
    machines = [a_machine(n, 1 + n % 100, a_holder()) for n in range(200)]
    foretold = []

    found = explain(a_waiter("ServerTasks-9", *machines), lambda _: None, foretold.append)

    assert len(found.without) == len(foretold) - 1 == MOST_LINKS
    assert min(int(other.machine.removeprefix("web-")) % 100 for other in found.without) == 90
