"""The witness: what this process has seen last of the board, told with every script, so that an older Redis is noticed
before it grants (rule 24).
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Seen:
    """The number of a change, with the epoch in which it was made and the word of who made it."""

    epoch: str
    number: int
    word: str

    def __str__(self) -> str:
        return f"{self.epoch} {self.number} {self.word}"


class Witness:
    """What this process has seen last."""

    def __init__(self) -> None:
        self.latest: Seen | None = None

    def see(self, epoch: bytes, number: int, word: bytes) -> None:
        """Note the last change, as a script answers it. Answers can overtake each other; higher numbers are later."""
        if number > (self.latest.number if self.latest else 0):
            self.latest = Seen(epoch.decode(), number, word.decode())

    def testimony(self, also: Seen | None = None) -> str:
        """What a script is told: a random word for the change that it may make, then what was seen.

        Args:
            also: Seen by somebody else, who speaks through this process.
        """
        # One of fewer bits than a secret, for two histories that have the same numbers.
        word = f"{random.getrandbits(48):x}"
        return " ".join([word, *(str(seen) for seen in (self.latest, also) if seen)])
