from datetime import UTC, datetime

import pytest

from app.domain.analysis.fronts import Reason, Stretch
from app.domain.analysis.ledger import By, Ledger, week_of
from app.domain.analysis.replay import Hold, Wait

HOUR = 3_600_000


def ms(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def a_wait(*stretches, task=1, project="Projects-1", machines=("Machines-7",)):
    return Wait(
        f"ServerTasks-{task}", 1, machines, project, "Environments-1", stretches[0].from_ms, stretches[-1].to_ms,
        "granted", None, False, stretches,
    )  # fmt: skip


def a_stretch(from_ms, to_ms, *, machine="Machines-7", project="Projects-9", reason=Reason.HOLDER):
    return Stretch(from_ms, to_ms, reason, machine, "ServerTasks-99" if reason is Reason.HOLDER else None, project)


def rows(by, *told, **only):
    book = Ledger(by, from_ms=0, **only)
    for one in told:
        book.add(one)
    return book, [(row.key, row.waits, row.lost_ms) for row in book.rows()]


TWO_MACHINES = a_wait(a_stretch(0, 60), a_stretch(60, 100, machine="Machines-8", project="Projects-8"))


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        (By.MACHINE, [("Machines-7", 2, 70), ("Machines-8", 1, 40)]),
        (By.BLOCKER, [("Projects-9", 2, 70), ("Projects-8", 1, 40)]),
        (By.PROJECT, [("Projects-1", 1, 100), ("Projects-2", 1, 10)]),
        (By.ENVIRONMENT, [("Environments-1", 2, 110)]),
        (By.WEEK, [("1970-W01", 2, 110)]),
    ],
)
def test_groups_add_up_to_what_was_lost(by, expected):
    book, found = rows(by, TWO_MACHINES, a_wait(a_stretch(5, 15), task=2, project="Projects-2"))

    assert found == expected
    assert (book.total().waits, book.total().lost_ms) == (2, 110)


def test_what_no_run_was_to_blame_for_has_its_own_names():
    told = [a_wait(a_stretch(0, 9, reason=reason, project=None)) for reason in (Reason.RESERVATION, Reason.NOBODY)]

    assert rows(By.BLOCKER, *told)[1] == [("nobody", 1, 9), ("reservation", 1, 9)]


def test_a_wait_over_a_weekend_is_lost_in_both_weeks():
    begin, end = ms("2026-11-22T23:00:00"), ms("2026-11-23T02:00:00")

    assert rows(By.WEEK, a_wait(a_stretch(begin, end)))[1] == [("2026-W47", 1, HOUR), ("2026-W48", 1, 2 * HOUR)]
    assert week_of(ms("2027-01-01T00:00:00")) == "2026-W53"


def test_only_one_machine_or_project():
    other = a_wait(a_stretch(5, 15), task=2, project="Projects-2")

    assert rows(By.PROJECT, TWO_MACHINES, other, machine_id="machines-8")[1] == [("Projects-1", 1, 40)]
    assert rows(By.MACHINE, TWO_MACHINES, other, project_id="PROJECTS-2")[1] == [("Machines-7", 1, 10)]


def test_median_p90_and_worst():
    book, _ = rows(By.PROJECT, *(a_wait(a_stretch(0, 10 * number), task=number) for number in range(1, 12)))

    total = book.total()
    assert (total.median_ms, total.p90_ms, total.worst_ms) == (60, 100, 110)
    assert [wait.waited_ms for wait in book.longest()] == list(range(110, 10, -10))


def test_share_of_lead_time():
    hold = Hold("ServerTasks-1", 1, ("Machines-7",), "Projects-1", "Environments-1", 100, 400, "released", "step", 100)
    without_lease = hold._replace(task_id="ServerTasks-2", waited_ms=None)
    book, _ = rows(By.PROJECT, TWO_MACHINES, hold, without_lease)

    assert book.rows()[0].share == 0.25
    assert book.total().share == 0.25


def test_ids_in_another_letter_case_are_the_same_group():
    assert rows(By.MACHINE, a_wait(a_stretch(0, 1)), a_wait(a_stretch(0, 2, machine="MACHINES-7")))[1] == [
        ("Machines-7", 2, 3)
    ]


def test_nothing_lost_is_an_empty_ledger():
    book, found = rows(By.MACHINE)

    assert found == []
    assert (book.total().waits, book.total().share) == (0, None)
