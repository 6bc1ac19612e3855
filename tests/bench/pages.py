"""P12: the pages in a real browser, with 500 machines and 10,000 runs in range."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from playwright.sync_api import Browser, Page

from app.coordination.board import Board
from app.followers.learner import Learner
from tests.bench.past import MACHINES, PROJECTS, without_file
from tests.bench.report import Report
from tests.bench.world import board_on, directory, embedded, new_run, web
from tests.conftest import Service, eventually
from tests.e2e.browser import chromium, open_window

DAY_MS = 86_400_000

TTL = timedelta(hours=1)

#: Of the runs, this many are on one machine, in the case that draws them all.
BUSY = "Machines-busy"

#: Collected by the page itself from its first moment on.
WATCH = """
window.longest = 0;
new PerformanceObserver((list) => {
  for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration);
}).observe({ type: "longtask", buffered: true });
"""


def run(report: Report) -> None:
    """Print for each page what a browser needs for it, and how soon it shows a record."""
    runs = int(report.pick(2_000, 10_000))
    with directory() as where, embedded(where) as url, board_on(url) as board:
        with without_file(board):
            _write_past(board, runs)
            _hold(board)
        with web(url, board.keys.namespace, where) as service, chromium() as browser:
            rows = [
                _visit(report, browser, service, name, path) for name, path in (
                    ("dashboard, 500 machines", "/"),
                    ("machine, 30 days of it", "/machines/Machines-7?span=30d"),
                    (f"machine, {runs:,} runs on it", f"/machines/{BUSY}?span=30d"),
                    ("run", "/runs/ServerTasks-p100"),
                    ("timeline", "/timeline?span=30d"),
                    (f"ledger, {runs:,} runs", "/ledger?span=15d"),
                    ("health", "/health"),
                )
            ]  # fmt: skip
            report.table(
                f"Pages with {MACHINES} machines and {2 * runs:,} runs in 30 days",
                ("page", "KB", "requests", "first paint, ms", "longest task, ms", "server, ms"), rows,
            )  # fmt: skip
            _updates(report, browser, service, board)


def _visit(report: Report, browser: Browser, service: Service, name: str, path: str) -> list[object]:
    """The figures of one page, the best of three first visits: what else this machine does is not the page's fault."""
    loads = [_first_visit(browser, service, path) for _ in range(3)]
    kilobytes, requests, paint, longest, answer = (min(load[at] for load in loads) for at in range(5))
    report.measured("P12.paint", paint, page=name)
    report.measured("P12.task", longest, page=name)
    report.measured("P12.bytes", kilobytes, page=name)
    return [name, kilobytes, requests, paint, longest, answer]


