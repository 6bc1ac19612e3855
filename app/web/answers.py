"""Answers that go out at once: gunicorn sends the head of each, and then its body, with a call of the system each."""

from __future__ import annotations

from gunicorn.http.wsgi import Response


class Answer(Response):  # type: ignore[misc]
    """An answer whose head goes out with its body, where that is one piece of known length."""

    headers_sent: bool

    def write(self, arg: bytes) -> None:
        if self.headers_sent or self.chunked or self._omits_body or len(arg) != self.response_length:
            super().write(arg)
            return
        lines = [*self.default_headers(), *(f"{name}: {value}\r\n" for name, value in self.headers), "\r\n"]
        self.headers_sent, self.sent = True, len(arg)
        self.sock.sendall("".join(lines).encode("latin-1") + arg)
