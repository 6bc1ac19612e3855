"""Many polls that come one after the other cost Redis a script a tick, and not two scripts each."""

import time
from dataclasses import replace
from datetime import timedelta

from tests.bench.server_time import script_times
from tests.bench.wire import Line, claim_of, step_http

COUNT = 40


def test_many_who_block_look_at_their_runs_together(make_service, board, a_run):
    service = make_service(OCTOWAIT_WEB_PROCESSES="1")
    runs = [a_run() for _ in range(COUNT)]
    for run in runs:
        board.join(replace(run, claim=claim_of(run.task_id)), {"Machines-1"}, ttl=timedelta(seconds=60))
    lines = [Line(service.port) for _ in runs[1:]]
    with script_times(board.client) as took:
        for line, run in zip(lines, runs[1:], strict=True):
            line.send(step_http("GET", run.task_id, service.tokens["step"], "?block_seconds=2"))
            time.sleep(0.02)
        answers = [line.receive() for line in lines]
    for line in lines:
        line.close()

    assert all(b"\r\n\r\nwaiting " in answer for answer in answers)
    # Nine of them before they are many, a look or two for all others, and eight ticks in which they are told.
    assert len(took["poll_many"]) < COUNT * 3 / 4
