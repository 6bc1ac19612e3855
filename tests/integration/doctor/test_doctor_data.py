"""What doctor finds of data that do not agree."""

from __future__ import annotations

from dataclasses import replace

from app.coordination.audit import Flaw
from app.doctor import on_data
from app.doctor.examination import open_context
from app.domain.run import RunRequest
from tests.integration.doctor.helpers import ERROR, OK, found


def test_all_agrees(case):
    assert found(on_data.agreement, replace(case, flaws=list)) == [("data_agree", OK)]


def test_what_does_not_agree_is_told_by_run_and_machine(case):
    flaws = [Flaw("not_held", "ServerTasks-7", ("Machines-1",)), *[Flaw("malformed", None, (), "lines: x")] * 12]

    (finding,) = on_data.agreement(replace(case, flaws=lambda: flaws))

    assert finding.level == ERROR
    assert "13 things in Redis do not agree: ServerTasks-7, Machines-1: free, and a run has got it; " in finding.what
    assert finding.what.endswith("; and 3 more.")


def test_doctor_looks_into_redis_and_changes_nothing(settings, board):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    board._client.zrem(board._keys.holders, "machines-7\0lease\0ServerTasks-1")

    with open_context(settings, None, is_here=False) as context:
        assert found(on_data.agreement, context) == [("data_disagree", ERROR)]
        assert found(on_data.agreement, context) == [("data_disagree", ERROR)]
