"""P13: the longest script that hostile shapes of a board come to, as Redis itself timed it."""

from __future__ import annotations

import time
from collections.abc import Mapping

from tests.bench.acts import Shape
from tests.bench.report import Report
from tests.bench.shapes import SHAPES
from tests.bench.wide_shapes import WIDE_SHAPES
from tests.bench.world import board_on, directory, embedded, new_namespace
from tests.open_board import OpenBoard

#: What takes less is no matter, µs.
THRESHOLD_US = 200

SECTION = (
    "Hostile shapes (P13)",
    """What is done to each is done through the board, one call after another.
The longest script is the longest entry of `SLOWLOG`.
The last figure is the time until all was done, also what was left to others, on one client.""",
)

_COLUMNS = ("shape", "longest script ms", "limit ms", "scripts above 0.2 ms", "ms in all")


def run(report: Report) -> None:
    """Print the longest script of each shape beside its limit."""
    rows = []
    with directory() as where, embedded(where) as url, board_on(url) as first:
        first.client.config_set("slowlog-max-len", 100_000)
        first.client.config_set("appendfsync", "no")
        for shape in (*SHAPES, *WIDE_SHAPES):
            board = OpenBoard(first.client, namespace=new_namespace())
            board.open("test")
            rows.append(_measure(report, board, shape))
            first.client.flushall()
    report.table("Longest scripts", _COLUMNS, rows)


def _measure(report: Report, board: OpenBoard, shape: Shape) -> list[object]:
    acts = shape.build(board, shape.sizes[report.quick])
    board.client.config_set("slowlog-log-slower-than", THRESHOLD_US)
    board.client.slowlog_reset()
    began = time.perf_counter()
    for act in acts:
        act()
    in_all = 1000 * (time.perf_counter() - began)
    took = _scripts(board)
    board.client.config_set("slowlog-log-slower-than", -1)
    longest = max(took, default=0.0)
    report.check("P13", shape.name, longest, shape.limit_ms, unit="ms")
    return [shape.name, longest, shape.limit_ms, len(took), in_all]


def _scripts(board: OpenBoard) -> list[float]:
    """ms of each script that took longer than the threshold."""
    entries: list[Mapping[str, object]] = board.client.slowlog_get(100_000)
    return [int(str(entry["duration"])) / 1000 for entry in entries if bytes(entry["command"]).startswith(b"EVALSHA")]
