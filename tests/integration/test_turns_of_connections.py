"""A connection whose client sends one request after the other leaves a turn to each of the others."""

from __future__ import annotations

import socket

from tests.bench.wire import Line

#: Requests that are sent at once, and whose answers fit into the buffers of a connection.
BURST = 300

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def answers(line):
    """How many answers have come by now."""
    data = b""
    line.socket.setblocking(False)
    try:
        while piece := line.socket.recv(1 << 20):
            data += piece
    except BlockingIOError:
        return data.count(b"HTTP/1.1 200")
    finally:
        line.socket.setblocking(True)
    raise ConnectionError("the server hung up")


def test_one_busy_connection_does_not_keep_another_waiting(service):
    service.start()
    busy, other = Line(service.port), Line(service.port)
    for line in (busy, other):
        line.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.send(REQUEST)
        line.receive()

    busy.send(REQUEST * BURST)
    assert busy.socket.recv(1)  # It is the turn of the busy one.
    other.send(REQUEST)
    other.receive()

    assert answers(busy) < BURST / 2
    busy.close()
    other.close()
