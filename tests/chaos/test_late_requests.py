"""A call that is carried out when its sender has given it up takes and ends nothing, where it says its claim."""

from __future__ import annotations

import signal

import pytest

from tests.chaos.expected import LATE, ONE, TWO, a_gate
from tests.chaos.gate import happens

FIRST, SECOND, THIRD = "1" * 32, "2" * 32, "3" * 32


@pytest.mark.timeout(180)
def test_late_release_does_not_end_the_next_run_of_its_task(tmp_path):
    with a_gate(tmp_path, webs=2, ttl=30) as gate:
        gate.put(ONE, "Machines-1", web=1, claim=FIRST)
        gate.get(ONE, web=1, claim=FIRST)
        gate.webs[0].signal(signal.SIGSTOP)
        gate.send("DELETE", ONE, claim=FIRST)
        gate.delete(ONE, web=1, claim=FIRST)
        # Its task is run again, and works.
        gate.put(ONE, "Machines-1", web=1, claim=SECOND)
        gate.get(ONE, web=1, claim=SECOND)
        gate.put(TWO, "Machines-1", web=1, claim=THIRD)
        gate.webs[0].signal(signal.SIGCONT)

        assert not happens(lambda: gate.state(TWO, web=1) == "granted", LATE)
        assert gate.get(ONE, web=1, claim=SECOND) == "granted"


@pytest.mark.timeout(180)
def test_grant_of_a_request_that_its_sender_gave_up_is_taken_back(tmp_path):
    with a_gate(tmp_path, has_key=False) as gate:
        gate.webs[0].signal(signal.SIGSTOP)
        gate.send("PUT", ONE, {"machines": ["Machines-1"]}, claim=FIRST)
        gate.webs[0].signal(signal.SIGCONT)

        assert happens(lambda: gate.state(ONE) != "unknown")
        assert happens(lambda: gate.put(TWO, "Machines-1", claim=SECOND) == "granted")


@pytest.mark.timeout(180)
def test_late_request_of_an_execution_that_another_has_followed_does_nothing(tmp_path):
    with a_gate(tmp_path, webs=2, ttl=30) as gate:
        gate.put(ONE, "Machines-1", web=1, claim=FIRST)
        gate.webs[0].signal(signal.SIGSTOP)
        gate.send("PUT", ONE, {"machines": ["Machines-1"]}, claim=FIRST)
        gate.put(ONE, "Machines-1", web=1, claim=SECOND)
        gate.webs[0].signal(signal.SIGCONT)
        # The server answers a call that came after the late one.
        gate.state(ONE)

        assert gate.put(ONE, "Machines-1", claim=FIRST) == "left"
        assert gate.get(ONE, claim=SECOND) == "granted"
