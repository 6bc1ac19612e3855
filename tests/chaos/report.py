"""What a run of the chaos came to, in tables."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.chaos.evidence import Zombie
from tests.chaos.experiment import Outcome
from tests.chaos.history import Kind
from tests.chaos.measurements import write
from tests.chaos.nemesis import Blow

Row = Sequence[str]

#: *granted*: a free machine is granted again. *repaired*: a run whose end nobody told of makes room for the next.
#: *zombies*: leases whose client had gone, that began while the fault lasted, and the longest of them.
COLUMNS = ("fault", "times", "what happened", "zombies", "granted p50, s", "max", "repaired p50, s", "max")

#: Violations that are shown.
MOST_SHOWN = 20


def print_outcome(outcome: Outcome, store: str, command: str, keep: Path | None = None) -> int:
    """Print it all, and *command* where something is wrong; the status of the process."""
    verdict = outcome.verdict
    print(f"\n{summary(outcome, store)}")
    print(table(COLUMNS, fault_rows(outcome)))
    for violation in verdict.violations[:MOST_SHOWN]:
        print(f"VIOLATION {violation}")
    if verdict.violations:
        print(f"\n{len(verdict.violations)} violations: {dict(verdict.by_check)}. Again: {command}")
        if keep:
            write_evidence(outcome, keep)
        return 1
    print("0 violations")
    return 0


def write_outcome(outcome: Outcome, store: str, command: str) -> None:
    """Put what *command* came to into its section of the measurements."""
    words = [f"{part}." for part in summary(outcome, store).split("; ")]
    words += ["Seconds until a free machine was granted again, and until a run whose end nobody told of made room."]
    write(f"chaos on {store}", f"Chaos on {store}", command, ["0 violations.", *words], (COLUMNS, fault_rows(outcome)))


def summary(outcome: Outcome, store: str) -> str:
    verdict = outcome.verdict
    scripts = sum(op.kind is Kind.ASKED and op.verb == "script" for op in outcome.ops)
    handoffs = sorted(verdict.handoffs)
    speed = verdict.grants / outcome.seconds
    parts = [
        f"{verdict.grants} grants on {store} in {outcome.seconds:.0f} s ({speed:.0f} a second)",
        f"{len(outcome.blows)} faults", f"{verdict.records} records in {len(outcome.epochs)} epochs",
        f"{scripts} of the runs had step scripts",
        f"zombies: {_counted(verdict.zombies)}, of late requests {_counted(z for z in verdict.zombies if z.is_late)}",
        f"hand-off p50 {middle(handoffs):.0f} ms, max {max(handoffs, default=0):.0f} ms of {len(handoffs)}",
        f"{outcome.calls} calls of Octopus", f"seed {outcome.plan.seed}, plan {outcome.plan.digest}",
    ]  # fmt: skip
    return "; ".join(parts) + (f"; NOT ANSWERED {outcome.unknown}" if outcome.unknown else "")


def fault_rows(outcome: Outcome) -> list[Row]:
    by_fault: dict[str, list[Blow]] = defaultdict(list)
    for blow in outcome.blows:
        by_fault[blow.strike.fault.value].append(blow)
    rows: list[Row] = []
    in_none = set(outcome.verdict.zombies)
    for fault, blows in sorted(by_fault.items()):
        zombies = {z for z in outcome.verdict.zombies if _within(z.since_ms, _spans(blows))}
        in_none -= zombies
        granted = [right_after(blow, outcome.sung.granted) for blow in blows]
        repaired = [right_after(blow, outcome.sung.repaired) for blow in blows]
        rows.append((fault, str(len(blows)), what_happened(outcome, blows), _counted(zombies), *_spread(granted),
                     *_spread(repaired)))  # fmt: skip
    return [*rows, ("(no fault)", "", "", _counted(in_none), "", "", "", "")]


def _counted(zombies: Iterable[Zombie]) -> str:
    """How many, and the longest."""
    seconds = [zombie.seconds for zombie in zombies]
    return f"{len(seconds)} of {max(seconds):.1f} s at most" if seconds else "0"


def right_after(blow: Blow, looks: Sequence[tuple[float, float]]) -> float | None:
    """Seconds from the strike until a look that began after it came to a good end."""
    ends = [ended for began, ended in looks if began >= blow.began_ms]
    return (min(ends) - blow.began_ms) / 1000 if ends else None


def what_happened(outcome: Outcome, blows: Sequence[Blow]) -> str:
    """What clients and the timeline saw from a strike until one second after it was over, of all strikes together."""
    spans = _spans(blows)
    broken = sum(op.kind is Kind.BROKEN and _within(op.at_ms, spans) for op in outcome.ops)
    kinds: Counter[str] = Counter()
    for epoch in outcome.epochs:
        for record in epoch:
            if record.kind in ("expired", "closed", "outage_ended", "caught_up") and _within(record.at_ms, spans):
                kinds[record.kind] += 1
    said = [f"{broken} calls broken", *(f"{n} {kind.replace('_', ' ')}" for kind, n in sorted(kinds.items()))]
    return ", ".join(said)


def _spans(blows: Sequence[Blow]) -> list[tuple[float, float]]:
    """Until one second after each was over."""
    return [(blow.began_ms, blow.over_ms + 1000) for blow in blows]


def _within(at_ms: float, spans: Iterable[tuple[float, float]]) -> bool:
    return any(begin <= at_ms <= end for begin, end in spans)


def _spread(values: Sequence[float | None]) -> tuple[str, str]:
    known = sorted(value for value in values if value is not None)
    return (f"{middle(known):.1f}", f"{known[-1]:.1f}") if known else ("–", "–")


def middle(values: Sequence[float]) -> float:
    return values[len(values) // 2] if values else 0.0


def table(columns: Row, rows: Iterable[Row]) -> str:
    lines = [columns, *rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    shown = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([shown[0], "  ".join("-" * width for width in widths), *shown[1:]])


def write_evidence(outcome: Outcome, keep: Path) -> None:
    """The history, the timeline and what is wrong with them, to be read by a person."""
    keep.mkdir(parents=True, exist_ok=True)
    (keep / "history.txt").write_text("\n".join(map(str, outcome.ops)))
    (keep / "timeline.txt").write_text("\n".join(f"{r.epoch} {r}" for epoch in outcome.epochs for r in epoch))
    (keep / "violations.txt").write_text("\n".join(map(str, outcome.verdict.violations)))
    print(f"history and timeline: {keep}")
