"""Events that come together are applied by one script: each as if it had come alone."""

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from app.coordination.board import Policy
from app.domain.events import Batch, Effect, Event
from app.domain.records import Filter
from app.domain.run import RunRequest
from app.history.timeline import Timeline
from app.store.errors import StoreError
from tests.bench.world import calls_of
from tests.open_board import OpenBoard

EFFECTS = (Effect.STARTED, Effect.ENDED, Effect.PAUSED, Effect.RESUMED, Effect.QUEUED, Effect.OTHER)
MACHINES = ("Machines-1", "Machines-2", "Machines-3")
NAMES = {"project": {"id": "Projects-7"}, "environment": {"id": "Environments-2"}}


@pytest.fixture
def occurs(board):
    """Builds events with ids that count up."""
    numbers = iter(range(1, 1_000_000))

    def build(effect=Effect.STARTED, task="ServerTasks-1", **fields):
        number = next(numbers)
        deployment = f"Deployments-{task.rpartition('-')[2]}" if task else None
        event = Event(
            f"Events-{number}", None, f"Deployment{effect}", effect, board.now_ms(), task, deployment, info=NAMES
        )
        return replace(event, **fields)

    return build


def brought_together(board, events, **options):
    """The outcomes of all, and of how many each script told."""
    outcomes, sizes = [], []
    while len(outcomes) < len(events):
        told = board.deliver_many(events[len(outcomes) :], **options)
        outcomes += told
        sizes.append(len(told))
    return outcomes, sizes


def shown(board, tasks):
    """What the board says of the runs of *tasks*, and the timeline of all, without times."""
    places = [board.place(task) for task in tasks]
    runs = [
        place and (place.state, place.run.run, place.run.paused, place.run.outcome, place.run.info) for place in places
    ]
    records = Timeline(board.client, board.keys).read(Filter())
    return runs, [(record.kind, record.task_id, record.cause, record.machines) for record in records]


def history(chance, occurs, count):
    """Joins, releases and batches of events, each by chance; the acts of a history are the same on every board."""
    tasks = [f"ServerTasks-{number}" for number in range(1, 6)]
    acts, known = [], []
    for _ in range(count):
        task = chance.choice(tasks)
        kind = chance.choice(("join", "release", "events", "events"))
        if kind == "join":
            # Each asks for the same ones as before.
            acts.append((kind, task, MACHINES[: 1 + int(task[-1]) % 3]))
        elif kind == "release":
            acts.append((kind, task, None))
        else:
            events = []
            for _ in range(chance.randint(1, 8)):
                about = chance.choice([*tasks, None])
                new = occurs(chance.choice(EFFECTS), about, outcome=chance.choice([None, "succeeded"]))
                # Long before any of them asks, about then, and behind that.
                ago_ms = chance.choice([3_600_000, 3_500_000, 0, 0, -60_000, -70_000])
                new = replace(new, occurred_ms=new.occurred_ms - ago_ms)
                events.append(chance.choice([*known, new]) if known and chance.random() < 0.2 else new)
            known += events
            acts.append((kind, task, events))
    return tasks, acts


def played(board, acts, apply):
    outcomes = []
    for kind, task, what in acts:
        if kind == "join":
            board.join(RunRequest(task), what)
        elif kind == "release":
            board.release(task)
        else:
            outcomes += apply(board, what)
    return outcomes


@pytest.mark.parametrize("seed", range(12))
def test_together_they_do_what_they_do_one_after_the_other(make_board, occurs, seed):
    chance = random.Random(seed)
    tasks, acts = history(chance, occurs, 25)
    # Both plays, which take a while, stand at the same side of it.
    policy = Policy(paused_holds=bool(seed % 2), clock_tolerance=timedelta(seconds=40))
    confirm = seed % 3 == 0
    together = make_board(policy)
    outcomes = played(together, acts, lambda board, events: brought_together(board, events, confirm=confirm)[0])
    seen = shown(together, tasks)

    together.client.delete(*together.all_keys())
    alone = make_board(policy)

    assert outcomes == played(
        alone, acts, lambda board, events: [board.deliver(event, confirm=confirm) for event in events]
    )
    assert seen == shown(alone, tasks)


def test_one_script_applies_many(board, occurs):
    events = [occurs(task=f"ServerTasks-{number}") for number in range(32)]
    before = calls_of(board.client, "evalsha")

    outcomes, sizes = brought_together(board, events)

    assert (calls_of(board.client, "evalsha") - before, sizes) == (1, [32])
    assert outcomes == ["unresolved"] * 32


def test_the_same_event_twice_together_counts_once(board, occurs):
    event = occurs()

    assert board.deliver_many([event, event, occurs(Effect.ENDED)]) == ["unresolved", "duplicate", "applied"]


def test_each_has_its_place_in_its_batch(board, occurs):
    events = [occurs(batch=Batch("7f\u00e9", total=3, number=number)) for number in (1, 2, 3)]

    board.deliver_many(events)

    members = board.client.zrange(board.keys.named("batches"), 0, -1)
    assert sorted(members) == [f"7f\u00e9\0003\000{number}".encode() for number in (1, 2, 3)]


