"""One run of the chaos: a plan, a cast of real processes, and the verdict."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.canary import Canary, Sung
from tests.chaos.checker import check
from tests.chaos.doors import Doors
from tests.chaos.evidence import Evidence, Verdict
from tests.chaos.faults import OF_CLOCKS
from tests.chaos.history import History, Op
from tests.chaos.nemesis import Blow, Nemesis
from tests.chaos.octopus import API_KEY, SmallOctopus
from tests.chaos.plan import Plan
from tests.chaos.processes import ROOT, Cast
from tests.chaos.proxy import Proxy
from tests.chaos.records import Record, inherited, leftovers, members_left, read, read_death, true_times
from tests.chaos.script import Kit
from tests.chaos.store import Store, a_clock
from tests.chaos.workload import TIMEOUT_SECONDS, Workload

#: Seconds that a poll blocks at most.
MOST_BLOCK = 15.0

#: Milliseconds after a strike in which what is late may be late because of it: clients find another door, and what a
#: wake that was lost with its server leaves is found by the next look.
AFTERMATH_MS = 6000.0


@dataclass(frozen=True)
class Setup:
    """How an experiment is carried out.

    Args:
        store: ``valkey`` or ``redis``.
        tree: Whose code is run.
        slots: Runs at once.
        has_workers: Whether there are a worker and a scheduler; without them there is no API key either.
        has_canary: Whether it is measured how soon octowait is right again.
        ttl: Seconds that a waiter lives without a sign of life; its polls block for less.
        stuck: Seconds without a grant after which nothing goes on. *quiet*: those in which all must be gone at the end.
        settings: Of octowait, without their prefix.
        exempt: What is known to go wrong and is only counted.
        seconds: After which no further runs are begun.
        told: Each so many grants it is said how far it has come; 0: never.
    """

    store: str = "valkey"
    tree: Path = ROOT
    slots: int = 48
    webs: int = 2
    has_workers: bool = True
    has_canary: bool = True
    ttl: int = 8
    stuck: float = 90.0
    quiet: float = 45.0
    settings: dict[str, str] = field(default_factory=dict)
    exempt: frozenset[str] = frozenset()
    told: int = 0
    seconds: float | None = None


@dataclass(frozen=True)
class Outcome:
    plan: Plan
    verdict: Verdict
    blows: list[Blow]
    sung: Sung
    ops: list[Op]
    epochs: list[list[Record]]
    seconds: float
    calls: int
    unknown: set[str]


@contextmanager
def workplace() -> Iterator[Path]:
    """A directory for one experiment."""
    with tempfile.TemporaryDirectory(prefix="octowait-chaos-", ignore_cleanup_errors=True) as where:
        yield Path(where)


def run(plan: Plan, setup: Setup, where: Path) -> Outcome:
    """Carry *plan* out in *where*, and judge what came of it."""
    return asyncio.run(_run(plan, setup, where))


async def _run(plan: Plan, setup: Setup, where: Path) -> Outcome:
    history = History()
    octopus = SmallOctopus(history)
    await octopus.start()
    has_clock = any(strike.fault in OF_CLOCKS for strike in plan.strikes)
    store = Store(setup.store, where, clock=a_clock(where) if has_clock else None)
    await asyncio.to_thread(store.start)
    key = {"OCTOPUS_URL": octopus.url, "OCTOPUS_API_KEY": API_KEY} if setup.has_workers else {}
    settings = {"WAITER_TTL_SECONDS": str(setup.ttl), **key, **setup.settings}
    cast = Cast(store.url, where, settings, tree=setup.tree, webs=setup.webs, has_workers=setup.has_workers)
    proxies: list[Proxy] = []
    steps, plain = Doors([]), Doors([])
    try:
        await asyncio.to_thread(cast.start)
        proxies += [Proxy(web.port, plan.seed) for web in cast.webs]
        for proxy in proxies:
            await proxy.start()
        direct = [web.port for web in cast.webs]
        # Most go straight to octowait, so that what is slow is octowait.
        steps.ports, plain.ports = [*direct, *(proxy.port for proxy in proxies)], direct
        began = time.monotonic()
        workload = Workload(plan, history, octopus, steps, plain, slots=setup.slots, stuck=setup.stuck,
                            block=min(MOST_BLOCK, 0.6 * setup.ttl), kit=_kit(where, steps),
                            seconds=setup.seconds)  # fmt: skip
        nemesis = Nemesis(plan.strikes, history, cast, store, proxies, workload, plan.seed)
        canary = Canary(history, octopus, plain)
        telling = asyncio.ensure_future(_tell(history, nemesis, setup.told))
        await _all(workload, nemesis, canary if setup.has_canary else None, setup.quiet)
        telling.cancel()
        seconds = time.monotonic() - began
        left = await _quiet(store, cast.namespace, setup.quiet)
        before, epochs = await asyncio.to_thread(_timelines, store, cast.namespace)
        evidence = Evidence(
            timeout_ms=1000 * TIMEOUT_SECONDS,
            ops=history.ops, epochs=epochs, inherited=before, exempt=setup.exempt, ttl_ms=1000 * setup.ttl,
            disturbed=[(blow.began_ms, blow.over_ms + AFTERMATH_MS) for blow in nemesis.blows],
            stuck=workload.stuck, surprises=workload.surprises, leftovers=left, has_key=bool(key),
        )  # fmt: skip
        verdict = await asyncio.to_thread(check, evidence)
        return Outcome(plan, verdict, nemesis.blows, canary.sung, history.ops, epochs, seconds, octopus.calls,
                       octopus.unknown)  # fmt: skip
    finally:
        for proxy in proxies:
            proxy.stop()
        cast.stop()
        store.signal(signal.SIGCONT)
        store.kill()
        octopus.stop()
        for doors in (steps, plain):
            doors.close()
        await _hang_up()


async def _hang_up() -> None:
    """End what still serves a link, and let the loop close it."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    # A link is closed in the turn of the loop after the one in which it was told so.
    for _ in range(3):
        await asyncio.sleep(0)


