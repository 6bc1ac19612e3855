import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from app.domain.records import Filter
from app.domain.run import RunRequest
from app.history.timeline import MOST_SCANNED
from app.store.connection import connect

MANY = MOST_SCANNED + 3_000


@pytest.fixture
def history(board, clock):
    """Two runs of two projects on two machines, ten minutes apart; when the second came."""
    web = {"project": {"id": "Projects-1"}, "environment": {"id": "Environments-1"}}
    board.join(RunRequest("ServerTasks-1", web), {"Machines-7", "Machines-8"})
    clock.advance(timedelta(minutes=10))
    second_ms = clock.now_ms
    board.join(RunRequest("ServerTasks-2", {"project": {"id": "Projects-2"}}), {"Machines-7"})
    board.reserve("Machines-9", note="disk", by="ann")
    board.release("ServerTasks-1", by="ann", reason="stuck")
    return second_ms


@pytest.fixture
def many(board):
    """More records than one page looks at, in the shape the scripts write; the last is the only one of its kind."""
    with board.client.pipeline(transaction=False) as pipe:
        for number in range(MANY):
            kind = "rare" if number == MANY - 1 else "joined"
            fields = {"kind": kind, "task": f"ServerTasks-{number}", "run": 1, "machines": "Machines-7"}
            pipe.xadd(board.keys.timeline, {**fields, "detail": '{"priority":1}'}, id=f"{number + 1}-0")
            pipe.xadd(board.keys.index("machine", "Machines-7"), {"": ""}, id=f"{number + 1}-0")
        pipe.execute()


def told(records):
    return [(record.kind, record.task_id) for record in records]


def test_everything_is_read_oldest_first(history, timeline):
    records = list(timeline.read(Filter()))

    assert told(records) == [
        ("joined", "ServerTasks-1"), ("granted", "ServerTasks-1"), ("joined", "ServerTasks-2"), ("reserved", None),
        ("released", "ServerTasks-1"), ("granted", "ServerTasks-2"),
    ]  # fmt: skip
    assert [record.at_ms for record in records] == sorted(record.at_ms for record in records)


@pytest.mark.parametrize("others", [0, 100])
@pytest.mark.parametrize(
    ("wanted", "kinds"),
    [
        ({"task_id": "ServerTasks-1"}, ["joined", "granted", "released"]),
        ({"task_id": "SERVERTASKS-1"}, ["joined", "granted", "released"]),
        ({"machine_id": "Machines-8"}, ["joined", "granted", "released"]),
        ({"machine_id": "machines-9"}, ["reserved"]),
        ({"machine_id": "Machines-7", "task_id": "ServerTasks-2"}, ["joined", "granted"]),
        ({"machine_id": "Machines-8", "task_id": "ServerTasks-2"}, []),
        ({"project_id": "projects-2"}, ["joined", "granted"]),
        ({"project_id": "Projects-1", "machine_id": "Machines-7"}, ["joined", "granted", "released"]),
        ({"kind": "granted"}, ["granted", "granted"]),
        ({"kind": "granted", "machine_id": "Machines-8"}, ["granted"]),
        ({"machine_id": "Machines-404"}, []),
        ({"to_ms": 0}, []),
        ({"from_ms": 0, "to_ms": 1}, []),
        ({"from_ms": -5, "kind": "reserved"}, ["reserved"]),
    ],
)
def test_filters_must_all_agree(history, board, timeline, wanted, kinds, others):
    for _ in range(others):
        board.client.xadd(board.keys.timeline, {"kind": "event", "task": "ServerTasks-3", "machines": "Machines-3"})

    assert [record.kind for record in timeline.read(Filter(**wanted))] == kinds


@pytest.mark.parametrize("source", [{}, {"machine_id": "Machines-7"}])
def test_from_is_inclusive_and_to_is_exclusive(history, timeline, source):
    everything = list(timeline.read(Filter(**source)))
    moment = next(record.at_ms for record in everything if record.at_ms >= history)

    before = list(timeline.read(Filter(to_ms=moment, **source)))
    after = list(timeline.read(Filter(from_ms=moment, **source)))

    assert told(before) == [("joined", "ServerTasks-1"), ("granted", "ServerTasks-1")]
    assert before + after == everything


def test_record_carries_what_happened(history, timeline):
    [record] = timeline.read(Filter(kind="released"))

    assert record.machines == ("Machines-7", "Machines-8")
    assert (record.project_id, record.environment_id) == ("Projects-1", "Environments-1")
    assert (record.cause, record.run) == ("step", 1)
    assert record.detail["by"] == "ann"
    assert record.detail["held_ms"] >= 600_000


