"""octowait for somebody who acts one step after the other: a Redis of its own, web servers, and plain calls."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.chaos.processes import SECRET, TOKENS, Cast, Web
from tests.chaos.store import Store

#: Seconds in which what is awaited must have happened.
PATIENCE = 15.0


class Gate:
    """Web servers only: nobody resolves or rebuilds.

    Args:
        ttl: Seconds that a waiter lives without a sign of life.
        has_key: Whether there is an API key, for an Octopus that does not answer; then the board is opened by hand.
        redis_url: Where the first web server finds Redis, if it is not the store's own address.
    """

    def __init__(
        self, where: Path, *, ttl: int = 2, webs: int = 1, has_key: bool = True, store: Store | None = None,
        redis_url: str | None = None,
    ) -> None:  # fmt: skip
        self.store = store or Store("valkey", where)
        if store is None:
            self.store.start()
        key = {"OCTOPUS_URL": "http://127.0.0.1:1", "OCTOPUS_API_KEY": "API-NOBODY"} if has_key else {}
        settings = {"WAITER_TTL_SECONDS": str(ttl), **key}
        self.cast = Cast(self.store.url, where, settings, webs=webs, has_workers=False)
        if redis_url:
            self.cast.webs[0].environment["OCTOWAIT_REDIS_URL"] = redis_url
        self.cast.start()
        self.open()

    def stop(self) -> None:
        self.cast.stop()
        self.store.kill()

    @property
    def webs(self) -> list[Web]:
        return self.cast.webs

    def open(self) -> None:
        self.call("POST", "/api/rebuild", {"reason": "chaos", "open": True})

    def call(
        self, method: str, path: str, body: Any = None, role: str = "admin", *, web: int = 0, seconds: float = PATIENCE,
        claim: str = "",
    ) -> tuple[int, Any]:  # fmt: skip
        """Asked again for as long as nobody answers."""
        request = urllib.request.Request(self.webs[web].url + path, method=method)
        request.add_header("Authorization", f"Bearer {TOKENS[role]}")
        request.add_header("X-Octowait-Secret", SECRET)
        if claim:
            request.add_header("X-Octowait-Claim", claim)
        if body is not None:
            request.add_header("Content-Type", "application/json")
            request.data = json.dumps(body).encode()
        ends_at = time.monotonic() + seconds
        while True:
            try:
                with urllib.request.urlopen(request, timeout=max(PATIENCE, seconds / 2)) as answer:
                    return answer.status, json.load(answer)
            except urllib.error.HTTPError as error:
                with error:
                    if error.code < 500 or time.monotonic() > ends_at:
                        return error.code, error.read().decode()
            except OSError:
                assert time.monotonic() < ends_at, "octowait does not answer"
            time.sleep(0.05)  # between two looks at a fact, not instead of one

    # What a step does

    def put(self, task: str, *machines: str, web: int = 0, claim: str = "", **ask: Any) -> str:
        """The state that it is told of."""
        body = {"machines": machines, **ask}
        return str(self.call("PUT", f"/api/waits/{task}", body, "step", web=web, claim=claim)[1]["state"])

    def get(self, task: str, *, web: int = 0, block: float = 0, claim: str = "") -> str:
        path = f"/api/waits/{task}?block_seconds={block:g}"
        answer = self.call("GET", path, role="step", web=web, seconds=block + PATIENCE, claim=claim)[1]
        return str(answer["state"])

    def delete(self, task: str, *, web: int = 0, claim: str = "") -> str:
        return str(self.call("DELETE", f"/api/waits/{task}", role="step", web=web, claim=claim)[1]["outcome"])

    def send(self, method: str, task: str, body: Any = None, *, web: int = 0, claim: str = "") -> None:
        """Send a call and hang up: whoever sent it has given it up, and it may be carried out."""
        data = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} /api/waits/{task} HTTP/1.1\r\nHost: octowait\r\nAuthorization: Bearer {TOKENS['step']}\r\n"
            f"{f'X-Octowait-Claim: {claim}' + chr(13) + chr(10) if claim else ''}"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", self.webs[web].port)) as link:
            link.sendall(head.encode() + data)

    # What somebody sees who only looks

    def facts(self, task: str, *, web: int = 0) -> Any:
        """What octowait knows of a run: its state, its timeline."""
        status, facts = self.call("GET", f"/api/runs/{task}", role="viewer", web=web)
        return facts if status == 200 else {"state": "unknown", "timeline": []}

    def timeline(self) -> Any:
        """The newest records."""
        return self.call("GET", "/api/timeline", role="viewer")[1]["records"]

    def state(self, task: str, *, web: int = 0) -> str:
        return str(self.facts(task, web=web)["state"])

    def is_open(self) -> bool:
        """Whether anybody can be granted anything."""
        status, facts = self.call("GET", "/api/machines", role="viewer")
        return status == 200 and facts["closed_since_ms"] is None

    def token(self, task: str) -> int:
        """The last fencing token that it was given."""
        tokens = [r["detail"]["token"] for r in self.facts(task)["timeline"] if r["kind"] == "granted"]
        return int(tokens[-1]) if tokens else 0


def happens(fact: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """Whether *fact* becomes true within *seconds*."""
    ends_at = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > ends_at:
            return False
        time.sleep(0.05)  # between two looks at a fact, not instead of one
    return True
