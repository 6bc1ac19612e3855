"""Rule 24: where Redis is another server than before, nobody is granted until all who serve have spoken."""

from __future__ import annotations

from datetime import timedelta
from signal import SIGKILL, SIGTERM

import pytest

from app.coordination.board import Board
from app.domain.records import Filter
from app.domain.run import RunRequest
from app.history.timeline import Timeline
from app.services import make_services
from app.settings import Settings
from app.store.connection import connect
from app.store.embedded import EmbeddedServer
from app.store.greeting import Greeting, _run_id
from app.store.witness import Seen, Witness
from tests.integration.older_redis import Backup

ONE = RunRequest("ServerTasks-1")


def doors(board):
    return [
        (r.kind, r.cause) for r in Timeline(board.client, board.keys).read(Filter()) if r.kind in ("closed", "opened")
    ]


def speak(board, server):
    return str(board.script("speak", server)[0], "ascii")


@pytest.fixture
def serving(make_board):
    """Two processes that serve, on one server."""
    boards = make_board(), make_board()
    for board in boards:
        speak(board, "server-1")
        board.sweep(serving=True)
    return boards


def react(board, *, synced=False):
    board.end_roll_call(board.sweep(serving=True), is_synced=lambda: synced)


def test_same_server_calls_no_roll(serving):
    assert speak(serving[0], "server-1") == "known"
    assert serving[0].closed_since_ms() is None


def test_nobody_is_granted_until_all_who_serve_have_spoken(serving):
    one, other = serving

    assert speak(one, "server-2") == "called"

    assert one.join(ONE, {"Machines-7"}).is_waiting
    react(one)
    assert one.join(ONE, {"Machines-7"}).is_waiting
    react(other)
    assert one.place("ServerTasks-1").is_granted
    assert doors(one) == [("closed", "roll_call"), ("opened", "roll_call")]


def test_who_speaks_late_closes_the_board_before_it_grants(serving):
    """The other one has seen what the new server has lost."""
    one, other = serving
    backup = Backup(one)
    other.join(RunRequest("ServerTasks-9"), {"Machines-7"})
    backup.restore()
    speak(one, "server-2")
    assert one.join(ONE, {"Machines-7"}).is_waiting
    react(one)

    react(other)

    assert one.place("ServerTasks-1").is_waiting
    assert doors(one) == [("closed", "roll_call"), ("closed", "rolled_back")]


def test_board_closes_where_one_is_missing_and_redis_does_not_sync(serving, clock):
    one, other = serving
    speak(one, "server-2")
    react(one)
    one.script.offset_ms += 9_000
    react(one)
    assert doors(one) == [("closed", "roll_call")]

    one.script.offset_ms += 1_500
    react(one)

    assert doors(one) == [("closed", "roll_call"), ("closed", "unwitnessed")]
    [*_, closed] = Timeline(one.client, one.keys).read(Filter(kind="closed"))
    assert closed.detail["missing"] == [other.script.witness.process]
    react(other)
    assert one.closed_since_ms(), "who speaks after that opens nothing"


def test_board_opens_without_who_is_missing_where_redis_syncs_every_change(serving):
    one, _ = serving
    speak(one, "server-2")
    one.script.offset_ms += 10_500

    react(one, synced=True)

    assert doors(one) == [("closed", "roll_call"), ("opened", "roll_call")]


def test_who_has_left_or_died_before_is_not_waited_for(serving, make_board):
    one, other = serving
    other.leave()
    dead = make_board()
    dead.sweep(serving=True)
    one.script.offset_ms += 6_000
    one.sweep(serving=True)
    speak(one, "server-2")

    react(one)

    assert doors(one) == [("closed", "roll_call"), ("opened", "roll_call")]


def test_who_only_looks_calls_the_roll_and_is_not_waited_for(serving, make_board):
    command = make_board()

    assert speak(command, "server-2") == "called"
    for board in serving:
        react(board)

    assert command.closed_since_ms() is None


def test_without_a_key_an_unwitnessed_board_stays_closed_for_the_life_of_a_waiter(serving):
    one, _ = serving
    speak(one, "server-2")
    one.script.offset_ms += 10_500
    react(one)

    assert not one.open_unasked(one.sweep(serving=True))
    one.script.offset_ms += 121_000
    assert one.open_unasked(one.sweep(serving=True))


