"""A real worker runs the jobs of octowait, and nothing else that somebody puts into its queues."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from app.coordination.board import Board
from app.coordination.dead_letters import JobLog
from app.domain.records import Filter
from app.followers.notices import notice_of
from app.jobs import LEARN, enqueue, queues_of
from app.settings import Settings
from tests.conftest import ROOT, eventually

#: A module that shows that it was imported, and that its function was called.
FORGED = """
from pathlib import Path
Path(__file__).with_name("done").touch()
def run(*args, **kwargs):
    pass
"""

LEARN_DATA = ["workers.learn.run", None, [], {}]


class Pickled:
    """Runs a command where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self._path}",)


class Forger:
    """Puts jobs into Redis as whoever can write there."""

    def __init__(self, board: Board, directory: Path) -> None:
        self.board = board
        self.queue = queues_of(board.client, Settings(redis_url="redis://x", namespace=board.keys.namespace))[1]
        self.done = directory / "done"
        self.made = 0

    def put(self, data: Any, *, is_queued: bool = True, **fields: Any) -> str:
        self.made += 1
        job_id = f"forged-{self.board.keys.namespace}-{self.made}"
        raw = data if isinstance(data, bytes) else json.dumps(data).encode()
        whole = {"data": zlib.compress(raw), "created_at": "2026-11-23T11:35:03.000000Z", "origin": self.queue.name,
                 "status": "queued", **fields}  # fmt: skip
        self.board.client.hset(f"rq:job:{job_id}", mapping=whole)
        if is_queued:
            self.board.client.rpush(self.queue.key, job_id)
        return job_id


@pytest.fixture
def forger(board: Board, tmp_path: Path) -> Forger:
    (tmp_path / "forged.py").write_text(FORGED)
    return Forger(board, tmp_path)


