"""The witness: what this process has seen last of the board, told with every script, so that an older Redis is noticed
before it grants (rule 24).
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Seen:
    """The number of a change, with the epoch in which it was made and the word of who made it."""

    epoch: str
    number: int
    word: str
    #: An answer that was "granted" has said it: a step that repeats it was told of its grant.
    is_told: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        return f"{self.epoch} {self.number} {self.word}"


#: What those have seen for whom scripts are called: a step in its request, or several at once.
_SPEAKERS: ContextVar[tuple[Seen, ...]] = ContextVar("octowait_speakers", default=())


@contextmanager
def speaking_for(*seen: Seen) -> Iterator[None]:
    """Tell each script that is called meanwhile, in this thread or greenlet, what others have seen."""
    before = _SPEAKERS.set(seen)
    try:
        yield
    finally:
        _SPEAKERS.reset(before)


def seen_by_speakers() -> tuple[Seen, ...]:
    """What those have seen for whom scripts are called here."""
    return _SPEAKERS.get()


class Witness:
    """What this process has seen last.

    Args:
        file: Where it is kept between two lives of the processes of this machine.
    """

    def __init__(self, file: Path | None = None) -> None:
        #: Who speaks, for people and for the roll call.
        self.process = f"{socket.gethostname()}:{os.getpid()}:{random.getrandbits(32):08x}"
        self._file = file
        self.latest = self._read()

    def keep(self) -> None:
        """Write what was seen to the file, unless that has something later. Who cannot write goes on without."""
        latest, before = self.latest, self._read()
        if self._file is None or latest is None or (before and before.number >= latest.number):
            return
        draft = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        with suppress(OSError):
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.write_text(f"{latest}\n")
            draft.replace(self._file)

    def _read(self) -> Seen | None:
        try:
            if self._file is None:
                return None
            epoch, number, word = self._file.read_text().split()
            return Seen(epoch, int(number), word)
        except (OSError, ValueError):
            return None

    def see(self, epoch: bytes, number: int, word: bytes) -> None:
        """Note the last change, as a script answers it. Answers can overtake each other; higher numbers are later."""
        if number > (self.latest.number if self.latest else 0):
            self.latest = Seen(epoch.decode(), number, word.decode())

    def testimony(self) -> str:
        """What a script is told: a random word for the change that it may make, then what was seen."""
        # Of fewer bits than a secret: it is there for two histories that have the same numbers.
        word = f"{random.getrandbits(48):x}"
        latest = (self.latest,) if self.latest else ()
        return " ".join([word, *(str(seen) for seen in dict.fromkeys((*latest, *_SPEAKERS.get())))])
