"""Compares the waits that octowait tells of with what the simulated Octopus Server saw happen."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.domain.analysis.fronts import Reason
from app.domain.analysis.replay import Wait


@dataclass
class Comparison:
    """Per wait: how many ms longer the step ran than octowait says that it waited; and what is wrong."""

    more_ms: list[int] = field(default_factory=list)
    stretches: int = 0
    problems: list[str] = field(default_factory=list)

    def line(self) -> str:
        return (
            f"{len(self.more_ms)} waits, {self.stretches} stretches: a wait step ran longer than its wait by "
            f"{statistics.median(self.more_ms):.0f} ms in the median, {max(self.more_ms)} ms at most"
        )


def compare(record: Mapping[str, Any], waits: Sequence[Wait], *, tolerance_ms: int) -> Comparison:
    """Every wait against its step, and every blocker against the run that it names.

    1. The stretches of a wait have no gap, no overlap, and add up to it exactly.
    2. The wait step of the run ran as long as the wait, and at most *tolerance_ms* longer: its process starts, asks,
       hears of the grant and ends within that.
    3. Whoever is said to hold a machine in a stretch ran then, to *tolerance_ms*.
    """
    found = Comparison()
    runs = _runs(record)
    for wait in waits:
        found.problems += _sums(wait)
        found.stretches += len(wait.stretches)
        found.problems += _blockers(wait, runs, tolerance_ms)
        if wait.outcome == "granted" and not wait.parked:
            _step(wait, runs, tolerance_ms, found)
    return found


def _runs(record: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    runs: dict[str, list[Mapping[str, Any]]] = {}
    for run in record["runs"]:
        runs.setdefault(run["task_id"].lower(), []).append(run)
    return runs


def _sums(wait: Wait) -> Iterator[str]:
    edges = [wait.from_ms, *(stretch.to_ms for stretch in wait.stretches)]
    starts = [*(stretch.from_ms for stretch in wait.stretches), wait.to_ms]
    if edges != starts:
        yield f"{wait.task_id}: its stretches do not add up to its wait: {wait}"


def _step(wait: Wait, runs: Mapping[str, list[Mapping[str, Any]]], tolerance_ms: int, found: Comparison) -> None:
    steps = [step for run in runs[wait.task_id.lower()] for step in run["steps"]
             if step["script"] == "wait" and step["started_ms"] <= wait.from_ms <= (step["ended_ms"] or 0)]  # fmt: skip
    if len(steps) != 1:
        found.problems.append(f"{wait.task_id}: {len(steps)} wait steps ran when it began to wait")
        return
    if steps[0]["status"] != "Success":
        # It was killed, and could be granted until octowait heard of that, or missed its signs of life.
        return
    more_ms = (steps[0]["ended_ms"] - steps[0]["started_ms"]) - wait.waited_ms
    found.more_ms.append(more_ms)
    if not 0 <= more_ms <= tolerance_ms:
        found.problems.append(f"{wait.task_id}: its step ran {more_ms} ms longer than its wait of {wait.waited_ms} ms")


def _blockers(wait: Wait, runs: Mapping[str, list[Mapping[str, Any]]], tolerance_ms: int) -> Iterator[str]:
    for stretch in wait.stretches:
        if stretch.reason is not Reason.HOLDER or stretch.task_id is None:
            continue
        if not any(
            (run["started_ms"] or 0) - tolerance_ms <= stretch.from_ms
            and stretch.to_ms <= (run["ended_ms"] or stretch.to_ms) + tolerance_ms
            for run in runs.get(stretch.task_id.lower(), ())
        ):
            yield f"{wait.task_id}: {stretch.task_id} did not run in all of {stretch.from_ms} to {stretch.to_ms}"
