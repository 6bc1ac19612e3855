"""P7, P8: what waiting costs Octopus, and how long a machine idles, beside the polling loop in the same simulator."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.domain.run import RunRequest
from tests.bench.report import Report
from tests.bench.world import directory, embedded
from tests.conftest import eventually, opened
from tests.simulator.control import SimulatedOctopus
from tests.simulator.stack import Stack
from tests.simulator.steps import Step, poll_wait, release_step, wait_step, work

#: As octowait comes, and on a simulated clock that runs as ours does.
DEFAULTS = {
    "OCTOWAIT_WATCH_SECONDS": "5", "OCTOWAIT_RECONCILE_SECONDS": "30", "OCTOWAIT_CATCH_UP_SECONDS": "300",
    "OCTOWAIT_OCTOPUS_RPM": "60", "OCTOWAIT_WAITER_TTL_SECONDS": "60",
}  # fmt: skip


def run(report: Report) -> None:
    rows = []
    for number in (1, 1000):
        calls = _calls_a_minute(number)
        report.measured("P7", calls, waiting=number)
        rows.append([str(number), str(calls), str(12 * number)])
    title = "P7: calls to Octopus in a minute while n runs wait for one that works"
    report.table(title, ["waiting", "octowait", "polling loop (12 x n)"], rows)

    number = int(report.pick(4, 10))
    with_release = _idle([wait_step(), _work(), release_step()], number)
    without = _idle([wait_step(), _work()], number, drop=1.0)
    polling = _idle([poll_wait(), _work()], number)
    report.table(
        "P8: a machine's idle time, end of one deployment -> the next one's work, s",
        ["", "median", "worst"],
        [[name, f"{statistics.median(idle):.2f}", f"{max(idle):.2f}"] for name, idle in (
            ("with the release step", with_release), ("without it, no webhook, found by the watch", without),
            ("polling loop", polling),
        )],
    )  # fmt: skip
    report.measured("P8.release", statistics.median(with_release))
    report.measured("P8.watch", max(without))


def _work() -> Step:
    return work("deploy", machines=["web-01"], seconds=2.0)


@contextmanager
def _stack(where: Path, url: str) -> Iterator[tuple[SimulatedOctopus, Stack]]:
    with SimulatedOctopus.start(where, speed=1, task_cap=30) as octopus:
        octopus.machine("web-01")
        with Stack(octopus, url, "bench", where, **DEFAULTS) as stack:
            opened(stack.board)
            yield octopus, stack.start()


def _calls_a_minute(number: int) -> int:
    """With *number* waiters that need no more than a poll, and a holder whose task runs."""
    with directory() as where, embedded(where) as url, _stack(where, url) as (octopus, stack):
        octopus.project("Holder", steps=[wait_step(), work("deploy", machines=["web-01"], seconds=10_000)])
        holder = octopus.deploy("Holder", machines=["web-01"])
        eventually(lambda: stack.records(kind="granted"), timeout=60)
        machine = stack.records(kind="granted")[0].machines[0]
        for waiter in range(number):
            task, info = f"ServerTasks-{10_000 + waiter}", {"space_id": octopus.space_id}
            stack.board.join(RunRequest(task, parked=True, info=info), {machine})
        before, began = _calls(octopus), time.monotonic()
        time.sleep(60)
        calls = _calls(octopus) - before
        assert stack.board.place(holder.task_id).is_granted  # type: ignore[union-attr]
        return round(calls * 60 / (time.monotonic() - began))


def _calls(octopus: SimulatedOctopus) -> int:
    """Those that come with waiting: a task that is asked for one by one is one that Octopus does not know."""
    paths: Mapping[str, int] = octopus.calls()["by_key_and_path"].get("octowait", {})
    return sum(count for path, count in paths.items() if path != "GET tasks/{id}")


def _idle(steps: list[Step], number: int, *, drop: float = 0.0) -> list[float]:
    """Seconds between the end of each of *number* deployments and the work of the next one, 0 where there were none."""
    with directory() as where, embedded(where) as url, _stack(where, url) as (octopus, _):
        octopus.faults(drop=drop)
        for one in range(number):
            octopus.project(f"P{one}", steps=steps)
            octopus.deploy(f"P{one}", machines=["web-01"])
        octopus.wait_idle(60 + 20 * number)
        runs: list[dict[str, Any]] = sorted(octopus.record()["runs"], key=lambda run: run["work"][0]["started_ms"])
        return [
            max(0, after["work"][0]["started_ms"] - before["ended_ms"]) / 1000
            for before, after in zip(runs, runs[1:], strict=False)
        ]
