"""How often a run may be told that it still waits."""

from app.web.polls.pace import MOST_RUNS, Pace


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_run_is_told_again_when_a_second_is_over() -> None:
    clock = Clock()
    pace = Pace(clock)
    assert pace.left("ServerTasks-1") == 0

    pace.note("ServerTasks-1")
    clock.now += 0.25

    assert pace.left("SERVERTASKS-1") == 0.75
    assert pace.left("ServerTasks-2") == 0
    clock.now += 0.75
    assert pace.left("ServerTasks-1") == 0


def test_runs_that_were_told_long_ago_are_forgotten() -> None:
    clock = Clock()
    pace = Pace(clock)
    for number in range(50):
        pace.note(f"ServerTasks-{number}")
        clock.now += 0.1

    assert len(pace) <= 11


def test_no_number_of_runs_takes_more_than_some_memory() -> None:
    pace = Pace(Clock())

    for number in range(MOST_RUNS + 500):
        pace.note(f"ServerTasks-{number}")

    assert len(pace) == MOST_RUNS
    assert pace.left(f"ServerTasks-{MOST_RUNS + 499}") == 1.0
