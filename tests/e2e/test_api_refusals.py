"""Every refusal is a problem with a code, also for a step that asks for text: older scripts read its detail."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Service

WAIT, CLAIM = "/api/waits/ServerTasks-1", {"X-Octowait-Claim": "a" * 32}
BODY = {"machines": ["Machines-7"]}

REFUSALS: list[tuple[str, str, Any, str | None, dict[str, str], int, str]] = [
    ("PUT", WAIT, BODY, None, CLAIM, 401, "unauthorized"),
    ("PUT", WAIT, BODY, "viewer", CLAIM, 403, "forbidden"),
    ("PUT", WAIT, BODY, "step", {"X-Octowait-Claim": "no"}, 422, "invalid_claim"),
    ("PUT", WAIT, b"{", "step", CLAIM, 400, "not_json"),
    ("PUT", WAIT, BODY, "step", {**CLAIM, "Content-Type": "text/plain"}, 415, "not_declared_json"),
    ("PUT", WAIT, {"machines": []}, "step", CLAIM, 422, "invalid"),
    ("PUT", WAIT, {**BODY, "unknown": 1}, "step", CLAIM, 422, "invalid"),
    ("PUT", WAIT, {"machines": ["Machines-8"]}, "step", CLAIM, 409, "holds_others"),
    ("PUT", WAIT, b" " * 300_000, "step", CLAIM, 413, "too_large"),
    ("PUT", "/api/waits/a%20b", BODY, "step", CLAIM, 422, "invalid"),
    ("GET", "/api/waits/ServerTasks-404", None, "step", CLAIM, 404, "unknown_run"),
    ("GET", WAIT + "?block_seconds=56", None, "step", CLAIM, 422, "invalid"),
    ("GET", WAIT + "?look=perhaps", None, "step", CLAIM, 422, "invalid"),
    ("PATCH", WAIT, BODY, "step", CLAIM, 405, "method_not_allowed"),
    ("GET", "/api/nothing", None, "step", CLAIM, 404, "not_found"),
    ("DELETE", WAIT + "?why=x", None, "step", CLAIM, 422, "invalid"),
]


@pytest.mark.parametrize("accept", ["text/plain", "application/json"])
def test_every_refusal_has_a_code_and_says_what_was_expected(service: Service, accept: str) -> None:
    service.call("PUT", WAIT, BODY, role="step", headers={"X-Octowait-Claim": "b" * 32})

    found = []
    for method, path, body, role, headers, _, _ in REFUSALS:
        status, problem = service.call(method, path, body, role=role, headers={"Accept": accept, **headers})
        found.append((method, path, status, problem["code"] if problem else ""))
        assert not problem or (problem["status"], bool(problem["detail"])) == (status, True)

    assert found == [(method, path, status, code) for method, path, _, _, _, status, code in REFUSALS]


def test_name_of_a_runbook_is_told_to_those_who_wait_for_it(service: Service) -> None:
    runbook = {
        "runbook_run_id": "RunbookRuns-2", "runbook": {"name": "Restart IIS"}, "project": {"name": "Web"},
        "environment": {"name": "Prod"}, "url": "https://octopus.example.com/app#/runbookruns/RunbookRuns-2",
    }  # fmt: skip
    service.call("PUT", WAIT, BODY | runbook, role="step")

    answer = service.call("PUT", "/api/waits/ServerTasks-2", BODY, role="step")[1]

    assert "ServerTasks-1 (Web Restart IIS to Prod) has held it" in answer["message"]
    assert answer["machines"][0]["holders"][0]["url"] == runbook["url"]
