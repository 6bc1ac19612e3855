"""What the timeline has kept long enough goes to files, is read from there as before, and is trimmed only then."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from app.domain.analysis.replay import Wait
from app.domain.records import Filter, order_of
from app.domain.run import RunRequest
from app.followers.learner import Learner
from app.history.archive.files import Archive
from app.history.archive.retention import Retention
from app.history.archive.verify import verify_directory, verify_files
from app.history.intervals import Past
from app.history.timeline import Timeline
from app.jobs import ARCHIVE, queues_of
from app.octopus.client import OctopusClient
from app.store.connection import connect
from app.store.errors import ArchiveError
from tests.conftest import ROOT, services_on
from workers.archive import archive_due
from workers.context import Context
from workers.schedule import entries

KEEP = timedelta(days=90)

FILTERS = [
    {}, {"machine_id": "machines-7"}, {"machine_id": "Machines-8"}, {"task_id": "SERVERTASKS-2"},
    {"project_id": "Projects-1"}, {"environment_id": "environments-1"}, {"kind": "granted"},
    {"kind": "granted", "machine_id": "Machines-7"}, {"machine_id": "Machines-404"}, {"task_id": "ServerTasks-404"},
]  # fmt: skip


def a_day(board, number):
    """Two runs one after the other on a machine of both, and an operator."""
    info = {"project": {"id": f"Projects-{number % 2}"}, "environment": {"id": f"Environments-{number % 2}"}}
    first, second = RunRequest(f"ServerTasks-{2 * number}", info), RunRequest(f"ServerTasks-{2 * number + 1}", info)
    board.join(first, {"Machines-7", "Machines-8"})
    board.join(second, {"Machines-7"})
    board.release(first.task_id, reason='he said "enough"')
    board.release(second.task_id)
    board.reserve("Machines-9", note="disk – swap", by="ann")


@pytest.fixture
def past(board, clock):
    """Three days that are old, with a day between two of them, and one that is not: when that began."""
    for number, days in enumerate((1, 2, 120)):
        a_day(board, number)
        clock.advance(timedelta(days=days))
    young_ms = clock.now_ms
    a_day(board, 3)
    return young_ms


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path / "archive")


@pytest.fixture
def retention(board, archive):
    return Retention(board.client, board.keys, archive, KEEP)


@pytest.fixture
def timeline(board, archive):
    return Timeline(board.client, board.keys, archive)


def move_all(retention, clock):
    days = []
    while day := retention.step(clock.now_ms):
        days.append(day)
    return days


def everything(timeline):
    return {str(one): list(timeline.lines(Filter(**one))) for one in FILTERS}


def pages(timeline, wanted, limit):
    cursor, found = None, []
    while True:
        page, cursor = timeline.page(wanted, limit=limit, after=cursor)
        assert len(page) <= limit
        found += page
        if cursor is None:
            return found


def test_old_days_are_moved_and_the_young_one_stays(past, board, clock, retention, archive):
    assert retention.is_due(clock.now_ms)

    days = move_all(retention, clock)

    assert [day.count for day in days] == [7, 7, 7]
    assert [day.day for day in days] == [manifest.day for manifest in archive.manifests()]
    assert not retention.is_due(clock.now_ms)
    left = board.client.xrange(board.keys.timeline)
    assert len(left) >= 7 and all(int(stamp.split(b"-")[0]) >= past for stamp, _ in left)


def test_everything_is_read_as_before(past, clock, retention, timeline):
    before = everything(timeline)
    rows = list(timeline.rows(Filter()))

    move_all(retention, clock)

    assert everything(timeline) == before
    assert list(timeline.rows(Filter())) == rows
    assert all(len(before[str(one)]) > 0 for one in FILTERS[:8])


@pytest.mark.parametrize("limit", [1, 4, 7, 8, 100])
@pytest.mark.parametrize("wanted", FILTERS[:7], ids=str)
def test_pages_go_from_the_files_on_into_redis(past, clock, retention, timeline, wanted, limit):
    records = list(timeline.read(Filter(**wanted)))

    move_all(retention, clock)

    assert pages(timeline, Filter(**wanted), limit) == records


def test_times_bound_what_is_read_from_files(past, clock, retention, timeline):
    moments = [record.at_ms for record in timeline.read(Filter())]
    spans = [(a, b) for a in moments[::4] for b in moments[::4] if a < b]
    before = [list(timeline.read(Filter(from_ms=a, to_ms=b))) for a, b in spans]

    move_all(retention, clock)

    assert [list(timeline.read(Filter(from_ms=a, to_ms=b))) for a, b in spans] == before


@pytest.mark.parametrize("checkpoint_every", [None, 4])
def test_waits_and_holds_are_told_of_what_is_in_files(board, clock, retention, archive, timeline, checkpoint_every):
    for _ in range(4):
        a_day(board, 0)
        # A wait over midnight, which ends in another file than it began in.
        board.join(RunRequest("ServerTasks-8"), {"Machines-7"})
        board.join(RunRequest("ServerTasks-9"), {"Machines-7"}, ttl=timedelta(days=9))
        clock.advance(timedelta(days=1))
        board.release("ServerTasks-8")
        board.release("ServerTasks-9")
    clock.advance(timedelta(days=89))
    a_day(board, 1)
    if checkpoint_every:
        Learner(board.client, board.keys, checkpoint_every=checkpoint_every).learn()
    whole = Past(board.client, board.keys, archive)
    moments = [record.at_ms for record in timeline.read(Filter())][::7] + [clock.now_ms + 1]
    spans = [(a, b) for a in moments for b in moments if a < b]
    before = [list(whole.intervals(from_ms=a, to_ms=b)) for a, b in spans]
    began_ms = whole.begin_ms()

    assert len(move_all(retention, clock)) >= 2

    assert [list(whole.intervals(from_ms=a, to_ms=b)) for a, b in spans] == before
    assert whole.begin_ms() == began_ms == moments[0]
    assert sum(told.lost_ms for told in before[3] if isinstance(told, Wait)) > 86_400_000


def test_process_without_the_files_knows_what_it_does_not_show(past, clock, retention, timeline, board, tmp_path):
    move_all(retention, clock)
    elsewhere = Timeline(board.client, board.keys, Archive(tmp_path / "elsewhere"))

    assert timeline.unread_until_ms() is None
    last = int(retention.head().last_id.partition("-")[0])
    assert (elsewhere.unread_until_ms(), Timeline(board.client, board.keys).unread_until_ms()) == (last, last)


def learn(board, every=4):
    learner = Learner(board.client, board.keys, checkpoint_every=every)
    while learner.learn():
        pass


def test_past_is_told_from_the_files_as_before(past, board, clock, retention, archive):
    learn(board)
    there, now_ms = Past(board.client, board.keys, archive), clock.now_ms

    def story():
        return [
            there.begin_ms(), list(there.intervals(from_ms=0, to_ms=now_ms)),
            there.waits_of("ServerTasks-1", now_ms=now_ms),
            list(there.intervals(from_ms=past - 130 * 86_400_000, to_ms=now_ms)),
        ]  # fmt: skip

    before = story()
    move_all(retention, clock)

    assert story() == before
    assert all(before)


def test_past_without_the_files_begins_behind_them(past, board, clock, retention, timeline):
    learn(board, every=10)
    now_ms = clock.now_ms
    whole = list(Past(board.client, board.keys).intervals(from_ms=past, to_ms=now_ms))
    moments = {record.at_ms + 1 for record in timeline.read(Filter())}
    move_all(retention, clock)

    rest = Past(board.client, board.keys)

    assert rest.begin_ms() >= past > order_of(retention.head().last_id)[0]
    assert whole
    for moment in (moment for moment in moments if moment < past):
        assert list(rest.intervals(from_ms=moment, to_ms=now_ms)) == whole


def test_newest_of_a_run_are_read_from_files_too(past, clock, retention, timeline):
    before = timeline.newest(Filter(task_id="ServerTasks-1"), limit=2)

    move_all(retention, clock)

    assert timeline.newest(Filter(task_id="ServerTasks-1"), limit=2) == before
    assert len(before) == 2


def test_indexes_are_trimmed_with_the_stream(past, board, clock, retention):
    move_all(retention, clock)

    for kind, name in (("machine", "Machines-7"), ("project", "Projects-1"), ("environment", "Environments-1")):
        left = board.client.xrange(board.keys.index(kind, name))
        assert left and all(int(stamp.split(b"-")[0]) >= past for stamp, _ in left)
    # Nobody used it on the day that is left.
    assert not board.client.exists(board.keys.index("project", "Projects-0"))


def test_a_read_that_began_before_misses_nothing_and_doubles_nothing(past, clock, retention, timeline):
    expected = list(timeline.read(Filter()))
    reading = timeline.read(Filter())
    some = [next(reading)]

    move_all(retention, clock)

    assert some + list(reading) == expected


def test_page_that_began_in_redis_goes_on_in_the_files(past, clock, retention, timeline):
    expected = list(timeline.read(Filter(machine_id="Machines-7")))
    page, cursor = timeline.page(Filter(machine_id="Machines-7"), limit=3)

    move_all(retention, clock)

    rest, _ = timeline.page(Filter(machine_id="Machines-7"), limit=100, after=cursor)
    assert page + rest == expected


class Killed(BaseException):
    """The process ends here."""


def dying_after(client, commands):
    """Let *client* die with its so-manieth command, those of its transactions and the ends of these among them."""
    left = [commands]

    def dying(call):
        def command(*args, **options):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return call(*args, **options)

        return command

    def pipeline(*args, **options):
        made = type(client).pipeline(client, *args, **options)
        made.immediate_execute_command, made.execute = dying(made.immediate_execute_command), dying(made.execute)
        return made

    client.execute_command, client.pipeline = dying(client.execute_command), pipeline
    return client


def test_whoever_is_killed_wherever_loses_nothing_and_doubles_nothing(past, board, clock, redis_url, archive, timeline):
    expected = everything(timeline)
    for commands in range(1, 200):
        client = dying_after(connect(redis_url), commands)
        try:
            move_all(Retention(client, board.keys, Archive(archive.directory), KEEP), clock)
            died = False
        except Killed:
            died = True
        del client.execute_command, client.pipeline
        client.close()
        assert everything(timeline) == expected, commands
        if not died:
            break

    assert not died and commands > 8
    assert verify_directory(archive.directory, None).findings == []
    assert [day.count for day in archive.manifests()] == [7, 7, 7]


def test_file_without_its_manifest_is_written_again(past, clock, retention, archive, timeline):
    expected = everything(timeline)
    retention._write(retention._first())
    [day] = archive.manifests()
    (archive.directory / f"{day.day}.json").unlink()
    archive.path(day.day).write_bytes(b"half of it")

    move_all(retention, clock)

    assert everything(timeline) == expected
    assert verify_directory(archive.directory, retention.head()).findings == []


def test_two_at_once_do_no_harm(past, board, clock, archive, timeline, redis_url):
    expected, ready = everything(timeline), threading.Barrier(2)

    def work():
        client = connect(redis_url)
        ready.wait(10)
        move_all(Retention(client, board.keys, Archive(archive.directory), KEEP), clock)
        client.close()

    with ThreadPoolExecutor(2) as pool:
        for worker in [pool.submit(work) for _ in range(2)]:
            worker.result(30)

    assert everything(timeline) == expected
    assert verify_directory(archive.directory, None).findings == []
    assert [day.count for day in archive.manifests()] == [7, 7, 7]


def test_second_who_has_read_a_stream_that_was_trimmed_leaves_the_file_of_the_first(past, board, clock, retention):
    """The second reads the first record, is paused, and goes on when the first has written and trimmed that day."""
    second = Retention(board.client, board.keys, Archive(retention._archive.directory), KEEP)
    first_id = second._first()
    day = retention.step(clock.now_ms)

    late = second._archive.write(day.day, iter([(first_id, '{"id":"' + first_id + '"}')]))

    assert late == day
    assert verify_directory(retention._archive.directory, day).findings == []


def test_nothing_is_trimmed_when_the_file_is_not_what_was_written(past, board, clock, retention, archive):
    day = retention._write(retention._first())
    change(archive.path(day.day), lambda lines: [*lines[:4], lines[4].replace("granted", "Granted"), *lines[5:]])
    before = board.client.xlen(board.keys.timeline)

    with pytest.raises(ArchiveError, match="nothing was trimmed"):
        retention.step(clock.now_ms)

    assert board.client.xlen(board.keys.timeline) == before


def test_nothing_is_written_elsewhere_when_the_directory_is_another_one(past, board, clock, retention, archive):
    retention.step(clock.now_ms)
    shutil.move(archive.directory, archive.directory.with_name("elsewhere"))

    with pytest.raises(ArchiveError, match="expected OCTOWAIT_ARCHIVE_DIR to be where it was written"):
        retention.step(clock.now_ms)

    retention.begin_anew()
    assert retention.step(clock.now_ms).first_seq == 1


def test_record_that_comes_after_its_day_was_archived_stops_the_archive(past, board, clock, retention):
    """A clock that was ahead, and a loss of Redis: the worker must not try again and again without an end."""
    day = retention.step(clock.now_ms)
    ms = int(day.last_id.partition("-")[0])
    board.client.delete(board.keys.timeline)
    board.client.xadd(board.keys.timeline, {"kind": "joined"}, id=f"{ms + 1}-0")

    with pytest.raises(ArchiveError, match="was written before"):
        retention.step(clock.now_ms)


# The chain


@pytest.fixture
def files(past, clock, retention, archive):
    move_all(retention, clock)
    return [archive.path(day.day) for day in archive.manifests()]


def change(path, how):
    """Write the lines of a file anew."""
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    path.write_bytes(gzip.compress("".join(line + "\n" for line in how(lines)).encode()))


def found(files, retention):
    return verify_directory(files[0].parent, retention.head()).findings


def test_untouched_archive_has_no_findings(files, retention):
    verified = verify_directory(files[0].parent, retention.head())

    assert (verified.files, verified.records, verified.findings) == (3, 21, [])
    assert verified.end.hash == retention.head().hash
    assert verify_files(files[1:]).findings == []


def test_changed_record_is_found(files, retention):
    day = files[1].name[:10]
    change(files[1], lambda lines: [*lines[:4], lines[4].replace("granted", "grAnted"), *lines[5:]])
    changed = json.loads(gzip.decompress(files[1].read_bytes()).splitlines()[4])["id"]

    assert found(files, retention) == [
        f"{day}: record {changed} (line 5): was changed, or the hash of the record before it"
    ]


def test_missing_record_is_found(files, retention):
    change(files[1], lambda lines: [*lines[:4], *lines[5:]])

    [finding] = found(files, retention)
    assert "record 12 is missing between record" in finding and finding.startswith(files[1].name[:10])


def test_moved_record_is_found(files, retention):
    change(files[1], lambda lines: [*lines[:4], lines[5], lines[4], *lines[6:]])

    [finding] = found(files, retention)
    assert finding.endswith("(line 6): is out of order")


def test_file_that_was_cut_off_is_found(files, retention):
    files[2].write_bytes(files[2].read_bytes()[:-40])

    cut, missing = found(files, retention)
    assert f"{files[2].name} is damaged or cut off" in cut
    assert "are missing" in missing


@pytest.mark.parametrize("at", [0, 1, 2])
def test_missing_file_is_found(files, retention, at):
    files[at].unlink()

    assert found(files, retention) == [f"{files[at].name[:10]}: {files[at].name} is missing"]


@pytest.mark.parametrize(
    ("at", "finding"),
    [(0, "older files are missing, with the records 1 to 7"), (1, "a file is missing between"),
     (2, "the archive ended with this day and record 21, now with record 14")],
)  # fmt: skip
def test_day_that_is_missing_with_its_manifest_is_found(files, retention, at, finding):
    files[at].unlink()
    files[at].with_name(files[at].name[:10] + ".json").unlink()

    assert len(found(files, retention)) == 1
    assert finding in found(files, retention)[0]


def test_missing_manifest_is_found(files, retention):
    files[1].with_name(files[1].name[:10] + ".json").unlink()

    assert f"{files[1].name[:10]}: {files[1].name[:10]}.json is missing" in found(files, retention)


@pytest.mark.parametrize("field", ["first_id", "last_id", "day"])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_manifest_that_hides_the_records_of_its_file_is_found(files, retention, at, field):
    """Who reads looks there only to know whether a file can have what is asked for."""
    path = files[at].with_name(files[at].name[:10] + ".json")
    manifest = json.loads(path.read_text())
    other = json.loads(files[at - 1].with_name(files[at - 1].name[:10] + ".json").read_text())
    path.write_text(json.dumps({**manifest, field: other[field]}))

    assert any(finding.startswith(files[at].name[:10]) for finding in found(files, retention))


@pytest.mark.parametrize("at", [1, 2])
def test_file_that_was_written_anew_with_a_chain_of_its_own_is_found(files, retention, tmp_path, at):
    archive = Archive(tmp_path / "forged")
    archive.directory.mkdir()
    for file in files[:at]:
        shutil.copy(file, archive.directory)
        shutil.copy(file.with_name(file.name[:10] + ".json"), archive.directory)
    lines = [json.loads(line) for line in gzip.decompress(files[at].read_bytes()).splitlines()]
    del lines[3]
    bodies = [(one["id"], json.dumps({k: v for k, v in one.items() if k not in ("seq", "chain")})) for one in lines]
    archive.write(files[at].name[:10], bodies)
    shutil.copytree(archive.directory, files[0].parent, dirs_exist_ok=True)

    assert found(files, retention)


_TURNS = """
import gevent.monkey
gevent.monkey.patch_all()
import sys, time, gevent
from pathlib import Path
from app.history.archive.files import Archive
from app.store.connection import connect
from app.store.keys import Keys
from app.domain.records import Filter
from app.history.timeline import Timeline

