"""Fixtures that every kind of test shares: a real Redis of its own, a board on it, and real octowait processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from xdist.scheduler import LoadGroupScheduling

from app.coordination.board import Policy
from app.domain.run import RunRequest
from app.history.timeline import Timeline
from app.services import Services, make_services
from app.settings import Settings
from app.store.connection import Client, connect
from app.store.embedded import EmbeddedServer
from app.store.errors import StoreUnreachable
from app.store.keys import listed
from tests import serving
from tests.open_board import OpenBoard
from tests.ports import free_port

ROOT = Path(__file__).parent.parent

TOKENS = {"step": "step-token-for-tests", "viewer": "viewer-token-for-tests", "admin": "admin-token-for-tests"}
#: What stands behind the token of a role.
RIGHTS = {"step": ";max_priority=1000000"}
WEBHOOK_SECRET = "webhook-secret-for-tests"


def with_own_signals() -> None:
    """For ``preexec_fn``: what a terminal sends is heard, also where the tests run beside one that has no use for it.

    A shell has what it starts beside itself ignore Ctrl-C, and nohup has it ignore the hang-up.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def eventually(condition: Callable[[], Any], *, timeout: float = 30.0) -> Any:
    """What *condition* returns as soon as it is true; fails after *timeout* seconds.

    It must ask anew each time: ``page.url`` of playwright, say, is what the last call heard, and never changes here;
    ``page.wait_for_url`` waits for it.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"did not happen within {timeout} s: {condition}"
        time.sleep(0.02)  # between two looks at a fact, not instead of one


#: Files whose tests share what takes long to make, and so a process.
TOGETHER = {"tests/chaos/test_scenarios.py", "tests/steps/test_powershell_5_1.py"}


class FilesTogether(LoadGroupScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """Gives the tests of a file among `TOGETHER` to one process. Its own groups do that no more with pytest 9.2."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if file in TOGETHER else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FilesTogether:
    return FilesTogether(config, log)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path_factory.mktemp("redis"))
    server.acquire()
    yield server
    # Whatever the tests of this run did: all that octowait left is what `app.store.keys` lists.
    strays = unlisted_keys(connect(server.url))
    server.release()
    assert not strays, f"keys that app/store/keys.py does not list so: {strays}"


def unlisted_keys(client: Client, pattern: str = "*") -> list[str]:
    """The keys in Redis that `app.store.keys` does not list, or lists with another type; without those of RQ."""
    names = [name for name in client.scan_iter(pattern, count=10_000) if not name.startswith(b"rq:")]
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.type(name)
        types = pipe.execute()
    found = []
    for name, kind in zip(names, types, strict=True):
        key = listed(name.decode(errors="replace"))
        # One that has expired meanwhile has no type.
        if kind != b"none" and not (key and kind.decode() in key.type.split(" or ")):
            found.append(f"{name!r} ({kind.decode()})")
    return sorted(found)


@pytest.fixture(scope="session")
def redis_url(redis_server: EmbeddedServer) -> str:
    return redis_server.url


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of its own; its keys go with the test, since whoever looks for some reads the names of all."""
    name = f"t{uuid.uuid4().hex[:12]}"
    if "redis_server" not in request.fixturenames:
        yield name
        return
    client = connect(request.getfixturevalue("redis_url"))
    yield name
    own = f"octowait:{{{name}}}:*"
    strays = unlisted_keys(client, own)
    if keys := list(client.scan_iter(own, count=10_000)):
        client.unlink(*keys)
    client.close()
    assert not strays, f"keys that app/store/keys.py does not list so: {strays}"


def opened(board: OpenBoard) -> OpenBoard:
    """*board*, which grants although its Redis was empty; its timeline begins with what the test does."""
    if board.open("test"):
        board.client.delete(board.keys.timeline)
        board.client.hdel(board.keys.counters, "stamp")
    return board


@pytest.fixture(scope="module")
def own_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own: what others have Redis do would be counted as well."""
    server = EmbeddedServer(tmp_path_factory.mktemp("own"))
    yield server.acquire()
    server.release()


@pytest.fixture
def own_board(own_url: str, namespace: str) -> Iterator[OpenBoard]:
    client = connect(own_url)
    board = OpenBoard(client, namespace=namespace)
    board.open("test")
    yield board
    client.close()


def services_on(board: OpenBoard, redis_url: str, **settings: Any) -> Services:
    """The services of a process whose board is *board*, with the clock of that."""
    return make_services(Settings(redis_url=redis_url, namespace=board.keys.namespace, **settings), board=board)