async def _tell(history: History, nemesis: Nemesis, every: int) -> None:
    """Say how far it has come, each so many grants; 0: never."""
    began, told = time.monotonic(), 0
    while every:
        if history.grants >= told + every:
            told = history.grants
            print(f"{told} grants, {len(nemesis.blows)} faults, {time.monotonic() - began:.0f} s", flush=True)
        await asyncio.sleep(1)  # between two looks at a fact, not instead of one


async def _all(workload: Workload, nemesis: Nemesis, canary: Canary | None, quiet: float) -> None:
    """The whole workload; strikes that its grants did not come to are not carried out."""
    singing = asyncio.ensure_future(canary.sing()) if canary else None
    striking = asyncio.ensure_future(nemesis.run())
    await workload.run()
    # One that is under way is carried out to its end: nothing may stay stopped.
    await nemesis.stop(striking)
    if canary and singing:
        canary.is_over = True
        ended, _ = await asyncio.wait((singing,), timeout=quiet)
        if not ended:
            singing.cancel()
            workload.stuck.append("the canary")
        for song in ended:
            song.result()


async def _quiet(store: Store, namespace: str, seconds: float) -> list[str]:
    """What is still there when it should be gone."""
    ends_at = time.monotonic() + seconds
    client: Any = store.client()
    try:
        while left := await asyncio.to_thread(leftovers, client, namespace):
            if time.monotonic() > ends_at:
                print("left:", *await asyncio.to_thread(members_left, client, namespace), sep="\n  ")
                return left
            await asyncio.sleep(0.2)  # between two looks at a fact, not instead of one
        return []
    finally:
        client.close()


def _kit(where: Path, doors: Doors) -> Kit:
    directory = where / "scripts"
    directory.mkdir()
    return Kit(directory, doors.ports)


def _timelines(store: Store, namespace: str) -> tuple[list[list[Record]], list[list[Record]]]:
    """Of each epoch, the records that Redis came back with, and those that came then."""
    found = [read_death(store, death, namespace, number) for number, death in enumerate(store.deaths)]
    client = store.client()
    try:
        found.append(list(read(client, namespace, len(found))))
    finally:
        client.close()
    whole = [true_times(records, store.shifts) for records in found]
    cuts = [inherited(records, before) for records, before in zip(whole, [[], *whole], strict=False)]
    pairs = list(zip(whole, cuts, strict=True))
    return [records[:cut] for records, cut in pairs], [records[cut:] for records, cut in pairs]
