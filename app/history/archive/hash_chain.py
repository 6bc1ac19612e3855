"""A hash chain over lines of JSON: a line that is changed, removed or moved breaks the chain there.

A sealed line ends with its number and with ``sha256(hash of the line before + line up to its number)``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from app.domain.phrases import several

_SEQ, _CHAIN = ',"seq":', ',"chain":"'

#: Characters of ``,"chain":"…"}``.
_CHAIN_LENGTH = len(_CHAIN) + 64 + 2


class Unsealed(ValueError):
    """A line does not end as a sealed one does."""


@dataclass(frozen=True)
class ChainEnd:
    """The end of a chain: the number of its last line, and that line's hash."""

    seq: int = 0
    hash: str = "0" * 64


@dataclass(frozen=True)
class Sealed:
    """A line taken apart: *body* is what was sealed, *text* what its hash covers."""

    body: str
    seq: int
    chain: str
    text: str

    def follows(self, end: ChainEnd) -> bool:
        """Whether its hash is the one that it must have behind *end*."""
        return self.chain == _digest(end.hash, self.text)


def seal(body: str, end: ChainEnd) -> tuple[str, ChainEnd]:
    """The JSON object *body* as the next line behind *end*, and the end of the chain after it."""
    text = f"{body[:-1]}{_SEQ}{end.seq + 1}}}"
    digest = _digest(end.hash, text)
    return f'{text[:-1]}{_CHAIN}{digest}"}}', ChainEnd(end.seq + 1, digest)


def body_of(line: str) -> str:
    """What was sealed, unchecked.

    Raises:
        Unsealed: it is not a sealed line.
    """
    at = line.rfind(_SEQ)
    if at < 0 or not line.endswith('"}'):
        raise Unsealed(line[:100])
    return line[:at] + "}"


def unseal(line: str) -> Sealed:
    """A sealed line taken apart, unchecked.

    Raises:
        Unsealed: it is not a sealed line.
    """
    body = body_of(line)
    text = line[:-_CHAIN_LENGTH] + "}"
    seq = text[len(body) - 1 + len(_SEQ) : -1]
    if not line[-_CHAIN_LENGTH:].startswith(_CHAIN) or not (seq.isascii() and seq.isdigit()):
        raise Unsealed(line[:100])
    return Sealed(body, int(seq), line[-66:-2], text)


class Checker:
    """Checks a chain line by line. *findings* are sentences that say where it is broken."""

    def __init__(self, begin: ChainEnd) -> None:
        self.end = begin
        self.findings: list[str] = []
        self._last = ""
        self._missing: list[tuple[int, int, str]] = []

    def feed(self, line: str, name: str) -> None:
        """The next line; *name* is what people know it by."""
        try:
            sealed = unseal(line)
        except Unsealed:
            self.findings.append(f"{name}: is no sealed record")
            return
        if sealed.seq <= self.end.seq:
            self._came_late(sealed.seq, name)
            return
        if sealed.seq > self.end.seq + 1:
            between = f"between {self._last} and {name}" if self._last else f"before {name}"
            self._missing.append((self.end.seq + 1, sealed.seq - 1, between))
        elif not sealed.follows(self.end):
            self.findings.append(f"{name}: was changed, or the hash of the record before it")
        self.end, self._last = ChainEnd(sealed.seq, sealed.chain), name

    def finish(self, end: ChainEnd) -> list[str]:
        """All findings, when the chain was to end with *end*."""
        for first, last, where in self._missing:
            number = f"record {first} is" if first == last else f"records {first} to {last} are"
            self.findings.append(f"{number} missing {where}")
        if self.end.seq < end.seq:
            where = f"behind {self._last}" if self._last else "at its end"
            self.findings.append(f"records {self.end.seq + 1} to {end.seq} are missing {where}")
        elif self.end.seq > end.seq:
            self.findings.append(f"{several(self.end.seq - end.seq, 'record')} more than there were")
        elif self.end.hash != end.hash:
            self.findings.append(f"{self._last}: its hash is not the one that the chain ended with")
        return self.findings

    def _came_late(self, seq: int, name: str) -> None:
        for at, (first, last, where) in enumerate(self._missing):
            if first <= seq <= last:
                rest = [(first, seq - 1, where), (seq + 1, last, where)]
                self._missing[at : at + 1] = [part for part in rest if part[0] <= part[1]]
                self.findings.append(f"{name}: is out of order")
                return
        self.findings.append(f"{name}: is there twice")


def _digest(previous: str, text: str) -> str:
    return hashlib.sha256((previous + text).encode()).hexdigest()
