"""A network that delays, loses answers, holds requests back, and keeps dead links open."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from enum import StrEnum

from tests.chaos.doors import PATIENCE
from tests.chaos.step import CLAIM_HEADER


class Mood(StrEnum):
    """What is done to what goes through from now on."""

    CALM = "calm"
    DELAY = "delay"  #: each piece comes late
    LOSE = "lose"  #: requests arrive, their answers do not, and the link ends
    HOLD = "hold"  #: requests arrive late, perhaps when nobody waits for an answer any more
    HOLD_RELEASES = "hold releases"  #: releases do
    CUT = "cut"  #: links end in the middle
    DEAD = "dead"  #: nothing goes through any more, and no link ends


class Proxy:
    """Passes on what comes to `port` to *target* on this machine.

    *count* pieces are treated by the mood, then it is calm again.
    """

    def __init__(self, target: int, seed: int = 0) -> None:
        #: The port that new links go to.
        self.target = target
        self._dice = random.Random(seed)
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self.mood, self._count, self._seconds = Mood.CALM, 0, 0.0
        #: Pieces that went through, and those that were treated.
        self.pieces = self.treated = 0

    @property
    def port(self) -> int:
        assert self._server
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._link, "127.0.0.1", 0, backlog=500)

    def stop(self) -> None:
        if self._server:
            self._server.close()
        self.cut()

    def cut(self) -> None:
        """End all links."""
        for link in list(self._links):
            link.cancel()

    def be(self, mood: Mood, *, count: int = 1_000_000_000, seconds: float = 0.0) -> None:
        """From now on, for *count* pieces; *seconds* is how late, where that has a meaning."""
        self.mood, self._count, self._seconds = mood, count, seconds

    def _takes(self, *moods: Mood) -> bool:
        """Whether this piece is treated, which it then counts as."""
        if self.mood not in moods:
            return False
        self._count -= 1
        self.treated += 1
        if self._count <= 0:
            self.mood = Mood.CALM
        return True

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        assert link
        self._links.add(link)
        far: asyncio.StreamWriter | None = None
        try:
            far_reader, far = await asyncio.open_connection("127.0.0.1", self.target)
            there = asyncio.ensure_future(self._requests(reader, far, writer))
            back = asyncio.ensure_future(self._answers(far_reader, writer))
            try:
                await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
                if there.done() and not back.done() and there.result():
                    # The request is on its way although its sender has gone: it is carried out.
                    await back
            finally:
                there.cancel()
                back.cancel()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._links.discard(link)
            for end in filter(None, (writer, far)):
                with suppress(RuntimeError):
                    end.transport.abort()

    async def _requests(
        self, reader: asyncio.StreamReader, far: asyncio.StreamWriter, near: asyncio.StreamWriter
    ) -> bool:
        """Whether something was sent on that nobody waits for any more."""
        while piece := await reader.read(65536):
            self.pieces += 1
            if self.mood is Mood.DEAD:
                self.treated += 1
                await asyncio.Event().wait()
            if self._takes(Mood.CUT):
                return False
            if self._takes(Mood.DELAY):
                await asyncio.sleep(self._seconds * self._dice.random())
            elif self._takes(Mood.HOLD_RELEASES if piece.startswith(b"DELETE") else Mood.HOLD):
                # Only with a claim may it arrive when its sender has given it up; the others are expected to fail then.
                await asyncio.sleep(self._seconds + (PATIENCE if CLAIM_HEADER.encode() in piece else 0.0))
                far.write(piece)
                return near.is_closing() or reader.at_eof()
            far.write(piece)
        return False

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            if self.mood is Mood.DEAD:
                await asyncio.Event().wait()
            if self._takes(Mood.LOSE):
                return
            if self._takes(Mood.DELAY):
                await asyncio.sleep(self._seconds * self._dice.random())
            writer.write(piece)
