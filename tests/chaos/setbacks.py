"""``python -m tests.chaos.setbacks``: a Redis that goes back in five ways, again and again: what is granted twice, how
soon octowait has noticed, and what the witness costs a call.

Two processes' boards, without HTTP, on real servers. What works is told to the board as the rebuild tells it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from app.coordination.board import Board, Policy
from app.domain.events import Effect, Event
from app.domain.run import RunRequest
from app.store.connection import connect
from app.store.errors import StoreError
from app.store.greeting import Greeting
from app.store.script_text import source
from app.store.scripts import Scripts
from tests.chaos.expected import a_network
from tests.chaos.gate import happens
from tests.chaos.measurements import write
from tests.chaos.proxy import Mood
from tests.chaos.store import STORES, NoStore, Store

MACHINE = "Machines-1"


@dataclass
class Trial:
    """What two processes were told in one trial. *at_work*: who holds the machine as its step knows it."""

    one: Board
    other: Board
    at_work: list[str] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    closed_s: float = 0.0
    opened_s: float = 0.0

    def join(self, board: Board, number: int) -> bool:
        """Whether the run is granted; its step works from then on, until it is `done`."""
        task = f"ServerTasks-{number}"
        place = again(lambda: board.join(RunRequest(task), {MACHINE}))
        if place.is_granted and task not in self.at_work:
            if self.at_work:
                self.wrong.append(f"{task} was granted while {self.at_work[0]} works")
            if self.tokens and (place.fencing_token or 0) <= self.tokens[-1]:
                self.wrong.append(f"the token of {task} is not above those before")
            self.at_work.append(task)
            self.tokens.append(place.fencing_token or 0)
        return bool(place.is_granted)

    def done(self, board: Board, number: int) -> None:
        self.at_work.remove(f"ServerTasks-{number}")
        again(lambda: board.release(f"ServerTasks-{number}"))

    def before(self) -> None:
        """What Redis still knows afterwards: the first run holds."""
        self.one.open("test")
        for board in (self.one, self.other):
            board.sweep(serving=True)
        assert self.join(self.one, 1)

    def lost(self) -> None:
        """What it will not know: the first run is done, another one works."""
        self.done(self.one, 1)
        assert self.join(self.one, 2)

    def after(self) -> None:
        """It is back. The process that knows less comes first."""
        began = time.monotonic()
        again(lambda: self.other.release("ServerTasks-1"))
        self.join(self.other, 3)
        again(lambda: self.one.sweep(serving=True))
        if not self.one.closed_since_ms():
            self.wrong.append("the board did not close")
            return
        self.closed_s = time.monotonic() - began
        self.join(self.one, 4)
        self._rebuild()
        self.opened_s = time.monotonic() - began
        self.join(self.other, 3)
        self.done(self.one, 2)
        if not any(self.join(self.one, number) for number in (3, 4)):
            self.wrong.append("nobody was granted when the machine was free")

    def _rebuild(self) -> None:
        """As `workers.rebuild` does it with what Octopus says: ServerTasks-2 works, and ServerTasks-1 has ended."""
        board, now_ms = self.one, self.one.now_ms()
        for number, effect in ((1, Effect.ENDED), (2, Effect.STARTED)):
            task = f"ServerTasks-{number}"
            board.deliver(Event(f"rebuild-{task}", None, "Rebuilt", effect, now_ms, task, None), via="rebuild")
        if board.recover("ServerTasks-2", paused=False) != "observed":
            board.observe("ServerTasks-2", [{"id": MACHINE, "name": MACHINE}], info={})
        for process in (self.one, self.other):
            process.sweep(serving=True)
        board.open("rebuilt", closed_ms=board.closed_since_ms())


def again(ask: Callable[[], Any]) -> Any:
    """Asked again until Redis is there."""
    ends_at = time.monotonic() + 20
    while True:
        try:
            return ask()
        except StoreError:
            assert time.monotonic() < ends_at
            time.sleep(0.02)  # between two looks at a fact, not instead of one


def a_board(url: str) -> Board:
    greeting = Greeting()
    board = Board(
        connect(url, greet=greeting), namespace="chaos", policy=Policy(waiter_ttl=timedelta(seconds=30), has_key=True)
    )
    greeting.speak_for(board.script)
    return board


@contextmanager
def a_trial(kind: str, where: Path, **options: Any) -> Iterator[tuple[Store, Trial]]:
    store = Store(kind, where, **options)
    store.start()
    try:
        yield store, Trial(a_board(store.url), a_board(store.url))
    finally:
        store.kill()


def last_file(store: Store) -> Path:
    """The part of the append-only file that grows."""
    files = [*store.data.glob("appendonlydir/*.incr.aof"), *store.data.glob("appendonly.aof")]
    return max(files, key=lambda file: file.stat().st_mtime)


def restored_backup(kind: str, where: Path) -> Trial:
    with a_trial(kind, where) as (store, trial):
        trial.before()
        copy = store.copy("backup")
        trial.lost()
        store.kill()
        store.go_back_to(copy)
        store.start()
        trial.after()
    return trial


def cut_tail(kind: str, where: Path) -> Trial:
    """The last bytes are gone, in the middle of a command."""
    with a_trial(kind, where) as (store, trial):
        trial.before()
        size = last_file(store).stat().st_size
        trial.lost()
        store.kill()
        with open(last_file(store), "r+b") as file:
            file.truncate(size + 7)
        store.start()
        trial.after()
    return trial


def power_cut(kind: str, where: Path) -> Trial:
    """Under ``everysec``: what was not synced yet is gone."""
    with a_trial(kind, where, fsync="everysec") as (store, trial):
        trial.before()
        synced = last_file(store).stat().st_size
        trial.lost()
        store.kill()
        with open(last_file(store), "r+b") as file:
            file.truncate(synced)
        store.start()
        trial.after()
    return trial


@contextmanager
def a_replica(kind: str, where: Path) -> Iterator[tuple[Trial, Store, Store, Any, Any, Any]]:
    """A primary and its replica, the network between them, and one between each process and its Redis."""
    stores = [Store(kind, where / name) for name in ("primary", "replica")]
    for store in stores:
        store.directory.mkdir()
        store.start()
    primary, replica = stores
    try:
        with a_network(primary.port) as copies, a_network(primary.port) as one, a_network(primary.port) as other:
            replica.client().replicaof("127.0.0.1", copies.port)
            trial = Trial(a_board(one.url), a_board(other.url))
            trial.before()
            trial.one.note("event")
            last = trial.one.script.witness.latest
            assert last
            copied, name = replica.client(), "octowait:{chaos}:counters"
            assert happens(lambda: int(copied.hget(name, "change") or 0) >= last.number)
            yield trial, primary, replica, copies, one, other
    finally:
        for store in stores:
            store.kill()


def asynchronous_loss(kind: str, where: Path) -> Trial:
    """The replica lags, and takes over."""
    with a_replica(kind, where) as (trial, primary, replica, copies, one, other):
        copies.be(Mood.DEAD)
        trial.lost()
        primary.kill()
        replica.client().replicaof("NO", "ONE")
        for network in (one, other):
            network.target(replica.port)
            network.cut()
        trial.after()
    return trial


def split_brain(kind: str, where: Path) -> Trial:
    """One process stays with the old primary, which grants on, while the other is with the new one."""
    with a_replica(kind, where) as (trial, _, replica, copies, one, other):
        copies.be(Mood.DEAD)
        replica.client().replicaof("NO", "ONE")
        other.target(replica.port)
        other.cut()
        trial.lost()
        again(lambda: trial.other.release("ServerTasks-1"))
        trial.join(trial.other, 3)
        one.target(replica.port)
        one.cut()
        trial.after()
    return trial


SETBACKS = (restored_backup, cut_tail, power_cut, asynchronous_loss, split_brain)


def cost(kind: str, calls: int = 4000) -> dict[str, tuple[float, float]]:
    """Microseconds of Redis a script with the witness and without, each the least of eight turns in one run."""
    with tempfile.TemporaryDirectory() as where, a_trial(kind, Path(where), fsync="no") as (store, _):
        boards = {True: Board(connect(store.url), namespace="w"), False: Board(connect(store.url), namespace="o")}
        boards[False].script = _Unwitnessed(connect(store.url), boards[False]._keys)
        for board in boards.values():
            board.open("test")
            board.join(RunRequest("ServerTasks-1"), {MACHINE})
            board.join(RunRequest("ServerTasks-2"), {MACHINE})
        turns: dict[tuple[str, bool], list[float]] = {}
        for turn in range(8):
            for name, act in (("poll", _poll), ("join or release", _cycle)):
                for is_witnessed, board in boards.items():
                    store.client().config_resetstat()
                    for number in range(turn * calls, turn * calls + calls // 8):
                        act(board, number)
                    used = store.client().info("commandstats")["cmdstat_evalsha"]["usec_per_call"]
                    turns.setdefault((name, is_witnessed), []).append(used)
        return {name: (min(turns[name, True]), min(turns[name, False])) for name in ("poll", "join or release")}


def _poll(board: Board, _: int) -> None:
    board.poll("ServerTasks-2")


def _cycle(board: Board, number: int) -> None:
    board.join(RunRequest(f"ServerTasks-{number + 10}"), {"Machines-2"})
    board.release(f"ServerTasks-{number + 10}")


class _Unwitnessed(Scripts):
    """Neither looks at a witness nor numbers changes."""

    def _script(self, name: str, *, with_expiry: bool = False) -> Any:
        if script := self._scripts.get((name, with_expiry)):
            return script
        text = source("coordination", name, with_expiry=with_expiry, witnessed=True)
        for line, instead in (("\nlook_at_witnesses()\n", "\n"), ("    if is_numbered then\n", "    if true then\n")):
            assert line in text
            text = text.replace(line, instead)
        return self._scripts.setdefault((name, with_expiry), self._client.register_script(text))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.setbacks", description="Redis goes back, five ways.")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--store", nargs="*", default=STORES)
    parser.add_argument("--write", action="store_true", help="write the tables into docs/reference/measurements.md")
    parser.add_argument("--cost", action="store_true", help="only what the witness costs a call")
    asked = parser.parse_args()
    if asked.cost:
        return _measure_cost(asked.store, is_written=asked.write)
    rows, is_wrong = [], False
    for kind in asked.store:
        for act in SETBACKS:
            trials = list(_trials(act, kind, asked.times))
            wrong = [words for trial in trials for words in trial.wrong]
            is_wrong |= bool(wrong)
            name, n = act.__name__.replace("_", " "), len(trials)
            twice = sum("works" in words for words in wrong)
            rows.append((f"{name}, {kind}", str(n), str(twice), str(len(wrong) - twice),
                         *(f"{statistics.median(v):.3f} / {max(v):.3f}" for v in
                           ([t.closed_s for t in trials], [t.opened_s for t in trials]))))  # fmt: skip
            print("  ".join(rows[-1]), *wrong[:3], flush=True)
    if asked.write and not is_wrong:
        intro = [
            "Two processes, the one that knows less first; a run asks for the machine of one whose grant is lost. "
            "Seconds, median / longest, from the first call after Redis is back: until the board had closed itself, "
            "and until it was open again; the rebuild here is told at once who works, and does not wait for steps to "
            "show life, as it does for ¾ of `OCTOWAIT_WAITER_TTL_SECONDS`.",
        ]
        columns = ("Redis goes back", "times", "granted twice", "other faults", "closed after", "open after")
        write("setbacks", "A Redis that goes back", "python -m tests.chaos.setbacks --write", intro, (columns, rows))
    return int(is_wrong)


def _measure_cost(kinds: Sequence[str], *, is_written: bool) -> int:
    rows = [(f"{what}, {kind}", f"{a:.1f}", f"{b:.1f}", f"{a - b:+.1f}")
            for kind in kinds for what, (a, b) in cost(kind).items()]  # fmt: skip
    print("\n".join("  ".join(row) for row in rows))
    if is_written:
        intro = [
            "What Redis needs for a script, by its own statistics, µs: with the witness, which every call is told and "
            "each change is numbered for, and with the same scripts without it, in turns of one run; each the least of "
            "eight."
        ]
        columns = ("script", "with it", "without it", "the witness")
        write("witness", "What the witness costs a call", "python -m tests.chaos.setbacks --cost --write", intro,
              (columns, rows))  # fmt: skip
    return 0


def _trials(act: Callable[[str, Path], Trial], kind: str, times: int) -> Iterator[Trial]:
    for _ in range(times):
        with tempfile.TemporaryDirectory(prefix="octowait-chaos-") as where:
            try:
                yield act(kind, Path(where))
            except NoStore as error:
                print(f"{kind}: SKIPPED, {error}")
                return


if __name__ == "__main__":
    sys.exit(main())
