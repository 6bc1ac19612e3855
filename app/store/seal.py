"""The seal: how a step carries what octowait has seen, from one call to the next, and cannot make it up (rule 24)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections import OrderedDict
from functools import lru_cache

from app.store.witness import Seen

#: Words of ours that are remembered, so that their signature is computed once.
MOST_GENUINE = 64


class Seal:
    """Signs what a step is to repeat, so that nobody makes the board close who makes words up.

    The key is not in Redis, and nothing that is there tells it.
    """

    def __init__(self, key: str, namespace: str) -> None:
        self._key = key.encode()
        self._namespace = namespace
        # What is seen stays the same for all who poll, until something changes; and what is repeated is that.
        self.word = lru_cache(maxsize=16)(self._word)
        self._genuine: OrderedDict[str, Seen] = OrderedDict()

    def _word(self, seen: Seen, is_told: bool = False) -> str:
        """What the step is told: one word of printable ASCII, some 70 characters.

        Args:
            is_told: In an answer "granted". Others can say a later change than they are about: another request sees it
                while they are made.
        """
        text = f"{seen.epoch}.{'t' if is_told else ''}{seen.number}.{seen.word}"
        return f"{text}.{self._signature(text)}"

    def read(self, word: str) -> Seen | None:
        """What the step has seen; None where the signature is none of ours."""
        if word in self._genuine:
            return self._genuine[word]
        text, _, signature = word.rpartition(".")
        parts = re.fullmatch(r"([\w-]{1,60})\.(t?)(\d{1,15})\.([0-9a-f]{1,16})", text, re.ASCII)
        if not parts or not hmac.compare_digest(signature.encode(), self._signature(text).encode()):
            return None
        # Words that anybody makes up are not remembered: they would drive out the genuine ones.
        seen = self._genuine[word] = Seen(parts[1], int(parts[3]), parts[4], is_told=bool(parts[2]))
        if len(self._genuine) > MOST_GENUINE:
            self._genuine.popitem(last=False)
        return seen

    def _signature(self, text: str) -> str:
        digest = hmac.digest(self._key, f"octowait seen {self._namespace} {text}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest[:18]).decode()
