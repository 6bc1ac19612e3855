"""A caller of the API that asks as fast as it is answered, on some connections at once."""

from __future__ import annotations

import json
import selectors
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.exclusion import Exclusion
from tests.bench.wire import Line, close_all, http
from tests.bench.world import INFO
from tests.conftest import WEBHOOK_SECRET, a_delivery

#: Connections of one caller.
CONNECTIONS = 24

#: Tries of one request that the server does not answer: it closes connections that were silent for a while.
TRIES = 3


@dataclass(frozen=True)
class Ask:
    """One request about *task*; *machines*, *family* are those of a run that is granted by it."""

    task: str
    data: bytes
    machines: Sequence[str] = ()
    family: str = ""
    ends: bool = False


@dataclass(frozen=True)
class Answer:
    status: int
    #: Its first word, e.g. ``granted``.
    word: str
    length: int


class Caller:
    """Asks with one token, as steps without a claim do: whoever reads "granted" has collected the grant.

    Args:
        exclusion: Told of each grant that was read, and of each release before it is sent.
    """

    def __init__(self, port: int, token: str, exclusion: Exclusion) -> None:
        self._port, self._token, self.exclusion = port, token, exclusion
        self._lines: list[Line | None] = [None] * CONNECTIONS
        #: Answers by method and status or first word.
        self.answers: Counter[str] = Counter()
        self.longest_answer = 0
        #: Tasks whose grant it has collected.
        self.held: set[str] = set()

    def put(self, task: str, machines: Sequence[str], *, family: str = "", **fields: Any) -> Ask:
        """*family* is the task of the parent on whose behalf it asks."""
        parent = {"on_behalf_of": family} if family else {}
        body = json.dumps({"machines": list(machines), **INFO, "deployment_id": f"Deployments-{task[12:]}", **parent,
                           **fields})  # fmt: skip
        return Ask(task, http("PUT", f"/api/waits/{task}", self._token, body), machines, family or task)

    def get(self, task: str, machines: Sequence[str], *, family: str = "") -> Ask:
        return Ask(task, http("GET", f"/api/waits/{task}?block_seconds=0", self._token), machines, family or task)

    def delete(self, task: str) -> Ask:
        return Ask(task, http("DELETE", f"/api/waits/{task}", self._token), ends=True)

    def ask_all(self, asks: Iterable[Ask]) -> list[Answer]:
        """The answers to *asks* in their order; those that are under way at once reach the server in any order."""
        return Exchange(self, list(asks)).run()

    def line(self, at: int) -> Line:
        line = self._lines[at]
        if line is None:
            line = self._lines[at] = Line(self._port)
        return line

    def hang_up(self, at: int) -> None:
        line = self._lines[at]
        if line:
            line.close()
        self._lines[at] = None

    def send(self, at: int, ask: Ask) -> None:
        if ask.ends:
            self.exclusion.give(ask.task)
            self.held.discard(ask.task)
        self.line(at).send(ask.data)

    def receive(self, ask: Ask, data: bytes) -> Answer:
        head, _, body = data.partition(b"\r\n\r\n")
        status, word = int(head[9:12]), body.split(None, 1)[0].decode() if body.strip() else ""
        method = ask.data.split(b" ", 1)[0].decode()
        self.answers[f"{method} {word if status < 300 and word.isalpha() else status}"] += 1
        self.longest_answer = max(self.longest_answer, len(body))
        if status < 300 and word == "granted" and ask.task not in self.held:
            self.held.add(ask.task)
            self.exclusion.take(ask.task, ask.machines, family=ask.family)
        return Answer(status, word, len(body))

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        close_all(line for line in self._lines if line)


class Exchange:
    """Some requests and their answers."""

    def __init__(self, caller: Caller, asks: list[Ask]) -> None:
        self._caller, self._asks = caller, asks
        self._due = deque((number, 1) for number in range(len(asks)))
        self._answers: list[Answer | None] = [None] * len(asks)
        self._under_way: dict[int, tuple[int, int]] = {}

    def run(self) -> list[Answer]:
        with selectors.EpollSelector() as selector:
            for at in range(min(CONNECTIONS, len(self._asks))):
                self._next(selector, at)
            while self._under_way:
                ready = selector.select(60)
                if not ready:
                    raise TimeoutError(f"{len(self._under_way)} requests got no answer in 60 s")
                for key, _ in ready:
                    self._receive(selector, key.data)
        return [answer for answer in self._answers if answer]

    def _next(self, selector: selectors.BaseSelector, at: int) -> None:
        if not self._due:
            return
        number, tries = self._under_way[at] = self._due.popleft()
        try:
            self._caller.send(at, self._asks[number])
        except OSError:
            self._again(number, tries, at)
            self._next(selector, at)
            return
        selector.register(self._caller.line(at).socket, selectors.EVENT_READ, at)

    def _again(self, number: int, tries: int, at: int) -> None:
        self._caller.hang_up(at)
        del self._under_way[at]
        if tries == TRIES:
            raise ConnectionError(f"{self._asks[number].data[:100]!r} was not answered {TRIES} times")
        self._due.append((number, tries + 1))

    def _receive(self, selector: selectors.BaseSelector, at: int) -> None:
        line, (number, tries) = self._caller.line(at), self._under_way[at]
        try:
            data = line.take()
        except OSError:
            selector.unregister(line.socket)
            self._again(number, tries, at)
            self._next(selector, at)
            return
        if data is None:
            return
        selector.unregister(line.socket)
        del self._under_way[at]
        self._answers[number] = self._caller.receive(self._asks[number], data)
        self._next(selector, at)


def webhook(category: str, task: str) -> Ask:
    """What Octopus tells of a task: ``DeploymentStarted`` or ``DeploymentSucceeded``."""
    now = time.time()
    occurred = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03}+00:00"
    related = [f"Deployments-{task[12:]}", "Projects-7", "Releases-90", "Environments-2", "Channels-9", task]
    event = f"Events-{task[12:]}{len(category)}"
    body = json.dumps(a_delivery(category, Id=event, occurred=occurred, related=related, task=None))
    data = http("POST", "/webhooks/octopus", "none", body, X_Octowait_Secret=WEBHOOK_SECRET)
    return Ask(task, data, ends=category != "DeploymentStarted")
