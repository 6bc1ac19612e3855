"""What it must survive: servers killed, Redis restarted, two servers at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.store.embedded import EmbeddedServer
from tests.conftest import Service, eventually

MACHINE = {"machines": ["Machines-7"]}


class Step(threading.Thread):
    """A step: joins, blocks until it is granted, notes it, gives back; asks again whenever it is cut off."""

    def __init__(self, service: Service, number: int, grants: list[tuple[int, int]]) -> None:
        super().__init__(daemon=True)
        self.service = service
        self.path = f"/api/waits/ServerTasks-{number}"
        self.number = number
        self.grants = grants
        self.interruptions = 0
        self.places: list[int] = []

    def insist(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                status, answer = self.service.call(method, path, body, role="step")
                if status < 500:
                    return dict(answer)
            except OSError:
                pass
            self.interruptions += 1
            time.sleep(0.05)  # as a step pauses between two tries
        raise AssertionError(f"{method} {path} was never answered")

    def run(self) -> None:
        answer = self.insist("PUT", self.path, MACHINE)
        while answer["state"] == "waiting":
            self.places.append(answer["place"])
            answer = self.insist("GET", self.path + "?block_seconds=25")
        assert answer["state"] == "granted", answer
        self.grants.append((self.number, answer["fencing_token"]))
        self.insist("DELETE", self.path)


def line_up(service: Service, count: int, grants: list[tuple[int, int]]) -> list[Step]:
    """*count* steps that block behind ServerTasks-0, in the order of their numbers."""
    service.call("PUT", "/api/waits/ServerTasks-0", MACHINE)
    steps = []
    for number in range(1, count + 1):
        step = Step(service, number, grants)
        step.start()
        eventually(lambda: step.places)  # noqa: B023 - called before the loop goes on
        steps.append(step)
    return steps


def blocked(service: Service) -> float:
    try:
        text = str(service.call("GET", "/metrics", role="viewer")[1])
    except OSError:
        return -1.0
    return next((float(ln.split()[1]) for ln in text.splitlines() if ln.startswith("octowait_blocked_requests ")), -1.0)


def assert_served_in_order(steps: list[Step], grants: list[tuple[int, int]]) -> None:
    for step in steps:
        step.join(60)
        assert not step.is_alive()
    assert [number for number, _ in grants] == [step.number for step in steps]
    tokens = [token for _, token in grants]
    assert tokens == sorted(set(tokens))


def test_fifty_steps_keep_their_places_when_the_web_server_is_killed(make_service: Callable[..., Service]) -> None:
    service = make_service()
    grants: list[tuple[int, int]] = []
    steps = line_up(service, 50, grants)
    eventually(lambda: blocked(service) == 50)

    service.stop(signal.SIGKILL)
    eventually(lambda: all(step.interruptions for step in steps))
    service.start()
    eventually(lambda: blocked(service) == 50)

    assert grants == []
    assert [step.places[-1] for step in steps] == list(range(1, 51))
    service.call("DELETE", "/api/waits/ServerTasks-0")
    assert_served_in_order(steps, grants)


def test_one_killed_worker_process_is_replaced_and_nobody_loses_a_place(make_service: Callable[..., Service]) -> None:
    service = make_service(OCTOWAIT_WEB_PROCESSES="2")
    grants: list[tuple[int, int]] = []
    steps = line_up(service, 20, grants)
    master = service._process
    assert master
    children = [int(pid) for pid in Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text().split()]

    os.kill(children[0], signal.SIGKILL)

    service.call("DELETE", "/api/waits/ServerTasks-0")
    assert_served_in_order(steps, grants)


def test_steps_go_on_when_redis_is_killed_and_started_again(
    make_service: Callable[..., Service], tmp_path: Path
) -> None:
    redis = EmbeddedServer(tmp_path / "redis")
    redis.acquire()
    try:
        service = make_service(OCTOWAIT_REDIS_URL=redis.url)
        grants: list[tuple[int, int]] = []
        steps = line_up(service, 20, grants)
        eventually(lambda: blocked(service) == 20)

        redis.stop(signal.SIGKILL)
        redis.revive()

        # Who still blocks is woken by the subscription of the web process, which has to come back first.
        eventually(lambda: blocked(service) == 20)
        assert grants == []
        status = eventually(lambda: service.call("DELETE", "/api/waits/ServerTasks-0")[0] == 200)
        assert status
        assert_served_in_order(steps, grants)
    finally:
        redis.release()


def test_a_release_at_one_server_wakes_who_blocks_at_the_other(make_service: Callable[..., Service]) -> None:
    one, other = make_service(), make_service()
    one.call("PUT", "/api/waits/ServerTasks-1", MACHINE)
    other.call("PUT", "/api/waits/ServerTasks-2", MACHINE)
    answers: list[Any] = []
    waiter = threading.Thread(
        target=lambda: answers.append(other.call("GET", "/api/waits/ServerTasks-2?block_seconds=50")), daemon=True
    )
    waiter.start()
    eventually(lambda: blocked(other) == 1)

    started = time.monotonic()
    one.call("DELETE", "/api/waits/ServerTasks-1")
    waiter.join(30)

    assert answers[0][1]["state"] == "granted"
    assert time.monotonic() - started < 5


def test_two_servers_on_one_redis_never_grant_twice(make_service: Callable[..., Service]) -> None:
    services = [make_service(), make_service()]
    grants: list[tuple[int, int]] = []
    steps = [Step(services[number % 2], number, grants) for number in range(1, 41)]
    for step in steps:
        step.start()
    for step in steps:
        step.join(60)

    assert Counter(number for number, _ in grants) == Counter(range(1, 41))
    holding: set[str] = set()
    for record in services[0].call("GET", "/api/timeline?machine_id=Machines-7&limit=1000")[1]["records"]:
        if record["kind"] == "granted":
            assert not holding, record
            holding.add(record["task_id"])
        elif record["kind"] == "released":
            holding.remove(record["task_id"])


def test_a_server_told_to_stop_lets_its_waiters_go_at_once(make_service: Callable[..., Service]) -> None:
    service = make_service()
    service.call("PUT", "/api/waits/ServerTasks-1", MACHINE)
    service.call("PUT", "/api/waits/ServerTasks-2", MACHINE)
    answers: list[Any] = []
    waiter = threading.Thread(
        target=lambda: answers.append(service.call("GET", "/api/waits/ServerTasks-2?block_seconds=50")), daemon=True
    )
    waiter.start()
    eventually(lambda: blocked(service) == 1)

    started = time.monotonic()
    service.stop(signal.SIGTERM)
    waiter.join(30)

    assert time.monotonic() - started < 10
    assert answers[0][1]["state"] == "waiting"