def _first_visit(browser: Browser, service: Service, path: str) -> tuple[float, ...]:
    """Of a browser that has nothing of octowait yet: KB, requests, first paint, longest task, wait for the server."""
    headers = {"Authorization": f"Bearer {service.tokens['viewer']}"}
    window = open_window(browser, service.url, extra_http_headers=headers)
    window.context.add_init_script(WATCH)
    page = window.page
    page.goto(service.url + path)
    paint = eventually(lambda: page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime"))
    entries = page.evaluate(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".map(e => [e.transferSize, e.responseStart - e.requestStart])"
    )
    longest = page.evaluate("window.longest")
    window.context.close()
    return sum(size for size, _ in entries) / 1000, len(entries), paint, longest, entries[0][1]


def _updates(report: Report, browser: Browser, service: Service, board: Board) -> None:
    """How soon a change shows on pages that are open."""
    rows = []
    for name, path, shows in (
        ("dashboard", "/", "[data-key=machines-1] .holders"),
        ("machine", "/machines/Machines-1?span=1h", ".pair .holders"),
    ):
        window = open_window(browser, service.url)
        window.context.add_init_script(WATCH)
        page = window.sign_in(service.tokens["viewer"], path)
        window.wait_until_live()
        page.evaluate("window.longest = 0")
        took = [_update(page, board, shows) for _ in range(int(report.pick(3, 8)))]
        rows.append([name, min(took), sorted(took)[len(took) // 2], page.evaluate("window.longest")])
        report.measured("P12.update", sorted(took)[len(took) // 2], page=name)
        window.context.close()
    report.table("Live updates", ("page", "best, ms", "median, ms", "longest task, ms"), rows)


def _update(page: Page, board: Board, shows: str) -> float:
    """Milliseconds from the grant in Redis to the page's change, by the browser's clock."""
    run = new_run()
    # One change by itself: of many that follow each other a page shows the sum, once a second if need be.
    page.wait_for_timeout(2500)
    page.evaluate(
        """([shows, task]) => { window.shown = new Promise((done) => {
          const look = () => document.querySelector(shows)?.textContent.includes(task) && done(Date.now());
          const all = { subtree: true, childList: true, characterData: true };
          new MutationObserver(look).observe(document.getElementById("live"), all);
        }); }""",
        [shows, run.task_id],
    )
    began = time.time() * 1000
    board.join(run, {"Machines-1"})
    shown = float(page.evaluate("window.shown"))
    board.release(run.task_id)
    return shown - began


def _write_past(board: Board, runs: int) -> None:
    """*runs* on all machines and as many on one, over 30 days, as the scripts write them; and what is learned of it."""
    now = int(time.time() * 1000)
    records = sorted([*_runs_on_all(now, runs), *_runs_on_one(now, runs)], key=lambda record: record[0])
    board.client.delete(board.keys.timeline)
    seen: dict[int, int] = {}
    stamps = []
    for at_ms, *_ in records:
        seen[at_ms] = seen.get(at_ms, -1) + 1
        stamps.append(f"{at_ms}-{seen[at_ms]}")
    for begin in range(0, len(records), 2000):
        with board.client.pipeline(transaction=False) as pipe:
            for stamp, record in zip(stamps[begin : begin + 2000], records[begin : begin + 2000], strict=True):
                _write(pipe, board, stamp, *record[1:])
            pipe.execute()
    board.client.hset(board.keys.counters, "stamp", stamps[-1])
    learner = Learner(board.client, board.keys)
    while learner.learn():
        pass


def _write(pipe: Any, board: Board, stamp: str, kind: str, task: str, machine: str, project: str, detail: Any) -> None:
    pipe.xadd(
        board.keys.timeline,
        {
            "kind": kind, "task": task, "run": 1, "machines": machine, "project": project,
            "environment": "Environments-2", "detail": json.dumps(detail),
            **({"cause": "step"} if kind == "released" else {}),
        },
        id=stamp,
    )  # fmt: skip
    pipe.rpush(board.keys.index("run", task), stamp)
    for name, value in (("project", project), ("machine", machine)):
        pipe.xadd(board.keys.index(name, value), {"": ""}, id=stamp)


Row = tuple[int, str, str, str, str, dict[str, int]]


def _runs_on_all(now: int, runs: int) -> Iterator[Row]:
    draw = random.Random(1)
    for number in range(runs):
        machine = draw.randrange(MACHINES)
        asked = now - 30 * DAY_MS + int(29.9 * DAY_MS * draw.random())
        yield from _records(f"ServerTasks-p{number}", f"Machines-{machine}", number, asked, asked, draw)


def _runs_on_one(now: int, runs: int) -> Iterator[Row]:
    """One after another, each asking while the one before it holds."""
    draw = random.Random(2)
    each = 29 * DAY_MS // runs
    for number in range(runs):
        granted = now - 29 * DAY_MS + number * each
        asked = granted - draw.randrange(1, each * 3)
        yield from _records(f"ServerTasks-q{number}", BUSY, number, asked, granted, draw, each - 1000)


def _records(
    task: str, machine: str, number: int, asked: int, granted: int, draw: random.Random, held: int | None = None
) -> Iterator[Row]:
    project = f"Projects-{number % PROJECTS}"
    held = held or draw.randrange(60_000, 1_200_000)
    yield asked, "joined", task, machine, project, {}
    yield granted, "granted", task, machine, project, {"token": number, "waited_ms": granted - asked}
    yield granted + held, "released", task, machine, project, {"held_ms": held}


def _hold(board: Board) -> None:
    """The board of now: all machines known, 200 held, 100 runs in line for two of them each."""
    with board.client.pipeline(transaction=False) as pipe:
        for number in range(MACHINES):
            known = json.dumps({"id": f"Machines-{number}", "name": f"web-{number:03}"})
            pipe.hset(board.keys.machines, f"machines-{number}", known)
        pipe.hset(board.keys.machines, BUSY.lower(), json.dumps({"id": BUSY, "name": "busy-01"}))
        for number in range(200):
            record = json.dumps({"id": f"ServerTasks-p{number}", "run": 1, "state": "released", "info": {}})
            pipe.hset(board.keys.runs, f"servertasks-p{number}", record)
        pipe.execute()
    for number in range(2, 202):
        held = new_run()
        board.join(held, {f"Machines-{number}"}, ttl=TTL)
        board.poll(held.task_id)
    for number in range(2, 202, 2):
        board.join(new_run(), {f"Machines-{number}", f"Machines-{number + 1}"}, ttl=TTL)
