"""What the fuzzer of webhooks looks for is found where it is, and its changes of JSON reach far."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from app.domain.events import Unreadable, parse_delivery
from tests.conftest import ROOT, a_delivery
from tests.fuzz.payloads import mutate
from tests.fuzz.promises import SECRET, Broken, check

CAPTURED = sorted((ROOT / "tests" / "payloads").glob("*.json"))
BODY = json.dumps(a_delivery()).encode()
GOOD = parse_delivery(BODY)


@pytest.mark.parametrize("path", CAPTURED, ids=lambda path: path.stem)
def test_captured_payloads_and_changes_of_them_break_no_promise(path):
    body = path.read_bytes()
    check(body)
    for seed in range(1, 150):
        check(mutate(body, 8_192, seed) or b"")
        # Cut anywhere, as a connection does.
        check(body[: len(body) * seed // 150])


@pytest.mark.parametrize("broken", [
    replace(GOOD, task_id="ServerTasks-1\0"), replace(GOOD, deployment_id="../../api"), replace(GOOD, key=""),
    replace(GOOD, category="a" * 101), replace(GOOD, occurred_ms=2**53), replace(GOOD, key="\ud800"),
    replace(GOOD, info={"project": {"id": "Projects-1\n"}}), replace(GOOD, info={"url": "\udfff"}),
])  # fmt: skip
def test_broken_promise_is_found(broken):
    with pytest.raises(Broken):
        check(BODY, lambda _: broken)


def test_reason_without_end_is_found():
    def unreadable(_):
        raise Unreadable("")

    with pytest.raises(Broken):
        check(BODY, unreadable)


def test_secret_in_a_body_is_taken_out_however_it_is_spelled():
    check(b'{"Payload": "' + SECRET.encode() + b'"}')
    check(b'{"Payload": "\\u0073' + SECRET[1:].encode() + b'"')


def test_changes_are_json_and_the_same_for_the_same_seed():
    changes = {mutate(BODY, 8_192, seed) for seed in range(200)}

    assert len(changes) > 100
    assert mutate(BODY, 8_192, 7) == mutate(BODY, 8_192, 7)
    assert mutate(b"{", 8_192, 7) is None
