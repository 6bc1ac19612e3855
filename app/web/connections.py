"""Connections of clients: the requests that come on one."""

from __future__ import annotations

from typing import Any

import gevent
from gunicorn.http.parser import RequestParser

from app.web.polls.known_heads import MOST_BYTES, Head, KnownHeads, head_of


class Connection:
    """The requests of a client, one after the other.

    Args:
        name: Of the listener that took it.
    """

    __slots__ = ("_address", "_cfg", "_client", "_heads", "_name", "_parser")

    def __init__(self, cfg: Any, heads: KnownHeads, name: Any, client: Any, address: Any) -> None:
        self._cfg, self._heads = cfg, heads
        self._name, self._client, self._address = name, client, address
        self._parser: Any = None

    def next(self) -> Any:
        """The next request, gunicorn's or one whose head is known; None where the client has gone, or is too slow."""
        data = _received(self._client) if self._parser is None else None
        head, request = self._known(data)
        if request or data == b"":
            return request
        # The next one has to begin, and to have its whole head, in time.
        with gevent.Timeout(self._cfg.keepalive, False):
            if data is None and self._is_between():
                data = self._awaited()
                head, request = self._known(data)
            if data != b"" and not request:
                request = self._parsed(data, head)
        return request

    def _known(self, data: bytes | None) -> tuple[Head | None, Any]:
        head = head_of(data, self._name) if data else None
        return head, self._heads.request(head, self._client, self._address) if head else None

    def _is_between(self) -> bool:
        """Whether nothing was read but whole requests, so that a head is next."""
        return self._parser is None or (self._parser.finish_body() and not self._parser.unreader.buf.getvalue())

    def _awaited(self) -> bytes | None:
        # The client's own way tries to read first, and has a timer of its own.
        gevent.get_hub().wait(self._client._read_event)
        return _received(self._client)

    def _parsed(self, data: bytes | None, head: Head | None) -> Any:
        self._parser = self._parser or RequestParser(self._cfg, self._client, self._address)
        self._parser.unreader.unread(data or b"")
        request = next(self._parser, None)
        if request:
            request.proxy_protocol_info, request.head = {}, head
        return request


def _received(client: Any) -> bytes | None:
    """What a client has sent by now: nothing where it has hung up, None where nothing has come."""
    try:
        # Of those that connect most have sent their request by now: neither a timer nor a turn of others is needed.
        data: bytes = client._sock.recv(MOST_BYTES)
    except OSError:
        # BlockingIOError; another one is met again by who handles it.
        return None
    return data
