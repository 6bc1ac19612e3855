"""Claims over HTTP: what a step says in its headers, and what each of its calls takes and ends."""

from __future__ import annotations

import http.client
import json
import re
import threading
from typing import Any

import pytest

from tests.conftest import TOKENS, Service, eventually

FIRST, SECOND = "a" * 32, "b" * 32


def call(
    service: Service, method: str, number: int, claim: str | None = FIRST, query: str = "", *, text: bool = False,
    **body: Any,
) -> tuple[int, Any]:  # fmt: skip
    headers = {"X-Octowait-Version": "2", **({"X-Octowait-Claim": claim} if claim else {})}
    if text:
        headers["Accept"] = "text/plain"
    sent = {"machines": ["Machines-7"], **body} if method == "PUT" else None
    return service.call(method, f"/api/waits/ServerTasks-{number}{query}", sent, role="step", headers=headers)


def collected(service: Service, number: int) -> bool:
    """Whether the lease of a task is its own for as long as it lives: nobody takes it back."""
    records = service.call("GET", f"/api/runs/ServerTasks-{number}", role="viewer")[1]["timeline"]
    return [record["kind"] for record in records][-1] == "granted"


def test_answer_says_whose_claim_it_is_where_the_page_is_and_how_children_prove_themselves(service: Service) -> None:
    status, answer = call(service, "PUT", 1)

    assert (status, answer["state"], answer["claim"]) == (201, "granted", FIRST)
    assert answer["details"] == f"{service.url}/runs/ServerTasks-1"
    assert len(answer["family"]) == 32 and answer["family"] != FIRST
    assert re.fullmatch(r"[!-~]{20,200}", answer["seen"])


def test_text_answer_has_a_third_line_that_says_the_same(service: Service) -> None:
    call(service, "PUT", 9)

    status, text = call(service, "PUT", 1, text=True)

    answer = call(service, "GET", 1)[1]
    first, message, third = text.split("\n")[:3]
    words = third.split(" ")
    assert (status, first, text.count("\n"), text[-1]) == (201, "waiting 1", 3, "\n")
    assert message.startswith("Waiting for Machines-7")
    pairs = dict(zip(words[::2], words[1::2], strict=True))
    # Each answer has a word of its own for what was seen.
    assert re.fullmatch(r"[!-~]{20,200}", pairs.pop("seen"))
    assert pairs == {name: answer[name] for name in ("claim", "news", "family", "details")}


def test_text_answer_to_a_step_of_before_has_two_lines_as_before(service: Service) -> None:
    _, text = service.call(
        "PUT", "/api/waits/ServerTasks-1", {"machines": ["Machines-7"]}, role="step", headers={"Accept": "text/plain"}
    )

    assert re.fullmatch(r"granted [0-9]+\nGranted: Machines-7, after waiting 0 s\.\n", text)


def test_step_confirms_what_the_answer_to_its_first_call_said(make_service: Any) -> None:
    service = make_service(OCTOWAIT_WAITER_TTL_SECONDS="1")
    call(service, "PUT", 1)
    confirmed = call(service, "GET", 1)[1]
    call(service, "PUT", 2, SECOND, machines=["Machines-8"])

    eventually(lambda: call(service, "GET", 2, SECOND, "?look=1")[1]["state"] == "expired")

    assert confirmed["state"] == "granted"
    assert collected(service, 1)


def test_blocked_call_that_tells_of_a_grant_collects_nothing(make_service: Any) -> None:
    service = make_service(OCTOWAIT_WAITER_TTL_SECONDS="2")
    call(service, "PUT", 9, None)
    call(service, "PUT", 1)
    states = ["waiting"]

    def wait() -> None:
        while states[-1] == "waiting":
            states.append(call(service, "GET", 1, query="?block_seconds=30")[1]["state"])

    waiter = threading.Thread(target=wait)
    waiter.start()
    eventually(lambda: len(states) > 1)

    call(service, "DELETE", 9, None)
    waiter.join(30)

    assert states[-1] == "granted"
    eventually(lambda: call(service, "GET", 1, query="?look=1")[1]["state"] == "expired")


def test_call_that_was_given_up_and_is_carried_out_late_takes_nothing(make_service: Any) -> None:
    service = make_service(OCTOWAIT_WAITER_TTL_SECONDS="1")
    link = http.client.HTTPConnection("127.0.0.1", service.port)
    link.request(
        "PUT", "/api/waits/ServerTasks-1", json.dumps({"machines": ["Machines-7"]}),
        {"Authorization": f"Bearer {TOKENS['step']}", "Content-Type": "application/json", "X-Octowait-Claim": FIRST},
    )  # fmt: skip
    link.close()

    # Without a claim this lease would be there for as long as the task.
    eventually(lambda: call(service, "PUT", 2, None)[1]["state"] == "granted")


