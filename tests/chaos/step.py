"""The client of one run: what the step scripts do, in the event loop, with a note of all that it does and is told."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from tests.chaos.doors import PATIENCE, Caller
from tests.chaos.history import OFFERED, History, Kind
from tests.chaos.wire import Broken

#: Seconds between two tries, at first and at most.
PAUSES = (0.05, 1.0)

#: States in which a run asks for a place once more.
LOST_PLACE = ("expired", "unknown")


#: What a claim is said with, and what its step has seen.
CLAIM_HEADER, SEEN_HEADER = "X-Octowait-Claim", "X-Octowait-Seen"


class Rejected(Exception):
    """octowait refused a call that it should have taken; the message is its answer."""


class Client:
    """One run of one task, and a note of all that it does; its own calls are the subclass's."""

    def __init__(self, history: History, task: str, turn: int, machines: tuple[str, ...]) -> None:
        self.task, self.turn, self.machines = task, turn, machines
        self._history = history
        #: Not set while it is stopped, as by SIGSTOP.
        self.awake = asyncio.Event()
        self.awake.set()
        self.token: int | None = None
        #: A call of it may be carried out later, for nobody heard what became of it.
        self.is_loose = False
        #: So may an operator's, and take the machines of the next run of its task.
        self.is_being_forced = False
        self.is_waiting = self.is_working = self.was_killed = False
        #: Its wait, while it goes on.
        self.call: asyncio.Future[str] | None = None

    def note(self, kind: Kind, **facts: Any) -> None:
        self._history.note(kind, self.task, self.turn, **facts)

    async def wait(self, **ask: Any) -> str:
        """Join and wait: the state that it ends in, ``granted`` or another. Raises: Rejected."""
        raise NotImplementedError

    async def give_back(self) -> str:
        """What the release came to. Raises: Rejected."""
        raise NotImplementedError

    def halt(self) -> None:
        """It is stopped, and sends nothing until it goes on."""
        self.awake.clear()

    def go_on(self) -> None:
        self.awake.set()

    # What its deployment does

    def works(self) -> None:
        self.is_waiting, self.is_working = False, True
        self.note(Kind.WORKS, token=self.token, machines=self.machines)

    def stops(self, why: str = "") -> None:
        if self.is_working:
            self.is_working = False
            self.note(Kind.STOPS, word=why)

    def dies(self) -> None:
        """Its client is killed."""
        self.is_waiting, self.was_killed = False, True
        self.note(Kind.GONE)
        if self.call:
            self.call.cancel()


class Step(Client):
    """A run that makes its calls in the event loop, thousands of them at once.

    Args:
        caller: Whose connection it uses; no other step at the same time.
        block: Seconds that a poll blocks; less than a waiter's time to live.
        has_claim: Whether it makes a claim, as steps do; those of before make none.
    """

    def __init__(
        self, history: History, caller: Caller, task: str, turn: int, machines: tuple[str, ...], dice: random.Random,
        *, block: float = 5.0, has_claim: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(history, task, turn, machines)
        self._caller = caller
        self._dice = dice
        self._block = block
        self._seen = ""
        self._headers = f"{CLAIM_HEADER}: {task}-{turn}-{'of-this-step':->16}\r\n" if has_claim else ""

    async def wait(self, **ask: Any) -> str:
        """Join and wait: the state that it ends in, ``granted`` or another. Raises: Rejected."""
        word, failures = "new", 0
        while True:
            await self.awake.wait()
            try:
                word = await (
                    self.poll() if word == "waiting" else self.confirm() if word == OFFERED else self.put(**ask)
                )
                failures = 0
            except Broken:
                word, failures = "broken", failures + 1
                await self._pause(failures)
            self.is_waiting = word == "waiting"
            if word == "left":
                raise Rejected(f"{self.task}: its claim is over, and it waits")
            if word not in ("waiting", "broken", OFFERED, *LOST_PLACE):
                return word

    async def put(self, **ask: Any) -> str:
        """Ask for a place. Raises: Broken, Rejected."""
        body = {"machines": list(self.machines), "space_id": "Spaces-1", **ask}
        return await self._say("PUT", "", body, PATIENCE)

    async def poll(self) -> str:
        """Ask what has become of it. Raises: Broken, Rejected."""
        return await self._say("GET", f"?block_seconds={self._block:g}", None, self._block + PATIENCE)

    async def confirm(self) -> str:
        """Ask once more what it was told: now its grant is collected. Raises: Broken, Rejected."""
        return await self._say("GET", "", None, PATIENCE, verb="confirm")

    async def give_back(self) -> str:
        """What the release came to, asked until it is known. Raises: Rejected."""
        failures = 0
        while True:
            await self.awake.wait()
            try:
                return await self._say("DELETE", "", None, PATIENCE)
            except Broken:
                self.is_loose, failures = not self._headers, failures + 1
                await self._pause(failures)

    async def _say(self, method: str, query: str, body: Any, seconds: float, verb: str = "") -> str:
        verb = verb or method.lower()
        self.note(Kind.ASKED, verb=verb, word="claim" if self._headers else "")
        path = f"/api/waits/{self.task}{query}"
        try:
            answer = await self._caller.call(method, path, body, seconds=seconds, headers=self._headers + self._seen)
        except Broken as error:
            self.note(Kind.BROKEN, verb=verb, word=str(error))
            raise
        if answer.status == 404 and method == "GET":
            self.note(Kind.TOLD, verb=verb, word="unknown")
            return "unknown"
        if not answer.is_success:
            raise Rejected(f"{method} {self.task}: {answer.status} {answer.body}")
        found = answer.body
        if method == "DELETE":
            self.note(Kind.TOLD, verb=verb, word=found["outcome"])
            return str(found["outcome"])
        if self._headers and found.get("seen"):
            self._seen = f"{SEEN_HEADER}: {found['seen']}\r\n"
        machines = tuple(machine["id"] for machine in found["machines"])
        word, token = str(found["state"]), found["fencing_token"]
        if word == "granted" and self._headers and verb != "confirm":
            word = OFFERED
        verb = "join" if answer.status == 201 else verb
        self.note(Kind.TOLD, verb=verb, word=word, token=token, machines=machines)
        if word == "granted":
            self.token = token
        return word

    async def _pause(self, failures: int) -> None:
        first, most = PAUSES
        await asyncio.sleep(min(most, first * 2 ** min(failures, 8)) * self._dice.uniform(0.5, 1))

    def dies(self) -> None:
        super().dies()
        self._caller.drop()