turns = 0

def other():
    global turns
    while True:
        turns += 1
        time.sleep(0)

timeline = Timeline(connect(sys.argv[1]), Keys("nobody"), Archive(Path(sys.argv[2])))
timeline.last_id()
gevent.spawn(other)
assert list(timeline.lines(Filter(kind=sys.argv[3]))) == []
print(turns)
"""


def test_others_have_their_turn_while_files_are_searched_in_vain(redis_url, archive):
    """A web process that reads years of files must not keep a waiter's poll for so long that it counts as dead."""
    lines = ((f"{number}-0", f'{{"id":"{number}-0","kind":"joined","task_id":null}}') for number in range(1, 50_001))
    archive.write("1970-01-01", lines)

    turns = subprocess.check_output(
        [sys.executable, "-c", _TURNS, redis_url, str(archive.directory), "granted"], cwd=ROOT, timeout=60
    )

    assert int(turns) >= 90


def test_damaged_file_is_left_out_of_what_is_read(files, timeline):
    files[1].write_bytes(b"nothing of it")
    kinds = [record.kind for record in timeline.read(Filter())]

    assert kinds.count("joined") == 6
    assert kinds[-1] == "reserved"


def test_unreadable_manifest_is_left_out_of_what_is_read_and_found(files, timeline, retention):
    day = files[1].name[:10]
    files[1].with_name(f"{day}.json").write_text('{"day": 1}')

    assert [record.kind for record in timeline.read(Filter())].count("joined") == 6
    assert any(f"{day}.json is no manifest" in finding for finding in found(files, retention))