@pytest.fixture
def work(board: Board, redis_url: str, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Starts a worker and awaits that it has done all there is, and a job of ours after it; what it said."""
    log = tmp_path / "worker.log"
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("OCTOWAIT_")},
        "PYTHONPATH": f"{ROOT}:{tmp_path}", "OCTOWAIT_REDIS_URL": redis_url,
        "OCTOWAIT_NAMESPACE": board.keys.namespace, "OCTOWAIT_DATA_DIR": str(tmp_path / "data"),
    }  # fmt: skip
    settings = Settings(redis_url=redis_url, namespace=board.keys.namespace)
    made: list[subprocess.Popen[bytes]] = []

    def start() -> str:
        with open(log, "wb") as file:
            made.append(subprocess.Popen([sys.executable, "-m", "app", "worker"], env=env, stdout=file, stderr=file))
        urgent, other = queues_of(board.client, settings)
        eventually(lambda: other.count + urgent.count == 0, timeout=30)
        learned = board.keys.named(f"{LEARN.name}-round")
        before = int(board.client.get(learned) or 0)
        eventually(lambda: enqueue(board.client, settings, LEARN))
        eventually(lambda: int(board.client.get(learned) or 0) > before and other.count == 0)
        made[-1].send_signal(signal.SIGTERM)
        assert made[-1].wait(20) == 0
        return log.read_text()

    yield start
    for process in made:
        if process.poll() is None:
            process.kill()
            process.wait(10)


def letters(board: Board) -> list[dict[str, Any]]:
    return JobLog(board.client, board.keys).all()


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (["os.system", None, ["touch {done}"], {}], "os.system"),
        (["forged.run", None, [], {}], "forged.run"),
        (["workers.learn.Path", None, [], {}], "workers.learn.Path"),
        (["workers.learn.run", None, ["touch {done}"], {}], "workers.learn.run"),
        (["workers.learn.run", None, [], {"secret": "{done}"}], "workers.learn.run"),
        (["run", {"py/object": "forged"}, [], {}], "run"),
        (["workers.learn.run", "forged", [], {}], "workers.learn.run"),
        (["workers.learn.run"], "workers.learn.run"),
        (["workers.refused.run", None, [], {}], "workers.refused.run"),
        ([], "names no function"),
        ({"func": "os.system"}, "names no function"),
        ([["os.system"], None, [], {}], "names no function"),
        (b"\xff\x00", "cannot be read"),
        (b"[" * 900, "cannot be read"),
        (b"x" * 100_000, "cannot be read"),
    ],
)
def test_what_is_no_job_of_ours_is_a_dead_letter_and_is_never_run(board, forger, work, asked, named):
    text = json.dumps(asked).replace("{done}", str(forger.done)) if not isinstance(asked, bytes) else asked
    job_id = forger.put(text.encode() if isinstance(text, str) else text)

    said = work()

    assert not forger.done.exists()
    assert said.count("a job was refused") == 1
    assert "Traceback" not in said and str(forger.done) not in said
    assert [letter["job"] for letter in letters(board)] == ["refused"]
    assert named in letters(board)[0]["error"]
    assert not board.client.exists(f"rq:job:{job_id}")


@pytest.mark.parametrize("name", ["success_callback_name", "failure_callback_name", "stopped_callback_name"])
@pytest.mark.parametrize("data", [LEARN_DATA, ["os.system", None, ["false"], {}]])
def test_no_callback_is_imported(forger, work, name, data):
    forger.put(data, **{name: "forged.run"})

    work()

    assert not forger.done.exists()


def test_nobody_is_told_of_a_job_by_http(forger, work, httpserver: HTTPServer):
    address = httpserver.url_for("/forged")
    hooks = [{"url": address, "job_status": status, "method": "POST"} for status in ("finished", "failed")]
    forger.put(LEARN_DATA, webhooks=json.dumps(hooks))
    forger.put(["os.system", None, ["false"], {}], webhooks=json.dumps(hooks))

    work()

    assert httpserver.log == []


@pytest.mark.parametrize("field", ["data", "meta", "result", "exc_info"])
def test_nothing_is_unpickled(board, forger, work, field):
    pickled = pickle.dumps(Pickled(forger.done))
    if field == "data":
        forger.put(pickled)
    else:
        forger.put(LEARN_DATA, **{field: pickled})

    work()

    assert not forger.done.exists()


def test_a_job_that_a_killed_worker_seems_to_have_left_calls_nothing_back(board, forger, work):
    job_id = forger.put(
        LEARN_DATA, is_queued=False, status="started", failure_callback_name="forged.run", retries_left=3,
    )  # fmt: skip
    board.client.zadd(f"rq:wip:{forger.queue.name}", {f"{job_id}:1": time.time() - 100})

    said = work()

    assert not forger.done.exists()
    assert eventually(lambda: [letter["job"] for letter in letters(board)]) == ["learn"], said


def test_a_job_that_is_to_come_after_ours_is_refused_in_its_turn(board, forger, work):
    first = forger.put(LEARN_DATA)
    second = forger.put(
        ["forged.run", None, [], {}], is_queued=False, status="deferred", dependency_ids=json.dumps([first])
    )
    board.client.sadd(f"rq:job:{first}:dependents", second)
    board.client.sadd(f"rq:job:{second}:dependencies", first)
    board.client.zadd(f"rq:deferred:{forger.queue.name}", {second: 1})

    work()

    assert not forger.done.exists()


def test_a_job_of_ours_repeats_and_lasts_only_as_we_say(board, forger, work):
    job_id = forger.put(
        LEARN_DATA, timeout="-1", result_ttl="-1", repeats_left="5", repeat_intervals="[1]", retries_left="5",
        rate_limit_key="x", rate_limit_concurrency="1", group_id="x", status="nonsense", enqueued_at="never",
    )  # fmt: skip

    said = work()

    assert "Traceback" not in said and letters(board) == []
    assert not board.client.exists(f"rq:job:{job_id}")
    assert not board.client.exists(f"rq:scheduled:{forger.queue.name}")


def test_people_are_told_that_somebody_writes_to_redis(board, forger, timeline, work):
    forger.put(["os.system", None, ["touch x"], {}])

    work()

    notices = [notice for record in timeline.page(Filter(), limit=100)[0] if (notice := notice_of(record))]
    assert [notice.title for notice in notices] == ["A job was refused"]
    assert "os.system" in notices[0].body and "touch x" not in notices[0].body
