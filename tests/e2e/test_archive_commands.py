"""The archive with real processes: a worker moves old days into files, and commands and calls read on in them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from app.coordination.board import Board
from app.domain.run import RunRequest
from tests.conftest import Clock, Service, eventually
from tests.e2e.test_cli import Cli


@pytest.fixture
def service(board: Board, clock: Clock, make_service: Callable[..., Service]) -> Service:
    """One whose board has two days that are old and one that is not."""
    # Opening the board has made it know of now.
    board.client.hdel(board.keys.counters, "stamp")
    clock.advance(timedelta(days=-200))
    for number, days in enumerate((1, 199, 0)):
        run = RunRequest(f"ServerTasks-{number}", {"project": {"id": "Projects-7"}})
        board.join(run, {"Machines-7"})
        board.release(run.task_id)
        clock.advance(timedelta(days=days))
    return make_service()


@pytest.fixture
def octowait(service: Service, tmp_path: Path) -> Cli:
    cli = Cli(service, "http", tmp_path)
    cli.env["OCTOWAIT_ARCHIVE_DIR"] = str(tmp_path / "data" / "archive")
    return cli


@pytest.fixture
def worker(service: Service) -> Iterator[None]:
    process = service.spawn("worker")
    yield
    process.terminate()
    process.wait(20)


def test_old_days_are_archived_read_and_verified(service: Service, octowait: Cli, board: Board, worker: None) -> None:
    before = octowait("timeline", "--format", "ndjson")

    assert octowait("archive") == "a worker archives what is older than the retention\n"
    days = eventually(lambda: len(found := service.call("GET", "/api/archive")[1]["days"]) == 2 and found, timeout=30)
    eventually(lambda: board.client.xlen(board.keys.timeline) == 3)

    assert octowait("timeline", "--format", "ndjson") == before
    assert len(json.loads(octowait("timeline", "--json", "--kind", "granted"))["records"]) == 3
    assert [r["kind"] for r in json.loads(octowait("timeline", "--json", "--task", "ServerTasks-0"))["records"]] == [
        "joined", "granted", "released",
    ]  # fmt: skip
    assert "ServerTasks-1" in octowait("timeline", "--until", "150d", "--project", "Projects-7")
    verified = octowait("timeline", "verify")
    assert verified == f"2 files, 6 records, last hash {days[-1]['hash']}: nothing was changed\n"


def test_what_was_done_to_the_files_is_found(service: Service, octowait: Cli, worker: None) -> None:
    octowait("archive")
    days = eventually(lambda: len(found := service.call("GET", "/api/archive")[1]["days"]) == 2 and found, timeout=30)
    eventually(lambda: service.call("GET", "/api/archive")[1]["head"] == days[-1])
    first, last = (Path(octowait.env["OCTOWAIT_ARCHIVE_DIR"], f"{day['day']}.ndjson.gz") for day in days)

    last.unlink()
    last.with_name(f"{days[-1]['day']}.json").unlink()

    assert octowait("timeline", "verify", str(first)).endswith("nothing was changed\n")
    process = octowait.start("timeline", "verify", "--json")
    found = json.loads(process.communicate(timeout=30)[0])
    assert process.returncode == 1
    assert found["findings"] == [
        f"{days[-1]['day']}: the archive ended with this day and record 6, now with record 3",
    ]


def test_lost_files_are_told_by_the_timeline_when_a_new_chain_begins(
    service: Service, octowait: Cli, worker: None
) -> None:
    octowait("archive")
    head = eventually(lambda: service.call("GET", "/api/archive")[1]["head"], timeout=30)

    octowait("archive", "--begin-anew")

    [record] = json.loads(octowait("timeline", "--json", "--kind", "archive_lost"))["records"]
    assert record["detail"]["by"] == "test"
    assert service.call("GET", "/api/archive")[1]["days"][0]["day"] <= head["day"]
