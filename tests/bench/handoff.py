"""P1: from one holder's release to the next holder's grant, in Redis and the library, beside two lock libraries."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

import redis
import redis_lock

from app.store.connection import Client, connect
from tests.bench.report import Report, both, median
from tests.bench.server_time import SCRIPT_COLUMNS, script_rows, script_times
from tests.bench.world import board_on, calls_of, directory, embedded, new_namespace, new_run
from tests.open_board import OpenBoard

SECTION = (
    "Hand-off in Redis and the library (P1)",
    """Threads of one process take turns; each asks again at once, and a holder keeps the lock for a millisecond.
A hand-off is the time from the call that releases to the return of the next one's call that waits: a closed loop.
Octowait grants two machines or none, in order, and writes its timeline; each write is synced (`appendfsync always`).
*Share off by* is how far beyond one turn a thread's number of turns is from the mean, at most, of the turns since each
thread has had its first one: while threads are still being started, those that run already have more.""",
)

#: Seconds a holder keeps the lock, so that the others are blocked when it gives it back.
HOLD = 0.001

#: Seconds by which a grant must be too early to count as out of order; below it, threads asked at about the same time.
MARGIN = 0.02

#: What a client sends; scripts use none of them.
SENT = ("evalsha", "eval", "blpop", "set")


class Lock(Protocol):
    """One kind of lock, the same for all threads."""

    name: str

    def acquire(self) -> Any: ...

    def release(self, held: Any) -> None: ...


class RedisPyLock:
    name = "redis-py Lock"

    def __init__(self, url: str, *, connections: int = 500) -> None:
        self._client = redis.Redis.from_url(url, max_connections=connections, socket_timeout=None)
        self._key = new_namespace()

    def acquire(self) -> Any:
        lock = self._client.lock(self._key, timeout=60)
        lock.acquire()
        return lock

    def release(self, held: Any) -> None:
        held.release()


class PythonRedisLock:
    name = "python-redis-lock"

    def __init__(self, url: str, *, connections: int = 500) -> None:
        self._client = redis.Redis.from_url(url, max_connections=connections, socket_timeout=None)
        self._key = new_namespace()

    def acquire(self) -> Any:
        lock = redis_lock.Lock(self._client, self._key, expire=60)
        lock.acquire()
        return lock

    def release(self, held: Any) -> None:
        held.release()


class Octowait:
    """All of two machines or none, in order, with the timeline written."""

    name = "octowait"
    machines = frozenset({"Machines-7", "Machines-12"})

    def __init__(self, url: str) -> None:
        self._client = connect(url, max_connections=500)
        self.blocking = _Stamped(connect(url, blocking=True, max_connections=500))
        self._board = OpenBoard(self._client, namespace=new_namespace(), blocking=self.blocking)  # type: ignore[arg-type]
        self._board.open("test")

    def acquire(self) -> Any:
        place = self._board.join(new_run(), self.machines)
        if place.is_waiting:
            self._board.wait(place.task_id, timeout=timedelta(seconds=60))
        return place.task_id

    def release(self, held: Any) -> None:
        self._board.release(held)


class _Stamped:
    """Notes when this thread's last `BLPOP` returned."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._local = threading.local()

    def blpop(self, keys: list[str], timeout: float) -> Any:
        answer = self._client.blpop(keys, timeout=timeout)
        self._local.at = time.perf_counter()
        return answer

    @property
    def woken_at(self) -> float:
        return getattr(self._local, "at", 0.0)


@dataclass
class Contest:
    """Threads that take turns for a while.

    Args:
        until: By `time.perf_counter`.
        players: Threads that there are.
        hold: Seconds a holder keeps the lock.
    """

    lock: Lock
    players: int
    until: float
    hold: float = HOLD
    released_at: float = 0.0
    asked: list[float] = field(default_factory=list)
    handoffs: list[float] = field(default_factory=list)
    wakes: list[float] = field(default_factory=list)
    begun: set[int] = field(default_factory=set)
    #: Of each thread, since all have begun.
    turns: dict[int, int] = field(default_factory=dict)
    #: Turns of all threads.
    count: int = 0

    def play(self, number: int) -> None:
        """One thread. Only the holder writes, so the lists need no lock of their own."""
        while time.perf_counter() < self.until:
            asked = time.perf_counter()
            held = self.lock.acquire()
            granted = time.perf_counter()
            # Until all threads have begun and are connected, they did not ask in the order of their clocks.
            if number in self.begun:
                self.asked.append(asked)
            self.begun.add(number)
            if len(self.begun) == self.players:
                self.turns[number] = self.turns.get(number, 0) + 1
            self.count += 1
            if asked < self.released_at:
                self.handoffs.append(granted - self.released_at)
                if isinstance(self.lock, Octowait):
                    self.wakes.append(self.lock.blocking.woken_at - self.released_at)
            time.sleep(self.hold)
            self.released_at = time.perf_counter()
            self.lock.release(held)

    def out_of_order(self) -> float:
        """Share of grants that overtook somebody who had asked clearly earlier."""
        earliest_left, overtaking = float("inf"), 0
        for asked in reversed(self.asked):
            overtaking += earliest_left < asked - MARGIN
            earliest_left = min(earliest_left, asked)
        return overtaking / max(1, len(self.asked))

    def unfairness(self) -> float:
        """How far beyond one turn a thread's number of turns is from the mean, at most, as a share of the mean.

        nan where not all have begun.
        """
        if not self.turns:
            return float("nan")
        mean = sum(self.turns.values()) / self.players
        return max(0.0, *(abs(self.turns.get(number, 0) - mean) - 1 for number in self.begun)) / mean


