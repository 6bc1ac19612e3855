"""Answers that go out at once: gunicorn sends the head of each, and then its body, with a call of the system each."""

from __future__ import annotations

import time
from functools import lru_cache

from gunicorn.http.wsgi import Response
from gunicorn.util import http_date


class Answer(Response):  # type: ignore[misc]
    """An answer whose head goes out with its body, where that is one piece of known length."""

    headers_sent: bool

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
        self.sock.sendall("".join(lines).encode("latin-1") + arg)


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return str(http_date(second))
