"""The load generator of the benches, with a server that stalls."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.bench.load import CONNECTIONS, Load, Webhooks
from tests.bench.wire import is_whole

ANSWER = b"HTTP/1.1 202 ACCEPTED\r\nContent-Length: 2\r\n\r\n{}"

#: Requests a second, and the seconds for which the server answers nobody: more are due then than there are connections.
RATE, STALL_SECONDS = 200, 0.4


class StallingServer:
    """Answers each request, but none before the first one has been there for a while."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=CONNECTIONS)
        self.port: int = self._listener.getsockname()[1]
        self._ends_at: float | None = None
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        request = b""
        with connection, suppress(ConnectionError):
            while data := connection.recv(65536):
                self._ends_at = self._ends_at or time.perf_counter() + STALL_SECONDS
                request += data
                # A request is told whole as an answer is.
                if is_whole(request.replace(b"POST /", b"HTTP/", 1)):
                    threading.Event().wait(max(0.0, self._ends_at - time.perf_counter()))
                    connection.sendall(ANSWER)
                    request = b""

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)


@pytest.fixture
def server() -> Iterator[StallingServer]:
    server = StallingServer()
    yield server
    server.close()


def test_open_loop_counts_from_when_a_request_was_due(server):
    count = int(RATE * STALL_SECONDS)
    load = Load(server.port, Webhooks(0), 0)

    load.run(10, count, RATE)
    load.close()

    assert len(load.took) == load.statuses["202"] == count
    # Those that found no connection waited, too: nine in ten were due 40 ms before anybody was answered.
    assert len([took for took in load.took if took > 40]) >= 0.8 * count > CONNECTIONS