@pytest.mark.parametrize("limit", [1, 2, 5, 6, 7, 100])
@pytest.mark.parametrize("source", [{}, {"machine_id": "Machines-7"}, {"kind": "granted"}])
def test_pages_cover_everything_once(history, timeline, limit, source):
    wanted, cursor, pages = Filter(**source), None, []
    while True:
        page, cursor = timeline.page(wanted, limit=limit, after=cursor)
        pages.append(page)
        if cursor is None:
            break

    assert [record for page in pages for record in page] == list(timeline.read(wanted))
    assert all(len(page) <= limit for page in pages)
    assert len(pages) <= len(list(timeline.read(Filter()))) // limit + 1


def test_what_is_written_between_two_pages_is_on_the_next(history, board, timeline):
    _, cursor = timeline.page(Filter(), limit=5)
    board.release("ServerTasks-2")

    page, end = timeline.page(Filter(), limit=5, after=cursor)

    assert told(page) == [("granted", "ServerTasks-2"), ("released", "ServerTasks-2")]
    assert end is None


@pytest.mark.parametrize("source", [{}, {"machine_id": "Machines-7"}])
def test_reading_many_covers_all_across_chunks(many, timeline, source):
    assert [r.at_ms for r in timeline.read(Filter(**source))] == list(range(1, MANY + 1))


def test_page_of_a_rare_kind_ends_early_and_goes_on(many, timeline):
    first, cursor = timeline.page(Filter(kind="rare"), limit=10)
    second, end = timeline.page(Filter(kind="rare"), limit=10, after=cursor)

    assert (first, cursor) == ([], f"{MOST_SCANNED}-0")
    assert ([record.kind for record in second], end) == (["rare"], None)


@pytest.mark.parametrize("source", [{}, {"machine_id": "Machines-7"}])
def test_many_records_are_streamed_at_constant_memory(many, timeline, source):
    def peak(wanted):
        tracemalloc.start()
        number = sum(1 for _ in timeline.read(wanted))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return number, most

    few, most_of_few = peak(Filter(to_ms=2_001, **source))
    everything, most_of_all = peak(Filter(**source))

    assert (few, everything) == (2_000, MANY)
    assert most_of_all < 1.5 * most_of_few


def test_newest_are_the_last_of_one_machine_oldest_first(history, timeline):
    assert told(timeline.newest(Filter(machine_id="MACHINES-7"), limit=2)) == [
        ("released", "ServerTasks-1"), ("granted", "ServerTasks-2"),
    ]  # fmt: skip
    assert told(timeline.newest(Filter(task_id="ServerTasks-2"), limit=10)) == [
        ("joined", "ServerTasks-2"), ("granted", "ServerTasks-2"),
    ]  # fmt: skip


def test_trimmed_records_are_left_out(history, board, timeline):
    board.client.xtrim(board.keys.timeline, maxlen=2, approximate=False)

    assert told(timeline.read(Filter(machine_id="Machines-7"))) == [
        ("released", "ServerTasks-1"), ("granted", "ServerTasks-2"),
    ]  # fmt: skip
    assert told(timeline.newest(Filter(task_id="ServerTasks-1"), limit=10)) == [("released", "ServerTasks-1")]


def test_last_id_is_that_of_the_newest(board, timeline, a_run):
    assert timeline.last_id() == "0-0"

    board.join(a_run(), {"Machines-7"})

    assert timeline.last_id() == list(timeline.read(Filter()))[-1].id


def test_following_returns_what_came_behind(history, board, timeline):
    everything = list(timeline.read(Filter()))

    assert timeline.follow(board.client, "0-0", block_ms=1) == everything
    assert timeline.follow(board.client, everything[2].id, block_ms=1) == everything[3:]
    assert timeline.follow(board.client, timeline.last_id(), block_ms=1) == []


def test_following_wakes_with_the_next_record(history, board, timeline, redis_url):
    blocking, last, is_about_to_block = connect(redis_url, blocking=True), timeline.last_id(), threading.Event()

    def follow():
        is_about_to_block.set()
        return timeline.follow(blocking, last, block_ms=30_000)

    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(follow)
        is_about_to_block.wait(10)
        board.release("ServerTasks-2")
        records = following.result(20)

    blocking.close()
    assert told(records) == [("released", "ServerTasks-2")]


def test_a_page_of_runs_for_very_many_machines_is_short_and_goes_on(history, timeline, monkeypatch):
    monkeypatch.setattr("app.history.timeline.MOST_MACHINES", 2)
    everything = list(timeline.read(Filter()))
    pages, cursor = [], None
    while not pages or cursor:
        page, cursor = timeline.page(Filter(), limit=100, after=cursor)
        pages.append(page)

    assert [record for page in pages for record in page] == everything
    assert all(sum(len(record.machines) for record in page[:-1]) <= 2 for page in pages) and len(pages) > 1
