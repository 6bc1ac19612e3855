"""The network does to what goes through it what its mood says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.chaos.proxy import Mood, Proxy
from tests.chaos.wire import Broken, Connection

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\ntrue"


class Server:
    """Answers everything, and remembers what came."""

    def __init__(self) -> None:
        self.came: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.came.append(head.split(b" ")[0])
                writer.write(ANSWER)
        except EOFError:
            pass
        finally:
            writer.close()


def through(mood: Mood, act: Callable[[Connection, Proxy, Server], Awaitable[None]], **how: float) -> None:
    """Have *act* call through a proxy in *mood*."""

    async def run() -> None:
        behind = Server()
        server = await asyncio.start_server(behind.serve, "127.0.0.1", 0)
        proxy = Proxy(server.sockets[0].getsockname()[1])
        await proxy.start()
        connection = Connection(proxy.port)
        proxy.be(mood, **how)  # type: ignore[arg-type]
        await act(connection, proxy, behind)
        connection.drop()
        proxy.stop()
        server.close()
        await asyncio.sleep(0.05)  # turns of the loop in which the links are closed

    asyncio.run(run())


def test_calm_network_passes_everything_on():
    async def act(connection: Connection, proxy: Proxy, behind: Server) -> None:
        assert (await connection.call("GET", "/", seconds=5)).body is True
        assert (proxy.pieces, proxy.treated) == (1, 0)

    through(Mood.CALM, act)


def test_answer_is_lost_and_the_request_was_carried_out():
    async def act(connection: Connection, proxy: Proxy, behind: Server) -> None:
        with pytest.raises(Broken):
            await connection.call("PUT", "/", seconds=5)
        assert behind.came == [b"PUT"]
        # Only one was to be lost.
        assert (await connection.call("PUT", "/", seconds=5)).is_success

    through(Mood.LOSE, act, count=1)


def test_request_that_is_held_is_carried_out_after_its_sender_has_gone():
    async def act(connection: Connection, proxy: Proxy, behind: Server) -> None:
        with pytest.raises(Broken):
            await connection.call("PUT", "/", seconds=0.1)
        assert behind.came == []
        while not behind.came:
            await asyncio.sleep(0.02)  # between two looks at a fact, not instead of one
        assert behind.came == [b"PUT"]

    through(Mood.HOLD, act, seconds=0.4)


def test_release_is_never_held():
    async def act(connection: Connection, proxy: Proxy, behind: Server) -> None:
        assert (await connection.call("DELETE", "/", seconds=5)).is_success

    through(Mood.HOLD, act, seconds=60)


def test_link_is_cut_before_the_request_arrives():
    async def act(connection: Connection, proxy: Proxy, behind: Server) -> None:
        with pytest.raises(Broken):
            await connection.call("PUT", "/", seconds=5)
        assert behind.came == []

    through(Mood.CUT, act)


def test_dead_link_stays_open_and_silent():
    async def act(connection: Connection, proxy: Proxy, behind: Server) -> None:
        with pytest.raises(Broken, match="TimeoutError"):
            await connection.call("PUT", "/", seconds=0.2)
        assert behind.came == []

    through(Mood.DEAD, act)
