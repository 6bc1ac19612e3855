"""The soak: hundreds of deployments at default intervals, every fault there is, servers and processes that die; and
the five-second polling loop beside it.

``make bench ARGS="soak --seed 3"``
"""

from __future__ import annotations

from tests.bench.report import Report
from tests.bench.world import directory, embedded
from tests.simulator.soak import Result, polling_loop, server, soak

SEED = 7


def run(report: Report) -> None:
    number, seed = int(report.pick(60, 500)), SEED if report.seed is None else report.seed
    with directory() as where, embedded(where) as url, server(where, seed=seed) as octopus:
        gated = soak(octopus, url, "soak", where, deployments=number, seed=seed)
    with directory() as where, server(where, seed=seed) as octopus:
        polled = polling_loop(octopus, deployments=min(number, 200), seed=seed)

    print("\nSoak: octowait, and below it the five-second polling loop in the same simulator, without faults\n")
    for line in (*gated.lines(), *gated.problems[:40], *polled.lines()):
        print(line)
    report.measured("soak.problems", len(gated.problems))
    report.measured("soak.calls", _ratio(gated, polled))


def _ratio(gated: Result, polled: Result) -> float:
    return gated.calls_a_waited_minute / polled.calls_a_waited_minute
