"""Writes a long timeline quickly: the records and index entries that the scripts write, a thousand a call."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from app.coordination.board import Board
from tests.conftest import eventually

#: Of a fleet of this size; four records a run.
MACHINES, PROJECTS, ENVIRONMENTS = 500, 50, 5

_FILL = """
local ms, first = tonumber(ARGV[1]), tonumber(ARGV[2])
local kinds = { "joined", "granted", "event", "released" }
for n = first, first + tonumber(ARGV[3]) - 1 do
    local run, stamp = math.floor(n / 4), string.format("%.0f-0", ms + n)
    local task, machine = "ServerTasks-p" .. run, "Machines-" .. run % tonumber(ARGV[4])
    local project = "Projects-" .. run % tonumber(ARGV[5])
    local environment = "Environments-" .. run % tonumber(ARGV[6])
    local detail = '{"token":' .. run .. ',"waited_ms":183250}'
    redis.call("XADD", KEYS[1], stamp, "kind", kinds[n % 4 + 1], "task", task, "run", 1, "machines", machine,
        "project", project, "environment", environment, "detail", detail)
    redis.call("RPUSH", KEYS[2] .. "run:" .. string.lower(task), stamp)
    redis.call("XADD", KEYS[2] .. "environment:" .. string.lower(environment), stamp, "", "")
    redis.call("XADD", KEYS[2] .. "project:" .. string.lower(project), stamp, "", "")
    redis.call("XADD", KEYS[2] .. "machine:" .. string.lower(machine), stamp, "", "")
end
"""


def write_past(board: Board, records: int) -> int:
    """Put *records* of the last hours into an empty timeline: the time of the first, in ms."""
    first_ms = int(time.time() * 1000) - records - 60_000
    # What opening the board has written is later than all of it.
    board.client.delete(board.keys.timeline)
    script = board.client.register_script(_FILL)
    keys = [board.keys.timeline, board.keys.named("index:")]
    for at in range(0, records, 1000):
        script(keys, [first_ms, at, min(1000, records - at), MACHINES, PROJECTS, ENVIRONMENTS])
    return first_ms


@contextmanager
def without_file(board: Board) -> Iterator[None]:
    """No append-only file while a lot is prepared; it is complete again afterwards."""
    board.client.config_set("appendonly", "no")
    try:
        yield
    finally:
        board.client.config_set("appendonly", "yes")
        eventually(lambda: not _is_rewriting(board), timeout=120)


def _is_rewriting(board: Board) -> bool:
    facts = board.client.info("persistence")
    return bool(facts["aof_rewrite_in_progress"] or facts["aof_rewrite_scheduled"])
