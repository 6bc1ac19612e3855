"""Bodies of requests: each arrives in time, and what nobody has read is read away before the answer goes out.

A client that sends half a body and no more would keep its descriptor for as long as it likes. One that is answered in
the middle of a body that is too long would find its connection cut, and the answer lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import IO, TYPE_CHECKING

import gevent
from gunicorn.http.errors import ParseException

from app.web.errors import Problem

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: Bytes of one body that are read at most, whatever becomes of them.
MOST_READ = 8 << 20

_PIECE = 1 << 16


class Bodies:
    """WSGI middleware around everything that reads bodies.

    Args:
        seconds: For the whole body, from when the request's head was read.
    """

    def __init__(self, inner: WSGIApplication, *, seconds: float) -> None:
        self._inner = inner
        self._seconds = seconds

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("CONTENT_LENGTH", "0") in ("", "0") and "HTTP_TRANSFER_ENCODING" not in environ:
            return self._inner(environ, start_response)
        # In process, without a connection, there is nothing to wait for.
        seconds = self._seconds if "gunicorn.socket" in environ else None
        body = environ["wsgi.input"] = Body(environ["wsgi.input"], seconds)
        answer = self._inner(environ, start_response)
        length = environ.get("CONTENT_LENGTH", "")
        # Of what is longer nothing is read: its client hears so at once, if it listens.
        if not _is_longer(length) and not body.is_read(length):
            body.read_away()
        return answer


def _is_longer(length: str) -> bool:
    """Whether a ``Content-Length`` is more than `MOST_READ`; gunicorn has seen to it that it is a number."""
    return len(length) > 9 or int(length or 0) > MOST_READ


def read_again(environ: WSGIEnvironment, most: int) -> bytes | None:
    """The body of a request, which whoever stands inside can read again, or is to hear how it broke off.

    Returns:
        None where it broke off, or has no known length of 1 to *most* bytes and was not read.
    """
    length = environ.get("CONTENT_LENGTH", "")
    if not 0 < len(length) < 10 or not 0 < int(length) <= most:
        return None
    try:
        body: bytes = environ["wsgi.input"].read(int(length))
    except (Problem, ParseException, OSError) as error:
        environ["wsgi.input"] = _Broken(error)
        return None
    environ["wsgi.input"] = BytesIO(body)
    return body


class _Broken:
    """A body that broke off, for whoever reads it next."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def read(self, size: int = -1) -> bytes:
        raise self._error


class Body:
    """A stream that ends with a problem (408) where it has not arrived in *seconds*; None: whenever it does."""

    def __init__(self, stream: IO[bytes], seconds: float | None) -> None:
        self._stream = stream
        self._ends_at = None if seconds is None else time.monotonic() + seconds
        self._seconds = seconds
        self._read = 0

    def read(self, size: int = -1) -> bytes:
        return self._counted(lambda: self._stream.read(size))

    def readline(self, size: int = -1) -> bytes:
        return self._counted(lambda: self._stream.readline(size))

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    def is_read(self, length: str) -> bool:
        """Whether nothing can be left of it, by its ``Content-Length``."""
        return length != "" and self._read >= int(length)

    def read_away(self) -> None:
        """Read what is left, up to `MOST_READ` bytes of it all; a client that does not send it gets its answer."""
        try:
            while self._read < MOST_READ and self.read(_PIECE):
                pass
        except (Problem, OSError, ParseException):
            return

    def _counted(self, read: Callable[[], bytes]) -> bytes:
        data = read() if self._ends_at is None else self._in_time(read, self._ends_at)
        self._read += len(data)
        return data

    def _in_time(self, read: Callable[[], bytes], ends_at: float) -> bytes:
        timeout = gevent.Timeout.start_new(max(0.001, ends_at - time.monotonic()))
        try:
            return read()
        except gevent.Timeout as error:
            if error is not timeout:
                raise
            detail = f"expected the whole body within {self._seconds:g} s (OCTOWAIT_BODY_SECONDS)"
            raise Problem(408, "body_too_slow", detail) from None
        finally:
            timeout.close()
