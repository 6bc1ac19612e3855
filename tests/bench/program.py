"""Plays attacks: some at a time, a batch of requests of one of them after the other, by chance."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.attacks import Attack
from tests.bench.caller import Answer, Caller
from tests.bench.stage import Acts, Stage
from tests.open_board import OpenBoard

#: Attacks that go on at the same time, and those besides that only wait until what they did is over.
AT_ONCE, ASLEEP = 3, 6

#: Seconds from which on a sleep leaves its place to another attack.
LONG_SLEEP = 10.0


@dataclass
class Play:
    """An attack under way. *wakes_at*: until when it asks nothing (`time.monotonic`)."""

    attack: Attack
    acts: Acts
    place: int
    answers: list[Answer] | None = None
    wakes_at: float = 0.0


class Program:
    """Attacks in an order of chance: each once before one comes again.

    Args:
        callers: One without limits, and one whose token may have some waiters only.
        ttl: Seconds after which a waiter is over that does not ask.
        is_short: Small attacks.
    """

    def __init__(
        self, attacks: Sequence[Attack], callers: Sequence[Caller], board: OpenBoard, dice: random.Random, ttl: float,
        *, is_short: bool,
    ) -> None:  # fmt: skip
        self.callers = callers
        self._attacks, self._board, self._dice, self._ttl, self._is_short = attacks, board, dice, ttl, is_short
        self._next: list[Attack] = []
        self._under_way: list[Play] = []
        #: The attacks that were played, in order: the first one has the number 1.
        self.played: list[str] = []

    def run(self, seconds: float) -> None:
        """Begin attacks for *seconds*, and play each to its end."""
        ends_at = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            while now < ends_at and self._has_place(now):
                self._begin()
            if not self._under_way:
                return
            awake = [play for play in self._under_way if play.wakes_at <= now]
            if awake:
                self._go_on(self._dice.choice(awake))
            else:
                time.sleep(min(play.wakes_at for play in self._under_way) - now)

    def _has_place(self, now: float) -> bool:
        busy = [play for play in self._under_way if play.wakes_at < now + LONG_SLEEP]
        return len(busy) < AT_ONCE and len(self._under_way) < AT_ONCE + ASLEEP

    def _begin(self) -> None:
        if not self._next:
            self._next = self._dice.sample(self._attacks, len(self._attacks))
        attack = self._next.pop()
        self.played.append(attack.name)
        place = min(set(range(AT_ONCE + ASLEEP)) - {play.place for play in self._under_way})
        stage = Stage(self.callers[attack.is_limited], self._board, self._dice, place, len(self.played), self._ttl)
        acts = attack.acts(stage, attack.sizes[self._is_short])
        self._under_way.append(Play(attack, acts, place))

    def _go_on(self, play: Play) -> None:
        try:
            batch = play.acts.send(play.answers)  # type: ignore[arg-type]
        except StopIteration:
            self._under_way.remove(play)
            return
        if isinstance(batch, float):
            play.wakes_at, play.answers = batch, []
        else:
            play.answers = self.callers[play.attack.is_limited].ask_all(batch)
