"""Rule 24: data of a newer octowait: a process that is too old for them changes nothing, and says which one to take."""

from __future__ import annotations

import re

import pytest
from rq.serializers import JSONSerializer

from app import __version__
from app.coordination.board import Poll
from app.domain.faults import shortcomings
from app.domain.run import RunRequest
from app.jobs import LEARN, enqueue, queues_of
from app.services import make_services
from app.settings import Settings
from app.store.connection import connect
from app.store.errors import NewerData
from app.store.persistence import read_condition
from app.store.schema import SCHEMA
from app.store.script_text import APP, source
from app.store.scripts import SideScript
from app.web import create_app
from tests.conftest import RIGHTS, TOKENS, WEBHOOK_SECRET, a_delivery
from tests.integration.test_scripts import BOARD, OTHERS, listed, text_of
from workers.context import Context
from workers.patient import PatientJob
from workers.run import JobWorker

#: Those beside the board that only read.
READERS = [("history", "find_records")]

TAKE = r"of a newer octowait.* take octowait 7\.1\.0 here, or a later one"


def make_newer(board, oldest=SCHEMA + 1):
    board.client.hset(board.keys.counters, mapping={"oldest_writer": oldest, "oldest_release": "7.1.0"})


@pytest.fixture
def everything(board):
    """All that is kept, with somebody who holds and somebody who waits; but for how the clocks compared."""
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    board.join(RunRequest("ServerTasks-2"), {"Machines-7"})
    return lambda: {key: board.client.dump(key) for key in board.all_keys() if b":clock:" not in key}


@pytest.fixture
def services(board, redis_url, tmp_path):
    made = make_services(
        Settings(redis_url=redis_url, namespace=board.keys.namespace, data_dir=tmp_path, webhook_secret=WEBHOOK_SECRET,
                 tokens=",".join(f"{role}:test:{token}{RIGHTS.get(role, '')}" for role, token in TOKENS.items()))
    )  # fmt: skip
    yield made
    made.close()
    made.client.close()


@pytest.mark.parametrize("with_expiry", [False, True])
@pytest.mark.parametrize(("room", "verb"), BOARD)
def test_script_of_the_board_changes_nothing(board, everything, room, verb, with_expiry):
    make_newer(board)
    before = everything()

    text = source(room, verb, with_expiry=with_expiry, witnessed=True)
    # A witness that the data fail, and a clock that is wrong, come after that.
    arguments = ["0 1 1", *("1" for _ in listed("ARGV", text_of(room, verb))), " word another-epoch 99999 other "]
    answer = board.client.register_script(text)([board.keys.prefix], arguments)

    assert answer == [b"newer", b"%d" % (SCHEMA + 1), b"7.1.0"]
    assert everything() == before and len(before) > 5


@pytest.mark.parametrize(("room", "verb"), [script for script in OTHERS if script not in READERS])
def test_script_beside_the_board_changes_nothing(board, everything, room, verb):
    keys = [f"{board.keys.timeline}-{n}" for n, _ in enumerate(listed("KEYS", text_of(room, verb)))]
    board.client.set(keys[0], "1")
    arguments = ["1" for _ in listed("ARGV", text_of(room, verb))]
    make_newer(board)
    before = everything()

    with pytest.raises(NewerData, match=TAKE):
        SideScript(board.client, board.keys, room, verb)(keys, arguments)

    assert everything() == before
    board.client.delete(*keys)


@pytest.mark.parametrize(("room", "verb"), READERS)
def test_script_that_does_not_look_at_the_version_writes_nothing(room, verb):
    assert set(re.findall(r'call\("(\w+)"', text_of(room, verb))) <= {"XRANGE"}


def test_every_other_script_is_called_so_that_it_looks_at_the_version():
    text = "".join(path.read_text() for path in APP.rglob("*.py"))

    beside = set(re.findall(r'SideScript\(client, keys, "(\w+)", "(\w+)"\)', text))
    assert beside | set(READERS) == set(OTHERS) and not beside & set(READERS)


