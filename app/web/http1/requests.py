"""Requests as the step scripts and Octopus send them, read with one expression instead of line by line.

gunicorn's own reader is a sixth of what a web process does for a blocked poll. What is not as plain as can be is left
to it, with all that it refuses.
"""

from __future__ import annotations

import re
from typing import Any

from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser

#: A head that comes whole: a path and a query of few characters, and headers of printable ASCII, each in one line.
#: Shorter than what gunicorn takes, so that none of its limits is passed over.
_PLAIN = re.compile(
    rb"(GET|PUT|POST|DELETE) (/(?!/)[\w./-]{0,1000})(?:\?([\w=&.,-]{0,1000}))? HTTP/1\.1\r\n"
    rb"((?:[A-Za-z0-9-]{1,100}: [!-~](?:[ -~]{0,4000}[!-~])?\r\n){1,50})\r\n"
)

#: Headers that change how a request is read, or how it is to be answered at once.
_NOT_PLAIN = frozenset({"EXPECT", "TRANSFER-ENCODING", "UPGRADE", "TRAILER", "TE"})


class PlainRequest(Request):  # type: ignore[misc]
    """A request of gunicorn's, whose head is read at once where it is plain."""

    def parse(self, unreader: Any) -> bytes:
        """Read the head; the bytes behind it."""
        if not _is_ours(self.cfg, self.peer_addr):
            rest: bytes = super().parse(unreader)
            return rest
        data = unreader.read()
        match = _PLAIN.match(data)
        headers = match and _headers(match[4])
        if not match or not headers:
            unreader.unread(data)
            rest = super().parse(unreader)
            return rest
        self.method, self.path = match[1].decode(), match[2].decode()
        self.query, self.fragment, self.version = (match[3] or b"").decode(), "", (1, 1)
        self.uri = data[match.start(2) : data.index(b" ", match.start(2))].decode()
        self.headers = headers
        return bytes(data[match.end() :])


class Parser(RequestParser):  # type: ignore[misc]
    """The requests of one connection."""

    mesg_class = PlainRequest


def _headers(lines: bytes) -> list[tuple[str, str]] | None:
    """The headers by their names in capitals; None where one comes twice, or is not plain."""
    pairs = [line.split(": ", 1) for line in lines.decode("ascii").split("\r\n")[:-1]]
    headers = [(name.upper(), value) for name, value in pairs]
    names = {name for name, _ in headers}
    return headers if len(names) == len(headers) and names.isdisjoint(_NOT_PLAIN) else None


def _is_ours(cfg: Any, peer: Any) -> bool:
    """Whether gunicorn is as `app.web.server` sets it, and takes nothing that a peer says for the truth."""
    return type(peer) is tuple and not cfg.forwarded_allow_ips and cfg.proxy_protocol == "off"