# The job


@pytest.fixture
def context(board, redis_url, tmp_path):
    services = services_on(board, redis_url, archive_dir=tmp_path / "archive")
    octopus: OctopusClient | None = None
    return Context(services, octopus)


def test_job_archives_all_that_is_old_enough(past, context, archive, clock):
    assert not archive_due(context)

    assert [day.count for day in archive.manifests()] == [7, 7, 7]


def test_job_that_runs_out_of_time_says_that_there_is_more(past, context, archive):
    assert archive_due(context, seconds=0)
    assert len(archive.manifests()) == 1


def test_job_does_nothing_while_another_worker_archives(past, context, board, archive):
    board.client.set(board.keys.named("archiving"), "another", px=60_000)

    assert not archive_due(context)
    assert archive.manifests() == ()


def test_scheduler_asks_for_it_when_a_day_is_old_enough_even_without_an_api_key(past, context, board):
    [entry] = [entry for entry in entries(context.services) if entry.name == "archive"]
    queue = queues_of(board.client, context.settings)[1]

    entry.do()
    assert [job_id.rpartition("-")[0].rpartition("-")[2] for job_id in queue.job_ids] == [ARCHIVE.name]

    queue.empty()
    archive_due(context)
    entry.do()
    assert queue.count == 0


def test_files_are_for_their_owner_alone(past, clock, retention, archive):
    before = os.umask(0)
    try:
        move_all(retention, clock)
    finally:
        os.umask(before)

    modes = {path.name: path.stat().st_mode & 0o777 for path in archive.directory.iterdir()}
    assert modes and set(modes.values()) == {0o600}
