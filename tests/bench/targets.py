"""The targets of the benches as data: what is measured, its bound, and what it was before its target was set.

A bench names a target by its key: ``report.measured("P1.p50", 0.8, waiters=100)``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """One thing that is measured.

    Args:
        number: Of the target that it belongs to, e.g. ``P15``.
        what: With ``{name}`` for what differs from one measurement to the next.
        limit: What it may be at most, or has to be at least.
        before: As measured from outside on 2026-11-25, with its unit; empty where nobody did.
    """

    number: str
    what: str
    limit: float
    unit: str = ""
    at_least: bool = False
    before: str = ""


TARGETS = {
    "P1.woken.p50": Target("P1", "hand-off p50 ÷ python-redis-lock, {waiters} waiters, until BLPOP returns", 1.0,
                           before="0.96–1.13"),
    "P1.woken.p99": Target("P1", "hand-off p99 ÷ python-redis-lock, {waiters} waiters, until BLPOP returns", 1.0,
                           before="1.3–1.7"),
    "P1.p50": Target("P1", "hand-off p50 ÷ python-redis-lock, {waiters} waiters, until Board.wait returns", 1.0),
    "P1.p99": Target("P1", "hand-off p99 ÷ python-redis-lock, {waiters} waiters, until Board.wait returns", 1.0),
    "P1.order": Target("P1", "out of order, {waiters} waiters", 0, "%"),
    "P1.shares": Target("P1", "share of a thread off by, {waiters} waiters", 5, "%"),
    "P2.p50": Target("P2", "release → blocked GET, p50 ÷ python-redis-lock, {blocked:,} blocked", 3,
                     before="2.6–2.8 ms"),
    "P2.p99": Target("P2", "release → blocked GET, p99 ÷ python-redis-lock, {blocked:,} blocked", 3),
    "P2.growth": Target("P2", "release → blocked GET, p50 with {blocked:,} blocked ÷ with 1", 1.5),
    "P2.order": Target("P2", "out of order, {blocked:,} blocked", 0, "%"),
    "P3": Target("P3", "release → exit of the Bash step, p50", 40, "ms"),
    "P4": Target("P4", "{operation}, {least:,} → {most:,} {things}", 1.5),
    "P5.memory": Target("P5", "memory a blocked request at the end, {blocked:,} blocked", 25, "KB", before="31 KB"),
    "P5.all": Target("P5", "all web processes with {blocked:,} blocked", 350, "MB"),
    "P5.connections": Target("P5", "Redis connections a web process", 8),
    "P5.idle": Target("P5", "CPU of idle web processes", 1, "%"),
    "P6.bare": Target("P6", "webhooks a second ÷ bare endpoint", 0.75, at_least=True),
    "P6.noop": Target("P6", "webhooks a second ÷ Flask no-op", 0.50, at_least=True),
    "P6.p99": Target("P6", "webhook p99 ÷ bare endpoint, closed loop", 2),
    "P6.lost": Target("P6", "lost of a storm of {storm:,}", 0),
    "P6.cycles": Target("P6", "PUT and DELETE a second ÷ Flask no-op", 0.60, at_least=True),
    "P7": Target("P7", "calls a minute, {waiting} waiting", 15),
    "P8.release": Target("P8", "with the release step, median", 0.1, "s"),
    "P8.watch": Target("P8", "without it and without webhooks, worst", 6, "s"),
    "P9.page": Target("P9", "page of {page} by {by} of {records:,}, p50", 10, "ms"),
    "P9.exported": Target("P9", "records exported as {form} of {records:,}, share", 1, at_least=True),
    "P9.rate": Target("P9", "records exported as {form} a second", 50_000, at_least=True),
    "P9.memory": Target("P9", "memory of the web process during the export as {form} grew by", 20, "MB"),
    "P10.waiter": Target("P10", "Redis memory of a waiter", 2048, "B"),
    "P10.record": Target("P10", "Redis memory of a timeline record", 300, "B"),
    "P12.paint": Target("P12", "{page}: first paint", 1000, "ms"),
    "P12.task": Target("P12", "{page}: longest task", 200, "ms"),
    "P12.bytes": Target("P12", "{page}: transferred", 1000, "KB"),
    "P12.update": Target("P12", "{page}: a record shows after, median", 200, "ms"),
    "P14.join": Target("P14", "join, a machine of a run, {least:,} → {most:,}", 10, "µs", before="24 µs"),
    "P14.poll": Target("P14", "poll, a machine of a run, {least:,} → {most:,}", 1, "µs", before="17 µs"),
    "P14.release": Target("P14", "release, a machine of a run, {least:,} → {most:,}", 10, "µs", before="12 µs"),
    "P14.answer": Target("P14", "longest answer to a step, {most:,} machines", 32, "KB", before="197 MB"),
    "P15": Target("P15", "CPU of web and Redis, {blocked:,} blocked and asking again, {seconds:.0f} s", 10, "%",
                  before="63–74 %"),
    "P15.half": Target("P15", "CPU of web and Redis in the second half, {blocked:,} blocked and asking again", 10, "%"),
    "P16.p99": Target("P16", "hand-off p99 with readers ÷ alone", 3, before="87, at five a second 297"),
    "P16.time": Target("P16", "dashboard, {machines:,} machines, {waiters:,} waiters", 300, "ms", before="795 ms"),
    "P16.size": Target("P16", "dashboard, {machines:,} machines, {waiters:,} waiters, transferred", 500, "KB",
                       before="4.3 MB"),
    "P16.one": Target("P16", "dashboard, one machine of {machines:,}, beside hand-offs", 10, "ms", before="283 ms"),
    "P16.one.alone": Target("P16", "dashboard, one machine of {machines:,}", 10, "ms", before="283 ms"),
    "P17": Target("P17", "{blocked:,} woken at once: the last ÷ direct BLPOP", 10, before="missed"),
    "P18.time": Target("P18", "{how}: all {blocked:,} block again", 3, "s", before="10.4 s"),
    "P18.broken": Target("P18", "{how}: answers broken off, {blocked:,} blocked", 0, before="a quarter"),
    "P19.help": Target("P19", "octowait --help ÷ python -c pass", 5),
    "P19.status": Target("P19", "octowait status ÷ python -c pass", 12),
    "P19.web": Target("P19", "web to the first answer ÷ python -c pass", 30),
    "scripts": Target("scripts", "{verb}: as loaded ÷ as written", 1),
    "soak.problems": Target("soak", "free though in use, late, false alarms, losses, remains", 0),
    "soak.calls": Target("soak", "calls a waited minute, octowait ÷ polling loop", 1),
}  # fmt: skip

#: What was measured from outside of what has its bound elsewhere, by number and what.
BEFORE = {
    ("P13", "30 children behind a line of 10,000"): "3.6 s",
    ("P13", "30 children × 200 machines"): "26 s",
    ("P13", "release of 1,000 machines, next runs of 101"): "1,009 ms",
    ("P13", "release of 5,000 machines, each with a next run"): "255 ms",
    ("P13", "100 grants of 200 machines end at once"): "323 ms",
    ("P13", "opening with 5,000 waiters"): "133 ms",
    ("P13", "10,000 machines, behind 6 waiters at each"): "133 ms",
    ("P13", "10,000 machines, before 6 waiters at each"): "182 ms",
    ("P13", "release of 10,000 machines, each with a next run"): "133 ms",
    ("P13", "end of a run of 10,000 machines, 6 waiters at each"): "148 ms",
    ("P13", "grants of 10,000 machines end at once, each with a next run"): "105 ms",
    ("P13", "children with 10,000 machines, a waiter at each"): "132 ms",
    ("P13", "children behind a run with 10,000 machines, a waiter at each"): "159 ms",
}