def test_behind_an_end_from_which_much_follows_they_are_brought_again(board, occurs):
    """Each machine has somebody who waits for it, so that the script leaves work."""
    wide = [f"Machines-{number}" for number in range(2000)]
    board.join(RunRequest("ServerTasks-1"), wide)
    for number in range(2, 12):
        board.join(RunRequest(f"ServerTasks-{number}"), wide[number * 100 : number * 100 + 100])
    events = [occurs(task="ServerTasks-90"), occurs(Effect.ENDED), occurs(task="ServerTasks-91")]

    outcomes, sizes = brought_together(board, events)

    assert outcomes == ["unresolved", "applied", "unresolved"]
    assert sizes == [2, 1]
    assert {board.place(f"ServerTasks-{number}").state for number in range(2, 12)} == {"granted"}


@pytest.mark.parametrize("effect", [Effect.PAUSED, Effect.OTHER])
def test_those_of_runs_with_many_machines_are_spread_over_several_scripts(board, occurs, effect):
    """To read and write what is known of such a run takes as long as fifty others."""
    for number in range(4):
        board.join(RunRequest(f"ServerTasks-{number}"), [f"Machines-{number}-{each}" for each in range(600)])

    _, sizes = brought_together(board, [occurs(effect, f"ServerTasks-{number}") for number in range(4)])

    assert sizes == [2, 2]


def test_ends_that_together_let_a_child_start_do_so(board, occurs):
    """Its family holds its other machines, with so many runs that no script looks at them twice for one waiter."""
    shared = [f"Machines-{number}" for number in range(200)]
    board.join(RunRequest("ServerTasks-1"), shared)
    for number in range(100):
        board.join(RunRequest(f"ServerTasks-{number + 10}", on_behalf_of="ServerTasks-1"), shared[number % 2 :: 2])
    for number, machine in ((2, "Machines-y"), (3, "Machines-z")):
        board.join(RunRequest(f"ServerTasks-{number}"), {machine})
    child = RunRequest("ServerTasks-4", on_behalf_of="ServerTasks-1")
    board.join(child, [*shared, "Machines-y", "Machines-z"])

    ends = [occurs(Effect.ENDED, "ServerTasks-2"), occurs(Effect.ENDED, "ServerTasks-3")]

    assert brought_together(board, ends) == (["applied"] * 2, [2])
    assert board.place(child.task_id).is_granted


def test_starts_of_a_large_process_are_spread_although_nothing_is_presumed(make_board, occurs):
    """Somebody was delayed by its machines for as long as that may be, which is found out about all of them."""
    board = make_board(Policy(has_key=False))
    wide = [f"Machines-{number}" for number in range(1600)]
    board.deliver(occurs(task="ServerTasks-1"))
    board.observe("ServerTasks-1", [{"id": machine, "name": machine} for machine in wide], info=NAMES)
    board.deliver(occurs(Effect.ENDED, "ServerTasks-1", outcome="succeeded"))
    board.join(RunRequest("ServerTasks-2"), wide)
    board.join(RunRequest("ServerTasks-3"), wide)
    delay = f"{24 * 3_600_000} {board.place('ServerTasks-3').run.requested_at_ms}"
    board.client.hset(board.keys.named("delays"), "ServerTasks-3", delay)

    outcomes, sizes = brought_together(board, [occurs(task=f"ServerTasks-{number}") for number in range(4, 8)])

    assert (outcomes, sizes) == (["unresolved"] * 4, [1, 1, 1, 1])
    assert board.place("ServerTasks-7").run.presumed in (None, ())


def test_one_that_breaks_off_is_alone_with_its_trouble(board, occurs):
    board.join(RunRequest("ServerTasks-2"), {"Machines-7"})
    board.client.hset(board.keys.named("runs"), "servertasks-2", "no JSON")

    outcomes, sizes = brought_together(board, [occurs(task=f"ServerTasks-{number}") for number in (1, 2, 3)])

    assert sizes == [2, 1]
    assert isinstance(outcomes[1], StoreError) and [outcomes[0], outcomes[2]] == ["unresolved"] * 2


def test_what_is_due_is_ended_before_the_first_that_needs_it(board, occurs, clock):
    known = occurs(task="ServerTasks-8")
    board.deliver(known)
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"}, ttl=timedelta(seconds=30))
    board.join(RunRequest("ServerTasks-2"), {"Machines-7"}, ttl=timedelta(seconds=30))
    board.join(RunRequest("ServerTasks-3"), {"Machines-7"}, ttl=timedelta(seconds=300))
    clock.advance(timedelta(seconds=60))
    board.client.hset(board.keys.counters, "served_at", board.now_ms())

    outcomes = board.deliver_many([known, occurs(Effect.ENDED, "ServerTasks-1"), occurs(task="ServerTasks-9")])

    assert outcomes == ["duplicate", "applied", "unresolved"]
    assert [board.place(f"ServerTasks-{number}").state for number in (2, 3)] == ["expired", "granted"]


def test_no_event_is_told_of_where_redis_is_gone(board, occurs):
    gone = OpenBoard(board.client, namespace="x")
    gone.script._exchange = lambda commands: (_ for _ in ()).throw(ConnectionError("gone"))

    with pytest.raises(StoreError):
        gone.deliver_many([occurs(), occurs()])
