import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.domain.run import RunRequest
from app.store.connection import connect
from app.store.embedded import EmbeddedServer
from app.store.errors import StoreUnreachable
from tests.conftest import ROOT, opened
from tests.open_board import OpenBoard

# Uses the server until its input ends, and says which server that is.
USER = """
import sys
from pathlib import Path
from app.store.embedded import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]))
server.acquire()
print(server.pid, flush=True)
sys.stdin.read()
server.release()
"""


@pytest.fixture
def server(tmp_path):
    server = EmbeddedServer(tmp_path / "data")
    yield server
    server.release()
    server.stop(signal.SIGKILL)


@pytest.fixture
def start_user(server):
    """Starts a process that uses the server: the process and the server's process id."""
    processes = []

    def start():
        process = subprocess.Popen(
            [sys.executable, "-c", USER, str(server.directory)], env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        processes.append(process)
        return process, int(process.stdout.readline())

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_two_processes_share_one_server(server, start_user):
    _, pid = start_user()

    server.acquire()

    assert server.pid == pid


def test_who_leaves_first_does_not_stop_it(server, start_user):
    user, pid = start_user()
    server.acquire()

    user.communicate()

    assert user.returncode == 0
    assert server.pid == pid


def test_last_one_out_stops_it(server, start_user):
    user, _ = start_user()
    server.acquire()

    server.release()
    assert server.is_alive()
    user.communicate()

    assert not server.is_alive()


def test_processes_that_start_at_once_share_one_server(server, start_user):
    with ThreadPoolExecutor(6) as pool:
        started = list(pool.map(lambda _: start_user(), range(6)))

    assert len({pid for _, pid in started}) == 1


def test_server_survives_the_death_of_its_user_and_is_used_again(server, start_user):
    user, pid = start_user()
    user.kill()
    user.wait()
    assert server.is_alive()

    server.acquire()
    assert server.pid == pid
    server.release()

    assert not server.is_alive()


def test_data_is_there_after_a_restart(server):
    server.acquire()
    opened(OpenBoard(connect(server.url))).join(RunRequest("ServerTasks-1"), {"Machines-7"})
    server.release()
    assert not server.is_alive()

    server.acquire()

    assert OpenBoard(connect(server.url)).place("ServerTasks-1").is_granted


def test_dead_server_is_revived_with_its_data(server):
    server.acquire()
    opened(OpenBoard(connect(server.url))).join(RunRequest("ServerTasks-1"), {"Machines-7"})
    server.stop(signal.SIGKILL)

    assert server.revive()
    assert not server.revive()

    assert OpenBoard(connect(server.url)).place("ServerTasks-1").is_granted


def test_path_too_long_for_a_socket_works(tmp_path):
    directory = tmp_path / ("long-" * 12) / ("name-" * 12)
    server, same = EmbeddedServer(directory), EmbeddedServer(directory)
    server.acquire()
    try:
        assert len(os.fsencode(server.socket)) < 108
        assert same.is_alive()
        assert list((directory / "appendonlydir").iterdir())
    finally:
        server.release()


def test_directories_have_servers_of_their_own(tmp_path):
    one, other = EmbeddedServer(tmp_path / "one"), EmbeddedServer(tmp_path / "other")
    one.acquire()
    other.acquire()
    try:
        assert one.pid != other.pid
    finally:
        one.release()
        other.release()


def test_data_is_for_the_owner_only(server):
    server.acquire()

    assert stat.S_IMODE(server.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.socket.stat().st_mode) == 0o700


def test_releasing_without_having_acquired_is_harmless(server, start_user):
    start_user()

    server.release()

    assert server.is_alive()


def test_server_that_cannot_start_says_why(server):
    server.directory.mkdir(parents=True)
    append_only = server.directory / "appendonlydir"
    append_only.write_text("a file where a directory is expected")

    with pytest.raises(StoreUnreachable, match="did not start: .*appendonlydir"):
        server.acquire()


def test_a_directory_with_an_odd_name_works(tmp_path):
    server = EmbeddedServer(tmp_path / 'two words "quoted" \\ ünd')

    server.acquire()

    try:
        assert server.is_alive()
    finally:
        server.release()