@pytest.fixture
def server(tmp_path):
    server = EmbeddedServer(tmp_path / "redis")
    server.acquire()
    yield server
    server.stop(SIGTERM)
    server.release()


def test_new_server_is_greeted_before_anything_is_asked_of_it(server, tmp_path):
    """What was made for the server before is sent again to the one that has taken its place."""
    services = make_services(Settings(redis_url=server.url, data_dir=tmp_path / "data"))
    services.board.open("test")
    services.board.sweep(serving=True)
    server.stop(SIGKILL)
    assert server.revive()

    place = services.board.join(ONE, {"Machines-7"})

    assert place.is_waiting
    assert "another server" in place.message
    services.react_to_sweep(services.board.sweep(serving=True))
    assert services.board.place("ServerTasks-1").is_granted


def test_connection_that_waits_for_replicas_greets_as_well(server, tmp_path):
    """A fail-over breaks all connections, and it may be the first to find the server that has taken over."""
    services = make_services(Settings(redis_url=server.url, redis_replicas=1, data_dir=tmp_path / "data"))
    services.board.open("test")
    services.board.sweep(serving=True)
    services.board._copier._replicas._timeout_ms = 20
    services.board.has_copies()
    server.stop(SIGKILL)
    assert server.revive()

    services.board.has_copies()

    # Read by somebody who has greeted nobody.
    looker = Board(connect(server.url), namespace="default")
    assert looker.sweep().closed_cause == "roll_call"


def test_greeting_that_a_full_server_refuses_is_made_up_for(server, tmp_path):
    services = make_services(Settings(redis_url=server.url, data_dir=tmp_path / "data"))
    services.board.open("test")
    services.board.sweep(serving=True)
    server.stop(SIGKILL)
    assert server.revive()
    other = connect(server.url)
    other.config_set("maxmemory", 1)
    assert services.board.closed_since_ms() is None, "it can be read"
    other.config_set("maxmemory", 0)

    assert services.board.join(ONE, {"Machines-7"}).is_waiting


def test_server_that_hides_who_it_is_is_served_all_the_same(server, tmp_path):
    admin = connect(server.url)
    admin.execute_command("ACL", "SETUSER", "web", "on", ">secret-of-web", "~*", "&*", "+@all", "-info")
    url = f"{server.url}?username=web&password=secret-of-web"
    services = make_services(Settings(redis_url=url, data_dir=tmp_path / "data"))
    services.board.open("test")

    assert services.board.join(ONE, {"Machines-7"}).is_granted


def test_run_id_is_read_of_what_the_server_says():
    assert _run_id(b"# Server\r\nredis_version:7.0\r\nrun_id:abc123\r\n") == "abc123"
    assert _run_id(b"# Server\r\nredis_version:7.0\r\n") == ""


def test_client_without_a_board_connects_as_ever(server):
    assert connect(server.url, greet=Greeting()).ping()


def test_what_was_seen_survives_the_process(tmp_path):
    file = tmp_path / "data" / "witness-default"
    first = Witness(file)
    first.see(b"1-a", 7, b"ab")

    first.keep()

    assert Witness(file).latest == Seen("1-a", 7, "ab")
    older = Witness(file)
    older.latest = Seen("1-a", 6, "aa")
    older.keep()
    assert Witness(file).latest == Seen("1-a", 7, "ab"), "the later one stays"


@pytest.mark.parametrize("text", ["", "1-a seven ab", "1-a 7", "é é é é"])
def test_file_that_cannot_be_read_is_none(tmp_path, text):
    (tmp_path / "witness").write_text(text)

    assert Witness(tmp_path / "witness").latest is None


def test_process_that_begins_anew_knows_what_the_one_before_has_seen(server, tmp_path):
    settings = Settings(redis_url=server.url, data_dir=tmp_path / "data")
    first = make_services(settings)
    first.board.open("test")
    first.board.join(ONE, {"Machines-7"})
    first.board.leave()

    second = make_services(settings)

    assert second.board.script.witness.latest == first.board.script.witness.latest != first.board.script.witness
    assert timedelta(0) == second.board.sweep().closed_for
