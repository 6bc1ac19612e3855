"""What a soak of hostile shapes came to: its tables, and what must not be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.report import Report
from tests.bench.slow_log import Slow
from tests.bench.stage import TASKS
from tests.bench.witnesses import Watch

#: Limits of a script, ms, and machines of a run from which on it has the second one.
LIMIT_MS, WIDE_LIMIT_MS, WIDE = 50, 100, 1000

#: The longest scripts that are shown.
SHOWN = 12


@dataclass(frozen=True)
class Outcome:
    """*wide*: seconds since 1970 in which the timeline has a record of a run with `WIDE` machines.

    Args:
        wide_tasks: The numbers of tasks whose runs had so many, of those that long scripts are about.
        played: The names of the attacks, in order: tasks of the first one have numbers from `TASKS`.
        scripts: Seconds that scripts took in Redis.
        latency: What Redis says of its own pauses: (event, when, last ms, longest ms).
        problems: What must not be, such as what is left when all have ended.
    """

    alone: Watch
    beside: Watch
    slow: Sequence[Slow]
    wide: set[int]
    wide_tasks: set[int]
    played: Sequence[str]
    seconds: float
    scripts: float
    answers: Counter[str]
    longest_answer: int
    grants: int
    latency: Sequence[Sequence[Any]]
    problems: Sequence[str]

    def is_wide(self, slow: Slow) -> bool:
        return slow.at in self.wide or slow.number in self.wide_tasks

    def longest(self, *, is_wide: bool) -> float:
        """ms of the longest script that is about a run with many machines, or is not."""
        return max((slow.ms for slow in self.slow if self.is_wide(slow) == is_wide), default=0.0)

    def attack_of(self, slow: Slow) -> str:
        number = slow.number // TASKS
        return self.played[number - 1] if number else "honest steps" if slow.number else "(what is left, the sweep)"

    def print(self, report: Report) -> None:
        honest = ("", "hand-offs", "p50", "p99", "max", "PING p50", "p99", "max")
        rows = [self.alone.row("alone"), self.beside.row("beside it")]
        report.table("Honest hand-offs and a PING to Redis, ms", honest, rows)
        counts = ("scripts of 1 ms", "of 10 ms", "longest ms")
        attacks = Counter(self.played)
        grouped = [[name, attacks.get(name), *counted] for name, *counted in _grouped(self.slow, self.attack_of)]
        report.table("By what it was done for", ("", "times", *counts), grouped)
        report.table("By script", ("", *counts), _grouped(self.slow, lambda slow: slow.name))
        longest = sorted(self.slow, key=lambda slow: -slow.ms)[:SHOWN]
        rows = [[slow.ms, slow.name, self.attack_of(slow), slow.more_bytes / 1000, "yes" if self.is_wide(slow) else ""]
                for slow in longest]  # fmt: skip
        report.table("The longest scripts", ("ms", "script", "for", "KB of arguments", "many machines"), rows)
        report.table("In all", ("", ""), self._totals())

    def _totals(self) -> Iterable[Sequence[object]]:
        yield "seconds", self.seconds
        yield "attacks", len(self.played)
        yield "requests of the caller", sum(self.answers.values())
        yield "grants that were collected, none beside another", self.grants
        yield "scripts' share of the time, %", 100 * self.scripts / self.seconds
        yield "longest answer, KB", self.longest_answer / 1024
        for what, count in sorted(self.answers.items()):
            yield f"answers: {what}", count
        for event, _, _, most, *_ in self.latency:
            yield f"Redis, {event.decode()}, longest ms", int(most)


def _grouped(slow: Sequence[Slow], key: Any) -> list[list[object]]:
    names = sorted({key(each) for each in slow})
    took = {name: [each.ms for each in slow if key(each) == name] for name in names}
    return [[name, len(ms), sum(each >= 10 for each in ms), max(ms)] for name, ms in took.items()]
