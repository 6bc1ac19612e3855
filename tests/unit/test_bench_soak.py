"""The soak of hostile shapes: what is a breach, what Redis's log says, and in which order attacks come."""

import random
from collections import Counter
from types import SimpleNamespace

import pytest

from tests.bench.attacks import Attack
from tests.bench.exclusion import Exclusion
from tests.bench.program import AT_ONCE, Program
from tests.bench.slow_log import Slow, SlowLog
from tests.bench.soak_outcome import Outcome
from tests.bench.stage import TASKS
from tests.bench.witnesses import Watch


@pytest.fixture
def exclusion():
    return Exclusion()


def test_machine_that_two_families_have_is_a_breach(exclusion):
    exclusion.take("ServerTasks-1", ["Machines-1", "Machines-2"], family="ServerTasks-1")
    exclusion.take("ServerTasks-2", ["Machines-2"], family="ServerTasks-2")

    assert exclusion.breaches == ["ServerTasks-2 was granted Machines-2 while ServerTasks-1 held it"]


def test_machine_that_was_given_back_or_is_shared_by_a_family_is_none(exclusion):
    exclusion.take("ServerTasks-1", ["Machines-1"], family="ServerTasks-1")
    exclusion.take("ServerTasks-3", ["Machines-1"], family="ServerTasks-1")
    for task in ("ServerTasks-1", "ServerTasks-3", "ServerTasks-4"):
        exclusion.give(task)
    exclusion.take("ServerTasks-2", ["Machines-1"], family="ServerTasks-2")

    assert (exclusion.breaches, exclusion.grants) == ([], 3)


def an_entry(number, command, us=2500):
    return {"id": number, "start_time": 1_764_000_000, "duration": us, "command": command}


def test_slow_command_is_about_a_task_and_says_how_much_it_was_given():
    join = b'EVALSHA 0123 1 octowait:{b} 0 1764 ServerTasks-200017 {"machines":[... (169872 more bytes) 0'

    assert Slow.of(an_entry(1, join)) == Slow("(another)", 200_017, 2.5, 169_872, 1_764_000_000)
    told = b'EVALSHA 0123 1 octowait:{b} 0 1764 events-20001719 {"id":... (700 more bytes) 0'
    assert Slow.of(an_entry(1, told)).number == 200_017
    assert Slow.of(an_entry(2, b"BGREWRITEAOF")) == Slow("BGREWRITEAOF", 0, 2.5, 0, 1_764_000_000)


class Server:
    """Answers a pipeline with the next of *batches*, newest entry first, as Redis does."""

    def __init__(self, *batches):
        self._batches = iter(batches)

    def pipeline(self, transaction):
        assert transaction
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def config_set(self, name, value):
        pass

    def slowlog_get(self, most):
        pass

    def slowlog_reset(self):
        pass

    def execute(self):
        return [True, [an_entry(number, b"EVALSHA 0 1") for number in next(self._batches)], True, True]


def test_entries_that_fell_out_of_the_log_are_counted():
    log, server = SlowLog(), Server([8, 7], [], [9], [14, 12])

    for _ in range(4):
        log.read(server)

    assert (len(log.entries), log.lost) == (5, 3)


def a_program(names, played, *, seed=1):
    def acts(name):
        def act(stage, size):
            played.append(name)
            yield []

        return act

    attacks = [Attack(name, acts(name), (10, 1)) for name in names]
    caller = SimpleNamespace(ask_all=lambda asks: [])
    return Program(attacks, [caller, caller], None, random.Random(seed), 1, is_short=True)


def test_each_attack_comes_once_before_one_comes_again_in_an_order_of_the_seed(monkeypatch):
    moments = iter(range(1000))
    monkeypatch.setattr("tests.bench.program.time.monotonic", lambda: next(moments) / 10)
    programs = [a_program("abcde", [], seed=seed) for seed in (1, 1, 2)]

    for program in programs:
        program.run(2)

    first, same, other = (program.played[:10] for program in programs)
    assert set(first[:5]) == set(first[5:10]) == set("abcde")
    assert first == same != other


def test_attacks_that_have_begun_are_played_to_their_end():
    played = []
    program = a_program("abc", played)

    program.run(0.01)

    assert len(program.played) >= AT_ONCE and Counter(played) == Counter(program.played)


def an_outcome(*slow, wide=()):
    watch = Watch({"hand_offs": [2.0]}, {"p50": 0.1, "p99": 0.2, "max": 3.0})
    return Outcome(watch, watch, slow, set(wide), {TASKS + 4}, ["a family", "a line"], 60, 6, Counter(), 100, 7, [], [])


def test_longest_script_is_that_of_runs_with_few_machines_or_of_those_with_many():
    short, wide = Slow("join", TASKS + 3, 40.0, 0, 5), Slow("carry_on", 0, 80.0, 0, 7)
    of_wide_task = Slow("observe", TASKS + 4, 60.0, 0, 5)
    outcome = an_outcome(short, wide, of_wide_task, wide={7})

    assert (outcome.longest(is_wide=False), outcome.longest(is_wide=True)) == (40.0, 80.0)
    assert outcome.is_wide(of_wide_task)


@pytest.mark.parametrize(
    ("number", "name"),
    [(TASKS, "a family"), (2 * TASKS + 9, "a line"), (17, "honest steps"), (0, "(what is left, the sweep)")],
)
def test_script_was_run_for_the_attack_that_its_task_belongs_to(number, name):
    assert an_outcome().attack_of(Slow("join", number, 40.0, 0, 5)) == name
