"""The smallest client of HTTP that can lose an answer: one connection, one call at a time."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any


class Broken(Exception):
    """No whole answer came; the call may have been carried out."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


class Connection:
    """To one port of this machine; it connects when it is first used, and anew after it broke."""

    def __init__(self, port: int, headers: str = "") -> None:
        self.port = port
        self._headers = headers
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def call(
        self, method: str, path: str, body: Any = None, *, seconds: float, headers: str = ""
    ) -> Answer:  # fmt: skip
        """The answer within *seconds*; *headers*, whole lines, go with this call only. Raises: Broken."""
        data = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        kind = "Content-Type: application/json\r\n" if data else ""
        lines = f"Host: octowait\r\n{self._headers}{headers}{kind}Content-Length: {len(data)}"
        head = f"{method} {path} HTTP/1.1\r\n{lines}\r\n\r\n"
        try:
            async with asyncio.timeout(seconds):
                return await self._exchange(head.encode() + data)
        except (OSError, EOFError, TimeoutError, ValueError, asyncio.LimitOverrunError) as error:
            self.drop()
            raise Broken(f"{method} {path}: {type(error).__name__} {error}") from error
        except BaseException:
            self.drop()
            raise

    async def _exchange(self, request: bytes) -> Answer:
        if self._writer is None or self._reader is None or self._reader.at_eof():
            self.drop()
            await self._connect()
        assert self._reader and self._writer
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ", 2)[1])
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        text = await self._body(fields)
        if fields.get("connection", "").lower() == "close":
            self.drop()
        return Answer(status, json.loads(text) if "json" in fields.get("content-type", "") and text else text)

    async def _connect(self) -> None:
        opening = asyncio.ensure_future(asyncio.open_connection("127.0.0.1", self.port))
        try:
            # A connection that is made while its caller gives up has to be ended by somebody.
            self._reader, self._writer = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_abort)
            raise

    async def _body(self, fields: dict[str, str]) -> bytes:
        assert self._reader
        if fields.get("transfer-encoding", "").lower() != "chunked":
            return await self._reader.readexactly(int(fields.get("content-length", "0")))
        parts = []
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            parts.append(await self._reader.readexactly(size))
            await self._reader.readexactly(2)
        await self._reader.readexactly(2)
        return b"".join(parts)

    def drop(self) -> None:
        """Hang up at once, as a process that is killed does."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None

    def __del__(self) -> None:
        with suppress(RuntimeError):  # The loop is closed, and all its links with it.
            self.drop()


def _abort(opening: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> None:
    if not opening.cancelled() and not opening.exception():
        opening.result()[1].transport.abort()