def test_who_serves_notes_the_version_of_the_data(board):
    board.client.hdel(board.keys.counters, "schema", "oldest_writer", "oldest_release")
    board.sweep()
    assert not board.client.hexists(board.keys.counters, "schema")

    board.sweep(serving=True)

    fields = board.client.hmget(board.keys.counters, "schema", "oldest_writer", "oldest_release")
    assert [field.decode() for field in fields] == [str(SCHEMA), str(SCHEMA), __version__]


def test_lua_and_python_have_the_same_version():
    assert f"SCHEMA, OLDEST_WRITER, OLDEST_RELEASE = {SCHEMA}, " in text_of("coordination", "lib/schema")


def test_later_version_that_this_one_may_write_stays_noted(board):
    board.client.hset(board.keys.counters, mapping={"schema": SCHEMA + 5, "oldest_writer": SCHEMA})

    board.sweep(serving=True)

    assert board.client.hget(board.keys.counters, "schema") == b"%d" % (SCHEMA + 5)
    assert board.join(RunRequest("ServerTasks-1"), {"Machines-7"}).is_granted


@pytest.mark.parametrize("oldest", [SCHEMA + 1, "2026.1"])
def test_process_changes_nothing_any_more_until_it_may(services, board, everything, oldest):
    place = services.board.join(RunRequest("ServerTasks-3"), {"Machines-8"})
    assert place.is_granted
    make_newer(board, oldest)
    before = everything()

    with pytest.raises(NewerData, match=TAKE):
        services.board.join(RunRequest("ServerTasks-4"), {"Machines-9"})
    # What is no script neither, from then on.
    with pytest.raises(NewerData, match=TAKE):
        services.dead_jobs.keep(job="resolve", error="none")
    with pytest.raises(NewerData, match=TAKE):
        services.claims.claim("rebuild", services.settings.waiter_ttl)
    with pytest.raises(NewerData, match=TAKE):
        services.budget.take()

    assert everything() == before
    make_newer(board, SCHEMA)
    assert services.board.join(RunRequest("ServerTasks-4"), {"Machines-9"}).is_granted


def test_polls_of_many_say_it_too(services, board):
    services.board.join(RunRequest("ServerTasks-3"), {"Machines-8"})
    make_newer(board)

    with pytest.raises(NewerData, match=TAKE):
        services.board.poll_many([Poll("ServerTasks-3")])


def test_http_says_which_octowait_to_take(services, board, everything):
    client = create_app(services).test_client()
    make_newer(board)
    before = everything()
    bearer = {"Authorization": f"Bearer {TOKENS['admin']}"}

    page = client.get("/health", headers=bearer)
    answers = [
        client.get("/readyz"),
        client.put("/api/waits/ServerTasks-9", json={"machines": ["Machines-9"]}, headers=bearer),
        client.get("/api/waits/ServerTasks-1", headers=bearer),
        client.get("/api/machines", headers=bearer),
        client.post("/webhooks/octopus", json=a_delivery(), headers={"X-Octowait-Secret": WEBHOOK_SECRET}),
    ]

    assert {(answer.status_code, answer.json["code"]) for answer in answers} == {(503, "newer_data")}
    assert all(re.search(TAKE, answer.json["detail"]) for answer in answers)
    assert page.status_code == 503 and re.search(TAKE, page.text)
    assert client.get("/healthz").status_code == 200
    assert everything() == before


def test_start_and_doctor_say_which_octowait_to_take(board, namespace):
    make_newer(board)

    first, *_ = shortcomings(read_condition(board.client, "web", namespace), min_fsync="always", allows_eviction=False)

    assert first.code == "newer_data" and "a newer octowait" in first.message and "octowait 7.1.0" in first.do
    make_newer(board, SCHEMA)
    assert read_condition(board.client, "web", namespace).needed_release is None


def test_worker_leaves_its_jobs_to_a_newer_one(services, board):
    services.board.sweep()
    enqueue(board.client, services.settings, LEARN)
    client = connect(services.settings.redis_url, blocking=True)
    queues = queues_of(client, services.settings, job_class=PatientJob)
    worker = JobWorker(Context(services, None), queues=queues, connection=client, serializer=JSONSerializer)
    before = [queue.job_ids for queue in queues]
    make_newer(board)

    worker.work(burst=True, logging_level="WARNING")

    assert [queue.job_ids for queue in queues] == before and sum(map(len, before)) == 1
    assert worker.is_stopping is False
    client.close()
