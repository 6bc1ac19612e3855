"""Known heads: that of a poll differs from others in its task, its claim and such alone, and is not parsed again.

To parse it, and to make an environment of it, takes gunicorn longer than all else that is done for a poll with no news.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Heads that are remembered: some for each kind of step script, each name of this server, and each proxy.
MOST_HEADS = 256

#: Bytes of a head, at most, and so those of one read; gunicorn's own reads are of as many.
MOST_BYTES = 8192

#: What a poll asks, in the first line.
_TARGET = re.compile(
    rb"GET (/api/waits/[A-Za-z0-9-]{1,100})\?(block_seconds=[0-9]{1,2}(?:\.[0-9]{1,9})?) HTTP/1\.1\r\n"
)

#: What differs from poll to poll in the others: none of these characters means anything to who parses it.
_VALUE = re.compile(
    rb"(?<=\r\n)(Authorization: Bearer |X-Octowait-Claim: |X-Octowait-Seen: )([A-Za-z0-9._~+/=-]{1,4000})(?=\r\n)", re.I
)

#: The fields whose meaning is nothing but their value, as gunicorn calls them.
_PLAIN_FIELDS = frozenset({
    "HOST", "USER-AGENT", "ACCEPT", "ACCEPT-ENCODING", "AUTHORIZATION", "CONNECTION", "X-OCTOWAIT-CLAIM",
    "X-OCTOWAIT-SEEN", "X-OCTOWAIT-VERSION", "X-FORWARDED-FOR", "X-FORWARDED-PROTO", "X-FORWARDED-HOST", "X-REQUEST-ID",
})  # fmt: skip

#: What is of one request, or of one connection: each gets its own, but for the last one, which nobody here uses.
_OF_ONE = ("gunicorn.socket", "wsgi.input", "REMOTE_ADDR", "REMOTE_PORT", "PATH_INFO", "QUERY_STRING", "RAW_URI",
           "wsgi.early_hints")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a poll: what it has in common with others, and what not.

    Args:
        common: The listener, and all of the head but for the first line and the *values*.
        begins: With what the lines of the *values* begin, such as ``X-Octowait-Claim: ``.
    """

    common: tuple[Any, ...]
    begins: Sequence[bytes]
    values: Sequence[bytes]
    path: str
    query: str


class KnownRequest:
    """A request whose head is known: as much of gunicorn's as is asked of it."""

    __slots__ = ("_is_last", "environ")

    version = (1, 1)
    method = "GET"

    def __init__(self, environ: WSGIEnvironment, *, is_last: bool) -> None:
        self.environ = environ
        self._is_last = is_last

    @property
    def path(self) -> str:
        return str(self.environ["PATH_INFO"])

    def force_close(self) -> None:
        self._is_last = True

    def should_close(self) -> bool:
        return self._is_last


@dataclass(frozen=True, slots=True)
class _Known:
    """What was made of a head: what its environment has in common with others, and the fields of its values."""

    environ: Mapping[str, Any]
    fields: Sequence[tuple[str, str]]
    is_last: bool


class KnownHeads:
    """The heads that were parsed in this process."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], _Known] = {}

    def __len__(self) -> int:
        return len(self._known)

    def request(self, head: Head, client: Any, address: Any) -> KnownRequest | None:
        """What gunicorn would make of *head*, from the peer at *address*; None where it was not asked yet."""
        known = self._known.get(head.common)
        if known is None:
            return None
        environ = {
            **known.environ, "gunicorn.socket": client, "wsgi.input": BytesIO(), "REMOTE_ADDR": address[0],
            "REMOTE_PORT": str(address[1]), "PATH_INFO": head.path, "QUERY_STRING": head.query,
            "RAW_URI": f"{head.path}?{head.query}",
        }  # fmt: skip
        for (name, prefix), value in zip(known.fields, head.values, strict=True):
            environ[name] = prefix + value.decode("latin-1")
        return KnownRequest(environ, is_last=known.is_last)

    def learn(self, head: Head, request: Any, environ: WSGIEnvironment) -> None:
        """Note what gunicorn made of *head*, before anybody has changed it; nothing of what is more than its parts."""
        if not _PLAIN_FIELDS.issuperset(name for name, _ in request.headers) or "REMOTE_PORT" not in environ:
            return
        fields = [_field_of(begin) for begin in head.begins]
        values = [prefix + value.decode("latin-1") for (_, prefix), value in zip(fields, head.values, strict=True)]
        own = {name: environ.get(name) for name, _ in fields}
        is_apart = (environ["PATH_INFO"], environ["QUERY_STRING"]) == (head.path, head.query)
        if len(own) < len(fields) or list(own.values()) != values or not is_apart:
            return
        while len(self._known) >= MOST_HEADS:
            del self._known[next(iter(self._known))]
        common = {name: value for name, value in environ.items() if name not in own and name not in _OF_ONE}
        self._known[head.common] = _Known(common, fields, request.should_close())


def head_of(data: bytes, listener: Any) -> Head | None:
    """The head that *data*, which came to *listener*, is and nothing else; None where it is none of a poll."""
    target = _TARGET.match(data)
    if not target or data.find(b"\r\n\r\n") != len(data) - 4:
        return None
    parts = _VALUE.split(data[target.end() - 2 :])
    begins, path, query = tuple(parts[1::3]), target[1].decode("ascii"), target[2].decode("ascii")
    return Head((listener, begins, *parts[::3]), begins, parts[2::3], path, query)


def _field_of(begin: bytes) -> tuple[str, str]:
    """The field that a line with that *begin* is in an environment, and what stands there before the value."""
    name, _, prefix = begin.decode("latin-1").partition(": ")
    return "HTTP_" + name.upper().replace("-", "_"), prefix
