"""A day of an Octopus Server that goes wrong wherever it can, and what must be true of octowait afterwards."""

from __future__ import annotations

import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.coordination.past import Past
from app.coordination.timeline import Record
from app.domain.replay import Wait
from tests.conftest import eventually
from tests.simulator.control import Deployment, SimulatedOctopus, SimulatorError
from tests.simulator.ledger_check import compare
from tests.simulator.record import overlaps, uses_gate
from tests.simulator.stack import Stack
from tests.simulator.steps import (
    claim_step,
    deploy_release,
    parked_wait,
    poll_wait,
    release_step,
    wait_step,
    work,
)

#: The simulated clock's speed. octowait's intervals are divided by it, so a minute of its calls is one of Octopus's.
SPEED = 5

#: Deployments that are queued or run at once.
MOST_AT_ONCE = 24

MACHINES = ("web-01", "web-02", "web-03", "db-01")

INTERVALS = {
    "OCTOWAIT_WATCH_SECONDS": str(5 // SPEED), "OCTOWAIT_RECONCILE_SECONDS": str(30 // SPEED),
    "OCTOWAIT_CATCH_UP_SECONDS": str(300 // SPEED // 10), "OCTOWAIT_OCTOPUS_RPM": str(60 * SPEED),
    "OCTOWAIT_CLOCK_TOLERANCE_SECONDS": "2",
}  # fmt: skip

FAULTS = {
    "drop": 0.1, "double": 0.1, "delay_seconds": 20.0, "reorder": 0.3, "abort": 0.05, "too_many": 0.03, "error": 0.03,
    "retry_after": 1,
}  # fmt: skip

#: Keys that may be left when everybody has gone: history, and what a process remembers of it.
HISTORY = re.compile(
    r"octowait:\{[^}]+\}:(runs|machines|counters|events|aliases|ended|timeline|index:.*|asked|caught-up-to|caught-up-by|batches(-over)?"
    r"|event-categories|octopus-.*|scheduler|.*-round|resolve-failures:.*|resolving:.*|resolve-pass|unnamed|wake:.*|kept|dead|past:.*"
    r"|measured.*|blocked-requests|archived|archiving|notify-.*)$"
)


@dataclass
class Result:
    """What a soak showed; *problems* is empty when all was well."""

    deployments: int
    seconds: float
    states: Mapping[str, int]
    waited_minutes: float
    calls: int
    repairs: Mapping[str, int]
    problems: list[str] = field(default_factory=list)
    #: How the waits of the ledger compare with the steps that waited.
    ledger: str = ""

    @property
    def calls_a_waited_minute(self) -> float:
        return self.calls / self.waited_minutes if self.waited_minutes else 0.0

    def lines(self) -> list[str]:
        return [
            f"{self.deployments} deployments in {self.seconds:.0f} s: {dict(self.states)}",
            f"{self.waited_minutes:.1f} min waited in all, {self.calls} calls of the Octopus API: "
            f"{self.calls_a_waited_minute:.2f} a waited minute",
            f"repairs: {dict(self.repairs)}",
            self.ledger,
        ]


@contextmanager
def server(directory: Path, *, seed: int, task_cap: int = 16) -> Iterator[SimulatedOctopus]:
    with SimulatedOctopus.start(directory, speed=SPEED, task_cap=task_cap, seed=seed) as octopus:
        for name in MACHINES:
            octopus.machine(name)
        yield octopus


def soak(
    octopus: SimulatedOctopus, redis_url: str, namespace: str, directory: Path, *, deployments: int, seed: int,
    chaos: bool = True, tolerance_ms: int = 15_000,
) -> Result:  # fmt: skip
    """Deploy at random, with every fault there is, kill octowait's processes at random, and look at what is left.

    Args:
        chaos: Without it nothing goes wrong.
        tolerance_ms: How far a wait may be from the step that waited, see `compare`: where a process was killed a step
            hears of its grant late, and where a webhook was lost octowait of an end.
    """
    dice = random.Random(seed)
    began = time.monotonic()
    with Stack(octopus, redis_url, namespace, directory, OCTOWAIT_TASK_CAP="16", **INTERVALS) as stack:
        stack.start()
        projects = list(_gated_projects(octopus))
        if chaos:
            octopus.faults(**FAULTS)
        with _killing(stack, random.Random(seed + 1)) if chaos else _nothing():
            made = _deploy(octopus, dice, projects, deployments)
            octopus.wait_idle(60 + 5 * deployments)
        octopus.no_faults()
        octopus.look_for_events()
        octopus.wait_idle(60, is_delivered=True)
        stack.settle(120)
        # Of the last batch the next catch up may have to bring the rest; what it does not bring is judged.
        with suppress(AssertionError):
            eventually(lambda: not list(_missing(octopus.record(), stack.records())), timeout=30)
        return _judge(octopus, stack, len(made), time.monotonic() - began, tolerance_ms)


def polling_loop(octopus: SimulatedOctopus, *, deployments: int, seed: int) -> Result:
    """The same load, waiting in the loop that octowait replaces: every waiter asks every five seconds."""
    dice, began = random.Random(seed), time.monotonic()
    names = []
    for number in range(12):
        machines = MACHINES[number % 4 :][:1] if number % 3 else MACHINES[:2]
        names.append(f"Polls {number}")
        octopus.project(names[-1], steps=[poll_wait(), work("deploy", machines=machines, seconds=2.0)])
    for _ in range(deployments):
        octopus.deploy(dice.choice(names))
    octopus.wait_idle(60 + 5 * deployments)
    record = octopus.record()
    waited_ms = sum(_waited(run, "poll_wait") for run in record["runs"])
    return Result(
        deployments, time.monotonic() - began, Counter(run["state"] for run in record["runs"]),
        waited_ms * SPEED / 60_000, octopus.calls()["by_key"].get("poller", 0), {},
    )  # fmt: skip


def _gated_projects(octopus: SimulatedOctopus) -> Iterator[str]:
    """Projects of all kinds on shared machines: 8 that block, 4 that park, 2 parents, 2 that fail, 2 without a step."""
    for number in range(18):
        name, machines = f"P{number}", _machines(number)
        seconds = 1.0 + number % 4
        kind = "block" if number < 8 else "park" if number < 12 else "parent" if number < 14 else "other"
        language = "python" if number % 4 == 1 else "bash"
        deploys = work("deploy", machines=machines, seconds=seconds)
        if kind == "parent":
            child = f"Child {number}"
            octopus.project(child, steps=[wait_step(), work("deploy", machines=machines, seconds=1.0), release_step()])
            passed = {"Octowait.OnBehalfOf": "#{Octopus.Task.Id}"}
            steps = [wait_step(), deploys, deploy_release("child", child, variables=passed), release_step()]
        elif kind == "park":
            steps = [claim_step(language=language), parked_wait(), deploys, release_step(language=language)]
        elif number in (14, 15):
            steps = [wait_step(), work("deploy", machines=machines, seconds=1.0, fails=-1), release_step()]
        elif number in (16, 17):
            steps = [deploys]
        else:
            # Some have no release step: their ends come by webhook or are found.
            steps = [wait_step(language=language), deploys, *([] if number % 4 == 3 else [release_step()])]
        octopus.project(name, steps=steps)
        yield name


def _machines(number: int) -> tuple[str, ...]:
    return (MACHINES[number % 4],) if number % 3 else (MACHINES[number % 4], MACHINES[(number + 1) % 4])


def _deploy(octopus: SimulatedOctopus, dice: random.Random, projects: Sequence[str], number: int) -> list[Deployment]:
    """*number* deployments, some of them cancelled or run again, never so many that the queue is all there is."""
    made: list[Deployment] = []
    unfinished: list[Deployment] = []
    for _ in range(number):
        made.append(octopus.deploy(dice.choice(projects)))
        unfinished.append(made[-1])
        chance = dice.random()
        if chance < 0.04:
            # It may have ended by itself a moment ago.
            with suppress(SimulatorError):
                octopus.cancel(dice.choice(made[-10:]))
        elif chance < 0.06:
            ended = [one for one in made[-40:] if octopus.task(one)["IsCompleted"]]
            if ended:
                octopus.rerun(dice.choice(ended))
        while len(unfinished) > MOST_AT_ONCE:
            time.sleep(0.05)  # the load, not a guess at when something is done
            unfinished = [one for one in unfinished if not octopus.task(one)["IsCompleted"]]
    return made


@contextmanager
def _killing(stack: Stack, dice: random.Random) -> Iterator[None]:
    """Kill and restart one of octowait's processes every few seconds."""
    stop = threading.Event()

    def kill() -> None:
        while not stop.wait(dice.uniform(3.0, 8.0)):
            stack.restart(dice.choice(("web", "worker", "scheduler")))

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        stop.set()
        killer.join()


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _judge(
    octopus: SimulatedOctopus, stack: Stack, deployments: int, seconds: float, tolerance_ms: int
) -> Result:  # fmt: skip
    record, timeline = octopus.record(), stack.records()
    told = Past(stack.board.client, stack.board.keys).told(from_ms=0, to_ms=stack.board.now_ms())
    compared = compare(record, [wait for wait in told if isinstance(wait, Wait)], tolerance_ms=tolerance_ms)
    waited = [r.detail["waited_ms"] for r in timeline if "waited_ms" in r.detail]
    problems = [
        *(f"overlap: {found}" for found in overlaps(record, uses_gate)),
        *(f"not ended: {run['task_id']} {run['state']}" for run in record["runs"] if run["ended_ms"] is None),
        *_left(stack),
        *_missing(record, timeline),
        *compared.problems,
    ]
    return Result(
        deployments, seconds, Counter(run["state"] for run in record["runs"]), sum(waited) * SPEED / 60_000,
        octopus.calls()["by_key"].get("octowait", 0), Counter(_repairs(timeline)), problems,
        compared.line(),
    )  # fmt: skip


def _left(stack: Stack) -> Iterator[str]:
    for key in stack.board.client.scan_iter(f"octowait:{{{stack.board.keys.namespace}}}:*", count=1000):
        if not HISTORY.match(key.decode()):
            yield f"left in Redis: {key.decode()}"


def _missing(record: Mapping[str, Any], timeline: Sequence[Record]) -> Iterator[str]:
    """What really happened and is not in the timeline, or is there twice."""
    told = Counter(str(r.detail["event"]) for r in timeline if r.kind == "event")
    for event in record["events"]:
        event_id, category = event["Id"], event["Category"]
        if re.match(r"Deployment|RunbookRun|TaskCanceled|ManualIntervention|GuidedFailure", category):
            if told[event_id] != 1:
                yield f"{category} {event_id} is {told[event_id]} times in the timeline"
    granted = Counter((r.task_id or "").lower() for r in timeline if r.kind == "granted")
    ended = Counter((r.task_id or "").lower() for r in timeline if r.kind == "released")
    for run in record["runs"]:
        task = run["task_id"].lower()
        if uses_gate(run) and run["work"] and not granted[task]:
            yield f"{run['task_id']} passed its gate and was never granted"
        if granted[task] != ended[task]:
            yield f"{run['task_id']} was granted {granted[task]} times and released {ended[task]} times"


def _repairs(timeline: Sequence[Record]) -> Iterator[str]:
    for r in timeline:
        if r.cause == "reconciled" or r.detail.get("via") == "catch_up":
            yield r.cause or "event caught up"
        elif r.kind in ("gap", "outage_ended", "job_failed"):
            yield r.kind


def _waited(run: Mapping[str, Any], kind: str) -> int:
    return sum((step["ended_ms"] or step["started_ms"]) - step["started_ms"] for step in run["steps"]
               if step["kind"] == kind)  # fmt: skip
