"""``make pictures``: a picture of each page, to be looked at: three widths, light and dark, 40 machines and 2,000 runs.

The pages are those of a real octowait on a Redis of its own, in Chromium; the pictures go into ``.pictures/``.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from app.domain.run import RunRequest
from app.store.connection import connect
from app.store.embedded import EmbeddedServer
from tests.conftest import ROOT, Service, a_delivery, eventually, opened
from tests.e2e.boards import name_machine
from tests.e2e.browser import chromium, keep_picture, open_window
from tests.open_board import OpenBoard

WIDTHS = (1440, 1024, 375)
SCHEMES = ("light", "dark")

MACHINES, RUNS, DAYS = 40, 2_000, 7

PROJECTS = ("Web shop", "Checkout", "Search", "Accounts", "Orders", "Invoices", "Stock", "Reports (EU)")
ENVIRONMENTS = ("Production", "Production (EU)", "Staging")

#: Far more than any run of the world waits.
TTL = timedelta(days=30)


@dataclass
class World:
    """A week of deployments, written with a clock of its own that ends in the present."""

    board: OpenBoard
    dice: random.Random = field(default_factory=lambda: random.Random(7))
    #: Those who hold, each with when it will have ended, ms before the present (negative).
    ends: dict[str, int] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)

    def write(self) -> None:
        board = self.board
        for number in range(1, MACHINES + 1):
            kind = "web" if number <= 20 else "app" if number <= 32 else "db"
            name_machine(board, number, f"{kind}-{number:02}")
        board.client.hdel(board.keys.counters, "stamp")
        span = DAYS * 86_400_000
        # A release evening: many at the end.
        recent = [-self.dice.randrange(1_500_000) for _ in range(40)]
        arrivals = sorted([*recent, *(-self.dice.randrange(span) for _ in range(RUNS - len(recent)))])
        for number, at in enumerate(arrivals, start=1):
            self._go_on(at)
            self._join(number, at)
        self._go_on(0)
        board.script.offset_ms = 0
        board.reserve("Machines-5", note="disk swap", by="dana", until_ms=board.now_ms() + 7_200_000)

    def _join(self, number: int, at: int) -> None:
        dice = self.dice
        project, environment = dice.randrange(len(PROJECTS)), dice.randrange(len(ENVIRONMENTS))
        # A project's servers are neighbours, and two projects share some.
        first = 1 + project * 5 % MACHINES
        wanted = {f"Machines-{1 + (first + dice.randrange(6)) % MACHINES}" for _ in range(dice.choice((1, 1, 2, 3)))}
        task = f"ServerTasks-{40_000 + number}"
        info = {
            "project": {"id": f"Projects-{project + 1}", "name": PROJECTS[project]},
            "release": {"id": f"Releases-{number}", "version": f"2.{number // 40}.{number % 40}"},
            "environment": {"id": f"Environments-{environment + 1}", "name": ENVIRONMENTS[environment]},
            "url": f"https://octopus.example.com/app#/Spaces-1/tasks/{task}",
        }
        self.board.join(RunRequest(task, info, parked=number % 50 == 0), wanted, ttl=TTL)
        self.waiting.append(task)
        self._collect(at)

    def _collect(self, at: int) -> None:
        """Let those who have been granted begin, each for its own time."""
        for task in list(self.waiting):
            if self.board.poll(task).is_granted:
                self.waiting.remove(task)
                self.ends[task] = at + round(1000 * self.dice.lognormvariate(5.8, 0.7))

    def _go_on(self, to: int) -> None:
        while self.ends and min(self.ends.values()) <= to:
            task = min(self.ends, key=lambda each: self.ends[each])
            at = self.ends.pop(task)
            self.board.script.offset_ms = at
            self.board.release(task)
            self._collect(at)
        self.board.script.offset_ms = to


@contextmanager
def _service(directory: Path) -> Iterator[tuple[Service, World]]:
    server = EmbeddedServer(directory / "redis")
    url = server.acquire()
    client = connect(url)
    client.config_set("appendfsync", "no")  # Nobody misses this world.
    world = World(opened(OpenBoard(client, namespace="pictures")))
    world.write()
    service = Service(url, "pictures", directory)
    service.start()
    others = [service.spawn("worker"), service.spawn("scheduler")]
    try:
        eventually(lambda: client.exists(world.board.keys.named("past:durations")), timeout=120)
        service.deliver(a_delivery(task=50_001, number=1))
        service.deliver({"nothing": "known"})
        yield service, world
    finally:
        service.stop()
        for process in others:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        client.close()
        server.release()


def _pages(service: Service, world: World) -> dict[str, str]:
    machines = service.call("GET", "/api/machines")[1]["machines"]
    busiest = max(machines, key=lambda machine: len(machine["line"]))["id"]
    holder = next(iter(world.ends))
    pages = {
        "dashboard": "/", "dashboard-waiting": "/?show=waiting", "machine": f"/machines/{busiest}",
        "machine-7d": f"/machines/{busiest}?span=7d", "machine-30d": f"/machines/{busiest}?span=30d",
        "machine-reserved": "/machines/Machines-5", "timeline": "/timeline", "ledger": "/ledger",
        "ledger-machine": "/ledger?by=machine", "health": "/health", "run-holding": f"/runs/{holder}",
        "run-ended": "/runs/ServerTasks-41000", "run-started": "/runs/ServerTasks-50001",
        "timeline-unknown": "/timeline?machine_id=wbe-01", "not-found": "/machines/web-99", "api": "/docs",
    }  # fmt: skip
    return pages | ({"run-waiting": f"/runs/{world.waiting[-1]}"} if world.waiting else {})


def main() -> int:
    """Write the pictures; the exit status is 1 where a page complained."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / ".pictures")
    parser.add_argument("--only", help="only pages whose name begins so")
    wanted = parser.parse_args()
    wanted.out.mkdir(parents=True, exist_ok=True)
    complaints: list[str] = []
    with tempfile.TemporaryDirectory(prefix="octowait-pictures-") as directory, chromium() as browser:
        with _service(Path(directory)) as (service, world):
            pages = {name: path for name, path in _pages(service, world).items() if name.startswith(wanted.only or "")}
            for scheme in SCHEMES:
                for width in WIDTHS:
                    size = {"width": width, "height": 900}
                    window = open_window(
                        browser, service.url, viewport=size, color_scheme=scheme, timezone_id="Europe/Berlin"
                    )
                    window.sign_in(service.tokens["admin"])
                    for name, path in pages.items():
                        window.page.goto(service.url + path)
                        window.page.wait_for_load_state("load")
                        keep_picture(window.page, wanted.out / f"{name}-{width}-{scheme}.png")
                    window.forgive("status of 404")
                    complaints += window.complaints
                    window.context.close()
    print(f"{len(pages) * len(WIDTHS) * len(SCHEMES)} pictures in {wanted.out}")
    print("\n".join(complaints), file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
