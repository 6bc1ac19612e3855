"""docs/how-to/back-up-and-restore.md, carried out as it stands there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.domain.records import Filter
from app.domain.run import RunRequest
from app.history.timeline import Timeline
from app.store.connection import connect
from tests.chaos.store import STORES, NoStore, Store, binary
from tests.conftest import ROOT, opened
from tests.open_board import OpenBoard

#: The blocks of the page: how to back up, how to restore.
BACK_UP, RESTORE = re.findall(
    r"^```sh\n(.+?)^```", (ROOT / "docs/how-to/back-up-and-restore.md").read_text(), re.M | re.S
)


class Host:
    """The host of a Redis server, with its programs under the names of the page."""

    def __init__(self, kind: str, where: Path) -> None:
        self.store = Store(kind, where / "host")
        self.store.directory.mkdir()
        self.backup = where / "octowait.rdb"
        self.temporary = where / "tmp"
        self.temporary.mkdir()
        self._programs = where / "bin"
        self._programs.mkdir()
        cli = shutil.which("redis-cli")
        if not cli:
            raise NoStore("there is no redis-cli here; on Debian: apt-get install redis-tools")
        (self._programs / "redis-server").symlink_to(binary(kind))
        (self._programs / "redis-cli").symlink_to(cli)
        self.store.start()

    def do(self, block: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ, "PATH": f"{self._programs}:{os.environ['PATH']}", "OCTOWAIT_REDIS_URL": self.store.url,
            "BACKUP": str(self.backup), "REDIS_DIR": str(self.store.data), "TMPDIR": str(self.temporary),
        }  # fmt: skip
        return subprocess.run(["bash", "-c", block], env=environment, capture_output=True, text=True, timeout=90)


@pytest.fixture(params=STORES)
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    try:
        host = Host(request.param, tmp_path)
    except NoStore as error:
        pytest.skip(str(error))
    yield host
    host.store.kill()


def test_restored_backup_grants_nobody_and_has_the_timeline(host, namespace):
    board = opened(OpenBoard(connect(host.store.url), namespace=namespace))
    board.join(RunRequest("ServerTasks-1"), {"Machines-1"})
    board.join(RunRequest("ServerTasks-2"), {"Machines-1"})
    board.reserve("Machines-2", note="new disk", by="ann")

    done = host.do(BACK_UP)
    assert done.returncode == 0, done.stderr
    # The board of now stays open, and goes on.
    assert board.closed_since_ms() is None
    board.release("ServerTasks-1")
    assert board.poll("ServerTasks-2").is_granted
    board.client.close()
    host.store.kill()
    done = host.do(RESTORE)
    assert done.returncode == 0, done.stderr
    host.store.start()

    # Nobody is left who knows how it was.
    after = OpenBoard(connect(host.store.url), namespace=namespace)
    assert after.join(RunRequest("ServerTasks-3"), {"Machines-3"}).is_waiting
    assert after.sweep().is_closed
    assert str(after.place("ServerTasks-1").state) == "granted" and after.place("ServerTasks-2").is_waiting
    kinds = [record.kind for record in Timeline(after.client, after.keys).read(Filter())]
    assert kinds[:4] == ["joined", "granted", "joined", "reserved"] and "closed" in kinds
    # It keeps what comes now as it did before.
    assert after.client.info("persistence")["aof_enabled"] == 1
    after.client.close()


def test_server_that_was_not_restored_comes_up_with_what_it_had(host, namespace):
    board = opened(OpenBoard(connect(host.store.url), namespace=namespace))
    board.join(RunRequest("ServerTasks-1"), {"Machines-1"})
    assert host.do(BACK_UP).returncode == 0
    board.release("ServerTasks-1")
    host.store.kill()
    host.store.start()

    assert board.closed_since_ms() is None and str(board.place("ServerTasks-1").state) == "released"
    board.client.close()


def test_backup_that_fails_leaves_no_file(host):
    """There is nothing of octowait in it."""
    done = host.do(BACK_UP)

    assert done.returncode != 0 and not host.backup.exists()
    # Nor a server, nor the copy.
    assert list(host.temporary.iterdir()) == []
    assert str(host.temporary) not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
