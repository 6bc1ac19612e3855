"""A webhook receiver, and what the tests of the simulated Octopus Server look at."""

from __future__ import annotations

import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.simulator.control import Deployment, SimulatedOctopus

Make = Callable[..., SimulatedOctopus]

#: Work of so many seconds never ends within a test.
FOR_EVER = 10_000.0


class Receiver:
    """A webhook receiver that keeps what it got, and answers with the statuses it is given, then with 202."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], Any]] = []
        self.statuses: list[int] = []
        #: Cleared: no answer until it is set.
        self.answers = threading.Event()
        self.answers.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.got.append((dict(self.headers), body))
                receiver.answers.wait(30)
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 202)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhooks/octopus"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def events(self) -> list[Any]:
        return [body["Payload"]["Event"] for _, body in self.got]

    @property
    def categories(self) -> list[str]:
        return [event["Category"] for event in self.events]


def states(octopus: SimulatedOctopus, *tasks: Deployment) -> list[str]:
    return [octopus.task(task)["State"] for task in tasks]


def run_of(octopus: SimulatedOctopus, task: Deployment, execution: int = 1) -> Any:
    runs = octopus.record()["runs"]
    return next(run for run in runs if run["task_id"] == task.task_id and run["execution"] == execution)


def status_of(
    octopus: SimulatedOctopus, path: str, key: str | None = "API-SIMULATED-ADMIN", method: str = "GET"
) -> int:
    request = urllib.request.Request(
        octopus.url + path, method=method, headers={"X-Octopus-ApiKey": key} if key else {}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
