"""Many threads at once on several boards, and a checker that reads in the timeline whether the rules held."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from app.domain.records import Filter, Record
from app.domain.run import RunRequest

THREADS, BOARDS, ROUNDS, MACHINES = 200, 8, 3, 12


def violations(records):
    """What in these records breaks exclusion, order, completeness or the growth of tokens, in words."""
    found, lines, holders, token = [], {}, {}, 0
    waiting, arrivals = {}, 0
    for record in records:
        task = record.task_id
        if record.kind == "joined":
            arrivals += 1
            waiting[task] = (-record.detail.get("priority", 0), arrivals)
            for machine in record.machines:
                lines.setdefault(machine, set()).add(task)
        elif record.kind == "granted":
            for machine in record.machines:
                first = min(lines[machine], key=waiting.__getitem__)
                if first != task:
                    found.append(f"{task} skipped {first} at {machine}")
                if machine in holders:
                    found.append(f"{machine} was given to {task} while {holders[machine]} held it")
                holders[machine] = task
                lines[machine].discard(task)
            if record.detail["token"] <= token:
                found.append(f"{task} got token {record.detail['token']} after {token}")
            token = record.detail["token"]
            del waiting[task]
        elif record.kind == "released":
            for machine in record.machines:
                if holders.pop(machine, None) != task:
                    found.append(f"{task} released {machine} without holding it")
        else:
            found.append(f"nobody expected {record.kind} of {task}")
    found += [f"{task} was never served" for task in waiting]
    found += [f"{task} never released {machine}" for machine, task in holders.items()]
    return found


@pytest.mark.timeout(300)
def test_two_hundred_threads_are_served_in_order_and_alone(make_board, timeline):
    seed = random.randrange(2**32)
    boards = [make_board() for _ in range(BOARDS)]
    barrier = threading.Barrier(THREADS)

    def work(number):
        dice = random.Random(seed + number)
        board = boards[number % BOARDS]
        barrier.wait(30)
        for turn in range(ROUNDS):
            run = RunRequest(f"ServerTasks-{number}-{turn}", priority=dice.choice([0, 0, 0, 1, -1]))
            wanted = [f"Machines-{m}" for m in dice.sample(range(MACHINES), dice.randint(1, 4))]
            place = board.join(run, wanted)
            if not place.is_granted:
                place = board.wait(run.task_id, timeout=timedelta(seconds=50))
            assert place.is_granted, place.message
            for other in dice.sample(range(THREADS), 2):  # it holds for as long as this takes
                board.place(f"ServerTasks-{other}-{turn}")
            assert board.release(run.task_id) == "released"

    with ThreadPoolExecutor(THREADS) as pool:
        done = list(pool.map(work, range(THREADS)))

    records = list(timeline.read(Filter()))
    assert len(done) == THREADS
    assert len(records) == 3 * THREADS * ROUNDS
    assert violations(records) == [], f"seed {seed}"


def a_record(kind, task, *machines, **detail):
    return Record("1-0", 1, kind, task_id=task, machines=machines, detail=detail)


JOINED = [
    a_record("joined", "one", "a", "b"),
    a_record("granted", "one", "a", "b", token=1),
    a_record("joined", "two", "a"),
    a_record("joined", "three", "a"),
]
REST = [
    a_record("granted", "two", "a", token=2),
    a_record("released", "two", "a"),
    a_record("granted", "three", "a", token=3),
    a_record("released", "three", "a"),
]


def test_checker_finds_nothing_in_a_good_history():
    assert violations([*JOINED, a_record("released", "one", "a", "b"), *REST]) == []


@pytest.mark.parametrize(
    ("history", "violation"),
    [
        ([*JOINED, *REST], "a was given to two while one held it"),
        ([*JOINED, a_record("released", "one", "a", "b"), *REST[2:]], "three skipped two at a"),
        ([*JOINED, a_record("released", "one", "a", "b"), *REST[:2]], "three was never served"),
        ([*JOINED, *REST[2:]], "three skipped two at a"),
        (JOINED, "one never released b"),
        ([*JOINED, a_record("released", "one", "a", "b"), a_record("granted", "two", "a", token=1)],
         "two got token 1 after 1"),
        ([*JOINED, a_record("joined", "four", "a", priority=1), a_record("released", "one", "a", "b"), *REST],
         "two skipped four at a"),
        ([*JOINED, a_record("released", "two", "a")], "two released a without holding it"),
        ([a_record("expired", "two", "a")], "nobody expected expired of two"),
    ],
)  # fmt: skip
def test_checker_finds_a_planted_violation(history, violation):
    assert violation in violations(history)