def test_late_delete_does_not_end_the_next_run_of_the_task(service: Service) -> None:
    call(service, "PUT", 1)
    assert call(service, "DELETE", 1)[1] == {"outcome": "released", "claim": FIRST}
    call(service, "PUT", 1, SECOND)
    call(service, "GET", 1, SECOND)

    late = call(service, "DELETE", 1)

    assert late == (200, {"outcome": "left", "claim": FIRST})
    assert call(service, "GET", 1, SECOND)[1]["state"] == "granted"


def test_delete_answers_in_text_with_its_claim(service: Service) -> None:
    call(service, "PUT", 1)

    assert call(service, "DELETE", 1, text=True)[1] == (
        f"released 0\nServerTasks-1 has given its machines back.\nclaim {FIRST}\n"
    )
    assert call(service, "DELETE", 1, None, text=True)[1] == "nothing 0\nServerTasks-1 held nothing.\n"


def test_put_after_its_delete_is_answered_left_and_does_nothing(service: Service) -> None:
    call(service, "DELETE", 1)

    status, answer = call(service, "PUT", 1)

    assert (status, answer["state"], answer["claim"], answer["machines"]) == (200, "left", FIRST, [])
    assert call(service, "PUT", 2, SECOND)[1]["state"] == "granted"


def test_claim_that_another_has_followed_is_answered_left(service: Service) -> None:
    call(service, "PUT", 1)
    assert call(service, "PUT", 1, SECOND)[1]["claim"] == SECOND

    answers = [call(service, "PUT", 1), call(service, "GET", 1), call(service, "GET", 1, query="?block_seconds=1")]

    assert [(status, answer["state"], answer["claim"]) for status, answer in answers] == [(200, "left", FIRST)] * 3
    assert call(service, "PUT", 1, text=True)[1].startswith("left 0\n")


def test_poll_of_a_claim_that_never_asked_is_told_to_ask(service: Service) -> None:
    call(service, "PUT", 1, None)

    status, problem = call(service, "GET", 1)

    assert (status, problem["code"]) == (404, "unknown_run")
    assert call(service, "PUT", 1)[1]["state"] == "granted"
    assert call(service, "GET", 1)[0] == 200


@pytest.mark.parametrize("claim", [None, SECOND])
def test_look_tells_the_claim_and_not_the_word_of_the_family(service: Service, claim: str | None) -> None:
    call(service, "PUT", 1)

    status, answer = call(service, "GET", 1, claim, "?look=1&block_seconds=30")

    assert (status, answer["state"], answer["claim"], answer["family"]) == (200, "granted", FIRST, None)


@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
@pytest.mark.parametrize("claim", ["", "short", "a" * 65, "a" * 16 + " " + "a" * 15, "a" * 31 + "/", "ä" * 20])
def test_claim_that_is_none_is_refused_with_what_was_expected(service: Service, method: str, claim: str) -> None:
    headers = {"X-Octowait-Claim": claim}
    body = {"machines": ["Machines-7"]} if method == "PUT" else None

    status, problem = service.call(method, "/api/waits/ServerTasks-1?", body, role="step", headers=headers)

    assert (status, problem["code"]) == (422, "invalid_claim")
    assert "X-Octowait-Claim: expected 16 to 64" in problem["detail"]
    assert service.call("GET", "/api/runs/ServerTasks-1", role="viewer")[0] == 404


def test_what_a_step_has_not_seen_from_us_is_taken_and_ignored(service: Service) -> None:
    headers = {"X-Octowait-Claim": FIRST, "X-Octowait-Seen": "x" * 5000, "X-Octowait-Version": "new"}

    status, _ = service.call(
        "PUT", "/api/waits/ServerTasks-1", {"machines": ["Machines-7"]}, role="step", headers=headers
    )

    assert status == 201


def test_child_proves_its_parent_by_the_word_and_the_word_is_shown_to_nobody(service: Service) -> None:
    word = call(service, "PUT", 1)[1]["family"]
    call(service, "GET", 1)

    child = call(service, "PUT", 2, SECOND, on_behalf_of=f"ServerTasks-1.{word}")[1]
    stranger = call(service, "PUT", 3, "c" * 32, on_behalf_of=f"ServerTasks-1.{'d' * 32}")[1]

    assert (child["state"], stranger["state"]) == ("granted", "waiting")
    for path in ("/api/runs/ServerTasks-1", "/api/runs/ServerTasks-2", "/api/timeline", "/api/machines", "/api/waits",
                 "/runs/ServerTasks-2"):  # fmt: skip
        assert word not in str(service.call("GET", path)[1]), path
    assert service.call("GET", "/api/runs/ServerTasks-2", role="viewer")[1]["info"]["on_behalf_of"] == "ServerTasks-1"


def test_late_delete_of_a_step_without_claims_is_recorded_as_one(service: Service) -> None:
    call(service, "PUT", 1)

    call(service, "DELETE", 1, None)

    records = service.call("GET", "/api/runs/ServerTasks-1", role="viewer")[1]["timeline"]
    assert [record["kind"] for record in records] == ["joined", "granted", "claimless", "released"]
