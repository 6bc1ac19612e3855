"""What octowait is known not to do yet, one line each, with the issue that is about it.

Each function acts one case out and says what went wrong. `tests/chaos/test_expected.py` fails when one of them finds
nothing wrong any more: then its line is taken out here, and its case becomes a test of what holds.
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.evidence import LATE_REQUESTS
from tests.chaos.faults import Fault
from tests.chaos.gate import Gate, happens
from tests.chaos.proxy import Mood, Proxy
from tests.chaos.store import NoStore, Store

ONE, TWO, THREE = "ServerTasks-1", "ServerTasks-2", "ServerTasks-3"

#: Seconds in which what is late has come, if it comes.
LATE = 4.0


@dataclass(frozen=True)
class Expected:
    """*issue* is whose it is; *act* gives what is wrong. One that *is_long* is not acted out in every test run.

    Args:
        faults: Those that no run of the chaos has while this stands here.
        exempt: What its checker lets pass, and only counts, while this stands here.
    """

    issue: str
    what: str
    act: Callable[[Path], Iterator[str]]
    is_long: bool = False
    faults: tuple[Fault, ...] = ()
    exempt: tuple[str, ...] = ()


@contextmanager
def a_gate(where: Path, **options: object) -> Iterator[Gate]:
    gate = Gate(where, **options)  # type: ignore[arg-type]
    try:
        yield gate
    finally:
        for web in gate.webs:
            web.signal(signal.SIGCONT)
        gate.stop()


def late_release(where: Path) -> Iterator[str]:
    with a_gate(where, webs=2, ttl=30) as gate:
        gate.put(ONE, "Machines-1", web=1)
        gate.webs[0].signal(signal.SIGSTOP)
        gate.send("DELETE", ONE)
        gate.delete(ONE, web=1)
        # Its task is run again, and works.
        gate.put(ONE, "Machines-1", web=1)
        gate.put(TWO, "Machines-1", web=1)
        gate.webs[0].signal(signal.SIGCONT)
        if happens(lambda: gate.state(TWO, web=1) == "granted", LATE):
            yield f"{TWO} was granted while the second run of {ONE} works"


def late_request(where: Path) -> Iterator[str]:
    with a_gate(where, has_key=False) as gate:
        gate.webs[0].signal(signal.SIGSTOP)
        gate.send("PUT", ONE, {"machines": ["Machines-1"]})
        gate.webs[0].signal(signal.SIGCONT)
        if happens(lambda: gate.state(ONE) == "granted", LATE) and not happens(lambda: gate.state(ONE) != "granted", 6):
            yield f"{ONE} holds, and nobody has ever heard of its grant"


def dead_link(where: Path) -> Iterator[str]:
    store = Store("valkey", where)
    store.start()
    with a_network(store.port) as proxy, a_gate(where, webs=2, ttl=60, store=store, redis_url=proxy.url) as gate:
        gate.put(ONE, "Machines-1", web=1)
        gate.put(TWO, "Machines-1", web=1)
        with ThreadPoolExecutor(1) as pool:
            blocked = pool.submit(gate.get, TWO, block=8)
            # It blocks as soon as its first look is over.
            assert happens(lambda: proxy.treats_nothing(0.3))
            proxy.be(Mood.DEAD)
            gate.delete(ONE, web=1)
            assert happens(lambda: gate.state(TWO, web=1) == "granted")
            if not happens(blocked.done, LATE):
                yield f"{TWO} was granted, and its client has not heard of it after {LATE:.0f} s"
            proxy.be(Mood.CALM)
            proxy.cut()


def overload(where: Path) -> Iterator[str]:
    with a_gate(where, webs=2, ttl=2) as gate:
        gate.put(ONE, "Machines-1", web=1)
        gate.put(TWO, "Machines-1", web=1)
        with ThreadPoolExecutor(1) as pool:
            blocked = pool.submit(gate.get, TWO, block=10)
            assert happens(lambda: gate.state(TWO, web=1) == "waiting")
            gate.webs[0].signal(signal.SIGSTOP)
            if happens(lambda: gate.state(TWO, web=1) == "expired", 2 * LATE):
                yield f"{TWO} counts as dead, while its client blocks at a server that does not come to its turn"
            gate.webs[0].signal(signal.SIGCONT)
            blocked.result()


EXPECTED = (
    Expected("the wire", "without a claim, a release that comes late ends the next run of its task", late_release),
    Expected("the wire", "without a claim, a request that its sender gave up counts as collected: a zombie",
             late_request, exempt=(LATE_REQUESTS,)),
    Expected("dead links", "a dead link to Redis that stays open: a wake is lost", dead_link),
    Expected("overload", "a server that does not come to its turn: its waiters count as dead", overload),
)  # fmt: skip


#: Faults that no run has, since the checker cannot tell the time of a record behind them: octowait undoes a jump of the
#: clock (`tests/chaos/test_clocks.py`), unless nobody is left who has seen the clock before it.
UNCHECKED = frozenset((Fault.CLOCK_AHEAD, Fault.CLOCK_BACK))


def left_out() -> frozenset[Fault]:
    """Faults under which a rule breaks that is expected to, and those that are `UNCHECKED`."""
    return UNCHECKED | {fault for expected in EXPECTED for fault in expected.faults}


def exempt() -> frozenset[str]:
    """What a checker is to let pass, and to count."""
    return frozenset(name for expected in EXPECTED for name in expected.exempt)


def act_out() -> int:
    """Act all of them out, and say what went wrong in each; 1 if one of them holds."""
    holds = 0
    for expected in EXPECTED:
        with tempfile.TemporaryDirectory(prefix="octowait-chaos-") as where:
            try:
                wrong = list(expected.act(Path(where)))
            except NoStore as error:
                print(f"{expected.issue}: {expected.what}: SKIPPED, {error}", flush=True)
                continue
        holds += not wrong
        print(f"{expected.issue}: {expected.what}: {'; '.join(wrong) or 'HOLDS BY NOW'}", flush=True)
    return int(holds > 0)


# What the cases need


class Network:
    """A `Proxy` before Redis, in a thread of its own."""

    def __init__(self, port: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._proxy = Proxy(port)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._proxy.start(), self._loop).result(10)
        self.port = self._proxy.port
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def be(self, mood: Mood) -> None:
        self._loop.call_soon_threadsafe(self._proxy.be, mood)

    def target(self, port: int) -> None:
        """Where new links go from now on."""
        self._proxy.target = port

    def treats_nothing(self, seconds: float) -> bool:
        """Whether nothing went through for so long."""
        before = self._proxy.pieces
        time.sleep(seconds)  # the fact is that nothing happens
        return self._proxy.pieces == before

    def cut(self) -> None:
        self._loop.call_soon_threadsafe(self._proxy.cut)

    def stop(self) -> None:
        async def stop() -> None:
            self._proxy.stop()
            await asyncio.sleep(0.05)  # a turn of the loop in which links are closed

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@contextmanager
def a_network(port: int) -> Iterator[Network]:
    network = Network(port)
    try:
        yield network
    finally:
        network.stop()
