"""The witness: what this process has seen last of the board, told with every script, so that an older Redis is noticed
before it grants (rule 24).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import random
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True)
class Seen:
    """The number of a change, with the epoch in which it was made and the word of who made it."""

    epoch: str
    number: int
    word: str

    def __str__(self) -> str:
        return f"{self.epoch} {self.number} {self.word}"


#: What somebody has seen for whom scripts are called: a step, in its request.
_SPEAKER: ContextVar[Seen | None] = ContextVar("octowait_speaker", default=None)


@contextmanager
def speaking_for(seen: Seen) -> Iterator[None]:
    """Tell each script that is called meanwhile, in this thread or greenlet, what somebody else has seen."""
    before = _SPEAKER.set(seen)
    try:
        yield
    finally:
        _SPEAKER.reset(before)


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
        return " ".join([word, *(str(seen) for seen in (self.latest, _SPEAKER.get()) if seen)])


class Seal:
    """Signs what a step is to repeat, so that nobody makes the board close who makes words up.

    The key is not in Redis, and nothing that is there tells it.
    """

    def __init__(self, key: str, namespace: str) -> None:
        self._key = key.encode()
        self._namespace = namespace
        # What is seen stays the same for all who poll, until something changes.
        self.word = lru_cache(maxsize=16)(self._word)

    def _word(self, seen: Seen) -> str:
        """What the step is told: one word of printable ASCII, some 70 characters."""
        text = f"{seen.epoch}.{seen.number}.{seen.word}"
        return f"{text}.{self._signature(text)}"

    def read(self, word: str) -> Seen | None:
        """What the step has seen; None where the signature is none of ours."""
        text, _, signature = word.rpartition(".")
        parts = re.fullmatch(r"([\w-]{1,60})\.(\d{1,15})\.([0-9a-f]{1,16})", text, re.ASCII)
        if not parts or not hmac.compare_digest(signature.encode(), self._signature(text).encode()):
            return None
        return Seen(parts[1], int(parts[2]), parts[3])

    def _signature(self, text: str) -> str:
        digest = hmac.digest(self._key, f"octowait seen {self._namespace} {text}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest[:18]).decode()