def app_client_on(board: OpenBoard, redis_url: str, *, more_tokens: str = "", **settings: Any) -> FlaskClient:
    """A client of the application in this process, with the token of a step."""
    from app.web import create_app

    tokens = ",".join(f"{role}:test:{token}" for role, token in TOKENS.items()) + more_tokens
    services = services_on(board, redis_url, webhook_secret=WEBHOOK_SECRET, tokens=tokens, **settings)
    client = create_app(services).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {TOKENS['step']}"
    return client


class Clock:
    """Moves the clock of a board; time never passes by itself in a test."""

    def __init__(self, board: OpenBoard) -> None:
        self._board = board

    def advance(self, duration: timedelta) -> None:
        self._board.script.offset_ms += duration // timedelta(milliseconds=1)

    @property
    def now_ms(self) -> int:
        seconds, micros = self._board.client.time()
        return int(seconds * 1000 + micros // 1000 + self._board.script.offset_ms)


@pytest.fixture
def make_board(redis_url: str, namespace: str) -> Iterator[Callable[..., OpenBoard]]:
    """Boards on one namespace: ``make_board(Policy(...))``."""
    clients = []

    def make(policy: Policy | None = None) -> OpenBoard:
        client = connect(redis_url)
        blocking = connect(redis_url, blocking=True)
        clients.extend((client, blocking))
        return opened(OpenBoard(client, namespace=namespace, policy=policy, blocking=blocking))

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def board(make_board: Callable[..., OpenBoard]) -> OpenBoard:
    return make_board()


@pytest.fixture
def clock(board: OpenBoard) -> Clock:
    return Clock(board)


@pytest.fixture
def timeline(board: OpenBoard) -> Timeline:
    return Timeline(board.client, board.keys)


@pytest.fixture
def a_run() -> Callable[..., RunRequest]:
    """Builds runs with task ids that count up from ServerTasks-1."""
    numbers = iter(range(1, 1_000_000))

    def build(**fields: Any) -> RunRequest:
        return RunRequest(**{"task_id": f"ServerTasks-{next(numbers)}", **fields})

    return build


def an_event(
    category: str = "DeploymentStarted", *, number: int = 1, task: int | None = 4711, occurred: str | None = None,
    related: list[str] | None = None, **fields: Any,
) -> dict[str, Any]:  # fmt: skip
    """An event resource in the shape of the captured ones."""
    ids = related or ["Deployments-51", "Projects-7", "Releases-90", "Environments-2", "Channels-9"]
    return {
        "Id": f"Events-{number}",
        "RelatedDocumentIds": ids + ([f"ServerTasks-{task}"] if task else []),
        "Category": category,
        "UserId": "users-system",
        "Username": "system",
        "IsService": False,
        "IdentityEstablishedWith": "",
        "UserAgent": "Server",
        "Occurred": occurred or time.strftime("%Y-%m-%dT%H:%M:%S.000+00:00", time.gmtime()),
        "Message": "Deploy to Prod for Web release 1.4.0 to Prod",
        "MessageHtml": "Deploy to <a>Prod</a> …",
        "MessageReferences": [{"ReferencedDocumentId": ids[0], "StartIndex": 0, "Length": 14}] if ids else [],
        "Comments": None,
        "Details": None,
        "ChangeDetails": {"DocumentContext": None, "Differences": None},
        "IpAddress": None,
        "SpaceId": "Spaces-1",
        "Links": {"Self": f"/api/events/Events-{number}"},
        **fields,
    }


def a_delivery(category: str = "DeploymentStarted", **event: Any) -> dict[str, Any]:
    """A subscription payload around `an_event`, with a header value that must never be kept."""
    return {
        "Timestamp": "2026-05-06T07:08:25.215+00:00",
        "EventType": "SubscriptionPayload",
        "Payload": {
            "ServerUri": "https://octopus.example.com",
            "ServerAuditUri": "https://octopus.example.com/app#/Spaces-1/configuration/audit",
            "BatchProcessingDate": "2026-05-06T07:08:24.279+00:00",
            "BatchId": "6a1c2f0e-0000-4000-8000-000000000001",
            "TotalEventsInBatch": 1,
            "EventNumberInBatch": 1,
            "Subscription": {
                "Id": "Subscriptions-21", "Name": "gate", "Type": "Event", "IsDisabled": False, "SpaceId": "Spaces-1",
                "Links": {"Self": "/api/Spaces-1/subscriptions/Subscriptions-21"},
                "EventNotificationSubscription": {
                    "Filter": {"EventCategories": [category], "DocumentTypes": []},
                    "WebhookURI": "https://octowait.example.com/webhooks/octopus",
                    "WebhookTimeout": "00:00:30",
                    "WebhookHeaderKey": "X-Octowait-Secret",
                    "WebhookHeaderValue": "header-value-of-the-subscription",
                    "WebhookLastProcessed": "2026-05-06T07:07:53.464+00:00",
                    "WebhookLastProcessedEventAutoId": 1117952,
                },
            },
            "Event": an_event(category, **event),
        },
    }  # fmt: skip


class Service:
    """A real octowait web server on a port of its own; `stop` kills it with SIGKILL, `start` brings it back.

    Args:
        forked: Start it from a process that has imported octowait already, which shares its memory.
    """

    def __init__(
        self, redis_url: str, namespace: str, directory: Path, *, forked: bool = False, **settings: str
    ) -> None:
        self._is_forked = forked
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.tokens = TOKENS
        self.log = directory / f"web-{self.port}.log"
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("OCTOWAIT_")},
            "OCTOWAIT_REDIS_URL": redis_url,
            "OCTOWAIT_NAMESPACE": namespace,
            "OCTOWAIT_BIND": f"127.0.0.1:{self.port}",
            "OCTOWAIT_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "OCTOWAIT_TOKENS": ",".join(f"{role}:test:{token}{RIGHTS.get(role, '')}" for role, token in TOKENS.items()),
            "OCTOWAIT_DATA_DIR": str(directory / "data"),
            "OCTOWAIT_WEB_PROCESSES": "1",
            "PYTHONPATH": str(ROOT),
            **settings,
        }
        self._process: subprocess.Popen[bytes] | BaseProcess | None = None
        self._spawned: list[subprocess.Popen[bytes]] = []

    def spawn(self, *command: str) -> subprocess.Popen[bytes]:
        """An octowait command in a process group of its own, with this service's settings."""
        with open(self.log, "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "app", *command], env=self.env, cwd=self.log.parent,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._spawned.append(process)
        return process

    def start(self) -> None:
        client = connect(self.env["OCTOWAIT_REDIS_URL"])
        with suppress(StoreUnreachable):  # of a service that is to find no Redis
            opened(OpenBoard(client, namespace=self.env["OCTOWAIT_NAMESPACE"]))
        client.close()
        if self._is_forked:
            self._process = serving.serve(self.env, self.log.parent, self.log)
        else:
            self._process = self.spawn("serve")
        eventually(self._is_ready, timeout=30)

    def _is_ready(self) -> bool:
        assert self._is_alive(), self.log.read_text()[-4000:]
        try:
            return self.call("GET", "/healthz", role=None)[0] == 200
        except OSError:
            return False

    def _is_alive(self) -> bool:
        if isinstance(self._process, BaseProcess):
            return self._process.is_alive()
        return self._process is not None and self._process.poll() is None

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        if not self._process or not self._is_alive():
            return
        assert self._process.pid
        os.killpg(self._process.pid, how)
        if isinstance(self._process, BaseProcess):
            self._process.join(30)
        else:
            self._process.wait(30)

    def close(self) -> None:
        """Stop for good, with all that was spawned and has not ended."""
        self.stop()
        for process in self._spawned:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(30)

    def call(
        self, method: str, path: str, body: Any = None, role: str | None = "admin",
        headers: dict[str, str] | None = None, timeout: float = 70,
    ) -> tuple[int, Any]:  # fmt: skip
        """One request: its status, and its JSON, or its text where it is not JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        if role:
            request.add_header("Authorization", f"Bearer {self.tokens[role]}")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                status, kind, text = response.status, response.headers.get("Content-Type", ""), response.read().decode()
        except urllib.error.HTTPError as error:
            status, kind, text = error.code, error.headers.get("Content-Type", ""), error.read().decode()
        return status, json.loads(text) if "json" in kind and "ndjson" not in kind else text

    def deliver(self, delivery: Any, secret: str = WEBHOOK_SECRET) -> tuple[int, Any]:
        """Post a webhook."""
        return self.call("POST", "/webhooks/octopus", delivery, role=None, headers={"X-Octowait-Secret": secret})


@pytest.fixture
def make_service(redis_url: str, namespace: str, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Services on one namespace: ``make_service(OCTOWAIT_TASK_CAP="5")``."""
    made: list[Service] = []

    def make(**settings: str) -> Service:
        made.append(Service(redis_url, namespace, tmp_path, forked=True, **settings))
        made[-1].start()
        return made[-1]

    yield make
    for service in made:
        service.close()


@pytest.fixture
def service(make_service: Callable[..., Service]) -> Service:
    return make_service()