def contest(lock: Lock, waiters: int, seconds: float) -> Contest:
    """One thread holds, *waiters* wait, each asks again at once."""
    game = Contest(lock, waiters + 1, time.perf_counter() + seconds)
    threads = [threading.Thread(target=game.play, args=(n,), daemon=True) for n in range(waiters + 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return game


def uncontended(lock: Lock, seconds: float) -> float:
    """Acquisitions with their release, a second, by one thread."""
    began = time.perf_counter()
    for count in itertools.count(1):
        lock.release(lock.acquire())
        if time.perf_counter() - began > seconds:
            return count / (time.perf_counter() - began)
    raise AssertionError


def run(report: Report) -> None:
    """Print the hand-off of three kinds of lock at 2, 10 and 100 waiters, and what syncing every write costs."""
    with directory() as where, embedded(where) as url, board_on(url) as board:
        kinds: list[Callable[[str], Lock]] = [RedisPyLock, PythonRedisLock, Octowait]
        locks = [kind(url) for kind in kinds]
        _uncontended(report, board.client, locks)
        for waiters in (2, 10, 100):
            _contended(report, board.client, locks, waiters)
        _own_time(report, board.client, locks[-1])


def _uncontended(report: Report, client: redis.Redis, locks: list[Lock]) -> None:
    rates: dict[tuple[str, str], list[float]] = {}
    for _ in range(3):
        for sync in ("always", "everysec"):
            client.config_set("appendfsync", sync)
            for lock in locks:
                rates.setdefault((lock.name, sync), []).append(uncontended(lock, report.pick(0.1, 0.5)))
    client.config_set("appendfsync", "always")
    rows = [[lock.name, *(median(rates[lock.name, sync]) for sync in ("always", "everysec"))] for lock in locks]
    report.table("Uncontended acquire + release, a second", ("", "appendfsync always", "everysec"), rows)


def _contended(report: Report, client: redis.Redis, locks: list[Lock], waiters: int) -> None:
    games: dict[str, list[Contest]] = {lock.name: [] for lock in locks}
    trips: dict[str, int] = dict.fromkeys(games, 0)
    for _ in range(2):
        for lock in locks:
            before = calls_of(client, *SENT)
            games[lock.name].append(contest(lock, waiters, report.pick(0.5, 4.0 if waiters > 10 else 2.0)))
            trips[lock.name] += calls_of(client, *SENT) - before
    rows, figures = [], {}
    for name, played in games.items():
        handoffs = [1000 * value for game in played for value in game.handoffs]
        figures[name] = p50, p99 = both(handoffs)
        disorder = max(game.out_of_order() for game in played)
        turns = sum(game.count for game in played)
        unfair = max(game.unfairness() for game in played)
        rows.append([name, len(handoffs), p50, p99, 100 * disorder, 100 * unfair, trips[name] / turns])
    ours, peer = games["octowait"], figures["python-redis-lock"]
    wakes = [1000 * value for game in ours for value in game.wakes if value > 0]
    woken = both(wakes)
    rows.append(["octowait, until BLPOP returns", len(wakes), *woken, None, None, None])
    report.table(
        f"Hand-off with {waiters} waiters, ms",
        ("", "hand-offs", "p50", "p99", "out of order %", "share off by %", "round trips a turn"),
        rows,
    )
    for at, name in enumerate(("p50", "p99")):
        report.measured(f"P1.woken.{name}", woken[at] / peer[at], waiters=waiters)
        report.measured(f"P1.{name}", figures["octowait"][at] / peer[at], waiters=waiters)
    report.measured("P1.order", 100 * max(game.out_of_order() for game in ours), waiters=waiters)
    if waiters > 2:
        report.measured("P1.shares", 100 * max(game.unfairness() for game in ours), waiters=waiters)


def _own_time(report: Report, client: Client, lock: Lock) -> None:
    """What of a hand-off is the scripts' own time, in a game of its own: the server logs each command meanwhile."""
    with script_times(client) as took:
        game = contest(lock, 10, report.pick(0.5, 2.0))
    client_side = [1e6 * value for value in game.handoffs]
    rows = [
        *script_rows(took),
        ["(the client: release → Board.wait)", len(client_side), *both(client_side), max(client_side)],
    ]
    report.table("Scripts of octowait at 10 waiters", SCRIPT_COLUMNS, rows)
