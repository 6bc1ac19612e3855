"""The lightest client there is, so that it does not dominate what it measures: raw sockets, HTTP and Redis by hand."""

from __future__ import annotations

import re
import selectors
import socket
import struct
import time
from collections.abc import Iterable, Sequence

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)


class Line:
    """One connection. *address* is a port on loopback or the path of a socket.

    Args:
        source: The address on loopback that it comes from; each has ports of its own.
    """

    def __init__(self, address: int | str, *, source: str = "") -> None:
        if isinstance(address, int):
            self.socket = socket.create_connection(
                ("127.0.0.1", address), source_address=(source, 0) if source else None
            )
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Thousands of closed connections in TIME_WAIT would use up the ports.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(address)
        self.socket.settimeout(60)
        self._buffer = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self) -> bytes:
        """One whole HTTP answer or one whole Redis reply."""
        while True:
            answer = self.take()
            if answer is not None:
                return answer

    def take(self) -> bytes | None:
        """Read once: the answer if it is whole now."""
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the server hung up")
        self._buffer += data
        if not is_whole(self._buffer):
            return None
        answer, self._buffer = self._buffer, b""
        return answer

    def close(self) -> None:
        self.socket.close()


def is_whole(data: bytes) -> bool:
    """Whether *data* is a whole HTTP answer of known length, or a short Redis reply, which comes in one piece."""
    if not data.startswith(b"HTTP/"):
        return data.endswith(b"\r\n")
    end = data.find(b"\r\n\r\n")
    length = _LENGTH.search(data, 0, end + 2) if end >= 0 else None
    return length is not None and len(data) >= end + 4 + int(length[1])


def http(method: str, path: str, token: str, body: str = "", **headers: str) -> bytes:
    """A request as curl in a step sends it; ``X_Octowait_Claim="…"`` is a further header."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Accept: text/plain", f"Authorization: Bearer {token}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body:
        lines += ["Content-Type: application/json; charset=utf-8", f"Content-Length: {len(body.encode())}"]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def step_http(method: str, task: str, token: str, query: str = "", body: str = "", *, seen: str = "") -> bytes:
    """A call of a step script about its wait: with its claim, its version and what an answer told it last."""
    headers = {
        "User_Agent": "octowait-wait/2 (bash)",
        "X_Octowait_Version": "2",
        "X_Octowait_Claim": claim_of(task),
        **({"X_Octowait_Seen": seen} if seen else {}),
    }
    return http(method, f"/api/waits/{task}{query}", token, body, **headers)


def seen_in(answer: bytes) -> str:
    """What an answer in text tells a step to repeat; empty where it tells nothing."""
    _, _, rest = answer.rpartition(b" seen ")
    return rest.split(b" ", 1)[0].strip().decode() if b" seen " in answer else ""


def claim_of(task: str) -> str:
    """The id of the one execution of the step of a task."""
    return f"claim-of-{task}"


def resp(*words: str | int) -> bytes:
    """A Redis command."""
    parts = [str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def wait_for_all(lines: Sequence[Line]) -> list[float]:
    """When each of *lines* had its whole answer, in order of the answers (`time.perf_counter`)."""
    with selectors.EpollSelector() as selector:
        for line in lines:
            selector.register(line.socket, selectors.EVENT_READ, line)
        done: list[float] = []
        while len(done) < len(lines):
            ready = selector.select(60)
            if not ready:
                raise TimeoutError(f"{len(lines) - len(done)} of {len(lines)} got no answer")
            for key, _ in ready:
                if key.data.take() is not None:
                    done.append(time.perf_counter())
                    selector.unregister(key.data.socket)
        return done


def close_all(lines: Iterable[Line]) -> None:
    for line in lines:
        line.close()
