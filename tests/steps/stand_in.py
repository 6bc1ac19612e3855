"""A server of our own in octowait's place, which answers as octowait does, and as anything else on the way might.

A reply is a function that gets an `Exchange` and writes to its connection what it likes. Replies are used up in turn,
the last of a method goes on for ever.
"""

from __future__ import annotations

import json
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

TASK_PATH = "/api/waits/ServerTasks-1"


@dataclass(frozen=True)
class Request:
    method: str
    #: The path without its query; the whole address when it was asked as a proxy.
    target: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    #: Seconds of `time.monotonic`.
    at: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def claim(self) -> str | None:
        return self.headers.get("x-octowait-claim")

    def __str__(self) -> str:
        query = "&".join(f"{key}={value}" for key, value in self.query.items())
        return f"{self.method} {query}".strip()


@dataclass
class Exchange:
    """A request and the connection on which its answer goes out."""

    request: Request
    connection: socket.socket
    server: StandIn

    @property
    def wants_json(self) -> bool:
        return "json" in self.request.headers.get("accept", "")

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)
        self.server.sent += len(data)

    def respond(
        self, status: int, text: str, content_type: str, headers: Mapping[str, str] | None = None, missing: int = 0
    ) -> None:
        """A whole answer; one that promises *missing* bytes more than come is cut."""
        data = text.encode()
        named = {"Content-Type": content_type, "Content-Length": str(len(data) + missing), "Connection": "close"}
        head = "".join(f"{name}: {value}\r\n" for name, value in {**named, **(headers or {})}.items())
        self.send(f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + data)


Reply = Callable[[Exchange], None]


def state_text(exchange: Exchange, word: str, number: int, message: str, fields: Mapping[str, Any]) -> str:
    """The body of an answer of octowait, as the client asked for it; of the new contract if the server is new."""
    extra = {name: value for name, value in fields.items() if value is not None}
    if exchange.server.is_new and exchange.request.claim and "claim" not in fields:
        extra["claim"] = exchange.request.claim
    if not exchange.wants_json:
        third = " ".join(f"{name} {value}" for name, value in extra.items())
        return f"{word} {number}\n{message}\n" + (f"{third}\n" if third else "")
    is_granted = word == "granted"
    numbers = {"place": None if is_granted else number, "fencing_token": number if is_granted else None}
    return json.dumps({"state": word, **numbers, "message": message, "wake_key": None, **extra}, ensure_ascii=False)


def state(
    word: str, number: int = 0, message: str = "", *, status: int = 200, missing: int = 0, **fields: Any
) -> Reply:
    def reply(exchange: Exchange) -> None:
        kind = "application/json" if exchange.wants_json else "text/plain; charset=utf-8"
        text = state_text(exchange, word, number, message or f"{word.capitalize()}: web-01.", fields)
        exchange.respond(status, text, kind, missing=missing)

    return reply


def waiting(place: int = 1, message: str = "Waiting for web-01, place 1.", **fields: Any) -> Reply:
    return state("waiting", place, message, **fields)


def granted(token: int = 17, message: str = "Granted: web-01, after waiting 61 s.", **fields: Any) -> Reply:
    return state("granted", token, message, **fields)


def outcome(word: str) -> Reply:
    def reply(exchange: Exchange) -> None:
        if exchange.wants_json:
            exchange.respond(200, json.dumps({"outcome": word}), "application/json")
        else:
            exchange.respond(200, f"{word} 0\nServerTasks-1 {word}.\n", "text/plain; charset=utf-8")

    return reply


def problem(status: int, code: str, detail: str = "no", **headers: str) -> Reply:
    """A problem of octowait; ``Retry_After="1"`` is a header."""
    body = json.dumps({"status": status, "title": "Problem", "detail": detail, "code": code})
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda exchange: exchange.respond(status, body, "application/problem+json", named)


