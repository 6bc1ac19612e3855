"""A listening socket that systemd keeps outlives the web processes: nobody who comes meanwhile is refused."""

import signal
import threading
from contextlib import closing

import pytest

from tests.activated import ActivatedService
from tests.conftest import eventually

MACHINES = {"machines": ["Machines-7"]}


@pytest.fixture
def service(redis_url, namespace, tmp_path):
    with closing(ActivatedService(redis_url, namespace, tmp_path, OCTOWAIT_WEB_PROCESSES="2")) as service:
        service.start()
        yield service


class Caller(threading.Thread):
    """Somebody who asks again whenever he is told that he waits, and never after an error."""

    def __init__(self, service, task):
        super().__init__(daemon=True)
        self._service, self._path = service, f"/api/waits/{task}?block_seconds=50"
        self.answers = []

    def run(self):
        while not self.answers or self.answers[-1] == (200, "waiting"):
            status, body = self._service.call("GET", self._path)
            self.answers.append((status, body.get("state")))


def test_step_that_waits_finds_no_closed_door_while_all_processes_are_stopped_and_started(service):
    service.call("PUT", "/api/waits/ServerTasks-1", MACHINES)
    service.call("PUT", "/api/waits/ServerTasks-2", MACHINES)
    caller = Caller(service, "ServerTasks-2")
    caller.start()
    eventually(lambda: "\noctowait_blocked_requests 1" in service.call("GET", "/metrics", role="viewer")[1])

    service.stop(signal.SIGTERM)
    eventually(lambda: caller.answers == [(200, "waiting")])
    service.start()
    service.call("DELETE", "/api/waits/ServerTasks-1")
    caller.join(30)

    assert caller.answers[0] == (200, "waiting") and caller.answers[-1] == (200, "granted")
    assert set(caller.answers[1:-1]) <= {(200, "waiting")}
