"""Polls that come too often are slowed down, not refused; and how long a poll may block."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conftest import Service, eventually

CLAIM = {"X-Octowait-Claim": "a" * 32, "X-Octowait-Version": "2"}


def poll(service: Service, query: str = "", headers: dict[str, str] | None = None) -> tuple[int, Any]:
    return service.call("GET", f"/api/waits/ServerTasks-2{query}", role="step", headers=headers)


def wait(service: Service, headers: dict[str, str] | None = None) -> None:
    for task in ("ServerTasks-1", "ServerTasks-2"):
        own = headers if task == "ServerTasks-2" else None
        service.call("PUT", f"/api/waits/{task}", {"machines": ["Machines-7"]}, role="step", headers=own)


def seconds(call: Callable[[], Any]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


@pytest.mark.parametrize("headers", [{}, CLAIM])
def test_polls_that_are_told_nothing_new_get_one_answer_a_second(service: Service, headers: dict[str, str]) -> None:
    wait(service, headers)

    answers: list[Any] = []
    took = seconds(lambda: answers.extend(poll(service, headers=headers) for _ in range(4)))

    assert [(status, answer["state"]) for status, answer in answers] == [(200, "waiting")] * 4
    assert took >= 2.9


def test_polls_at_the_same_time_are_slowed_down_together_and_none_is_refused(service: Service) -> None:
    wait(service)
    poll(service)

    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: poll(service), range(40)))

    assert {(status, answer["state"]) for status, answer in answers} == {(200, "waiting")}


def test_slowed_poll_is_answered_at_the_grant_and_the_next_one_confirms_it(service: Service) -> None:
    wait(service, CLAIM)
    poll(service, headers=CLAIM)
    answers: list[Any] = []
    waiter = threading.Thread(target=lambda: answers.append(poll(service, headers=CLAIM)))
    waiter.start()

    service.call("DELETE", "/api/waits/ServerTasks-1", role="step")
    waiter.join(30)
    state = [answers[0][1]["state"], poll(service, headers=CLAIM)[1]["state"]]

    assert state in (["granted", "granted"], ["waiting", "granted"])
    assert poll(service, headers=CLAIM)[1]["state"] == "granted"
    # A lease that its step has confirmed has no deadline.
    assert service.call("DELETE", "/api/waits/ServerTasks-2", role="step", headers=CLAIM)[1]["outcome"] == "released"


def test_poll_after_a_block_and_a_look_are_not_slowed_down(service: Service) -> None:
    wait(service)
    poll(service)

    assert seconds(lambda: poll(service, "?look=1")) < 0.9
    poll(service, "?block_seconds=1.1")
    assert seconds(lambda: service.call("GET", "/api/runs/ServerTasks-2")) < 0.9


def test_poll_blocks_for_less_than_half_of_the_time_that_a_waiter_lives(make_service: Any) -> None:
    service = make_service(OCTOWAIT_WAITER_TTL_SECONDS="14")
    wait(service)

    took = seconds(lambda: poll(service, "?block_seconds=50"))

    assert 3.4 < took < 10


def test_poll_without_a_token_is_refused_at_once_and_holds_nothing(service: Service) -> None:
    wait(service)
    poll(service)

    took = seconds(lambda: service.call("GET", "/api/waits/ServerTasks-2", role=None))

    assert took < 0.9
    eventually(lambda: "octowait_blocked_requests 0.0" in service.call("GET", "/metrics", role="viewer")[1])