def page(status: int = 200, text: str = "<html>Log in</html>", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda exchange: exchange.respond(status, text, "text/html", named)


def unended(text: str, as_json: str) -> Reply:
    """An answer without a length, which ends with the connection: nobody but its reader can tell that it is cut."""

    def reply(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n")
        exchange.send((as_json if exchange.wants_json else text).encode())

    return reply


def closing(_: Exchange) -> None:
    """No answer at all."""


def silent(exchange: Exchange) -> None:
    """Neither an answer nor an end."""
    exchange.server.stopped.wait()


def dripping(seconds: float) -> Reply:
    """A byte every so many seconds for ever."""

    def reply(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n")
        while not exchange.server.stopped.wait(seconds):
            exchange.send(b"w")

    return reply


def huge(size: int, start: str = "<html>") -> Reply:
    def reply(exchange: Exchange) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
        exchange.send(head.encode() + start.encode())
        left, piece = size - len(start), b"x" * 65536
        while left > 0:
            exchange.send(piece[:left])
            left -= len(piece)

    return reply


def raw(data: bytes) -> Reply:
    return lambda exchange: exchange.send(data)


def after_early_hints(then: Reply) -> Reply:
    def reply(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
        then(exchange)

    return reply


def tunnel(port: int) -> Reply:
    """What a proxy does with CONNECT, whatever the name: a connection to a port of this machine."""

    def reply(exchange: Exchange) -> None:
        with socket.create_connection(("127.0.0.1", port)) as far:
            exchange.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_carry, args=(far, exchange.connection), daemon=True)
            back.start()
            _carry(exchange.connection, far)
            back.join(5)

    return reply


def _carry(one: socket.socket, other: socket.socket) -> None:
    try:
        while data := one.recv(65536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # either has hung up


@dataclass
class StandIn:
    """Listens on a free port of *address* until `stop`; *is_new*: it knows claims."""

    replies: list[Reply]
    is_new: bool = True
    tls: ssl.SSLContext | None = None
    address: str = "127.0.0.1"
    port: int = 0
    #: Answers to DELETE; without any, that of its contract.
    deletes: list[Reply] = field(default_factory=lambda: [outcome("released")])

    def __post_init__(self) -> None:
        self.requests: list[Request] = []
        self.sent = 0
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        self._listener = socket.create_server((self.address, self.port), family=family)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.address}:{self.port}"

    @property
    def asked(self) -> list[str]:
        """Method and query of each request."""
        return [str(request) for request in self.requests]

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.requests]

    def stop(self) -> None:
        self.stopped.set()
        # A plain close does not wake the thread that accepts.
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()

    def _accept(self) -> None:
        while not self.stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with connection:
                request = _read(connection)
                if request:
                    self._reply(request)(Exchange(request, connection, self))
        except OSError:
            pass  # a step that was ended, or that had read enough, leaves its connection behind

    def _reply(self, request: Request) -> Reply:
        with self._lock:
            self.requests.append(request)
            replies = self.deletes if request.method == "DELETE" else self.replies
            return replies.pop(0) if len(replies) > 1 else replies[0]


def _read(connection: socket.socket) -> Request | None:
    if not isinstance(connection, ssl.SSLSocket) and connection.recv(1, socket.MSG_PEEK) == b"\x16":
        # The hello of TLS, in which there may be no line end to wait for: a server without TLS says so in HTTP.
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        return None
    file = connection.makefile("rb")
    first = file.readline().decode("latin-1").split()
    if len(first) < 2:
        return None
    headers = {}
    while (line := file.readline().decode("latin-1").strip()) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = file.read(int(headers.get("content-length") or 0))
    address = urlsplit(first[1])
    query = {key: values[0] for key, values in parse_qs(address.query).items()}
    return Request(first[0], first[1].partition("?")[0], query, headers, body, time.monotonic())


class DeadAddress:
    """A port that drops what wants to connect: its listener's queue is full and never emptied."""

    def __init__(self, address: str, port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.socket(family)
        self._listener.bind((address, port))
        self._listener.listen(0)
        self.port = self._listener.getsockname()[1]
        self._waiting = [socket.socket(family) for _ in range(4)]
        for one in self._waiting:
            one.setblocking(False)
            one.connect_ex((address, self.port))

    def stop(self) -> None:
        for one in (*self._waiting, self._listener):
            one.close()


def word() -> str:
    """A word such as octowait's own ``seen`` and ``news``."""
    return secrets.token_hex(4)
