"""Answers that go out at once: gunicorn sends the head of each, and then its body, with a call of the system each."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Any

from gunicorn.http.wsgi import Response
from gunicorn.util import http_date

#: Fields of nearly all answers to steps, which need not be looked at each time.
_PLAIN_FIELDS = frozenset({
    ("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store"), ("Content-Type", "application/json"),
    ("Content-Type", "text/plain; charset=utf-8"), ("Cross-Origin-Resource-Policy", "same-origin"),
})  # fmt: skip


class Answer(Response):  # type: ignore[misc]
    """An answer whose head goes out with its body, where that is one piece of known length."""

    headers_sent: bool

    def process_headers(self, headers: Iterable[tuple[str, str]]) -> None:
        for field in headers:
            if field in _PLAIN_FIELDS:
                self.headers.append(field)
            else:
                super().process_headers([field])

    def write(self, arg: bytes) -> None:
        is_plain = not (self.headers_sent or self.chunked or self.upgrade or self._omits_body)
        if not is_plain or len(arg) != self.response_length:
            super().write(arg)
            return
        # As the library has them, but for the date, which is made once a second.
        first, second = self.req.version
        lines = [
            f"HTTP/{first}.{second} {self.status}\r\nServer: {self.version}\r\nDate: {_date(int(time.time()))}\r\n",
            f"Connection: {'close' if self.should_close() else 'keep-alive'}\r\n",
            *[f"{name}: {value}\r\n" for name, value in self.headers],
            "\r\n",
        ]
        self.headers_sent, self.sent = True, len(arg)
        _send("".join(lines).encode("latin-1") + arg, self.sock)


def _send(data: bytes, client: Any) -> None:
    """Send all of *data* to a client, of gevent's or another; gevent's own way asks the system first what it is."""
    sent = 0
    if own := getattr(client, "_sock", None):
        with suppress(BlockingIOError):
            sent = own.send(data)
    if sent < len(data):
        client.sendall(data[sent:])


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return str(http_date(second))
