"""P9: a page of the timeline by machine, run, project, environment and time, and its export as NDJSON."""

from __future__ import annotations

import random
import time
import urllib.request

from app.coordination.board import Board
from app.domain.records import Filter
from app.history.timeline import Timeline
from tests.bench.past import ENVIRONMENTS, MACHINES, PROJECTS, without_file, write_past
from tests.bench.report import Report, percentile
from tests.bench.world import board_on, directory, embedded, processes_of, pss_kib, web
from tests.conftest import Service

PAGE = 100


def run(report: Report) -> None:
    """Print the time of a page from anywhere in the timeline, and the rate of a whole export."""
    records = int(report.pick(100_000, 1_000_000))
    with directory() as where, embedded(where) as url, board_on(url) as board:
        with without_file(board):
            first_ms = write_past(board, records)
        _pages(report, board, records, first_ms)
        with web(url, board.keys.namespace, where, OCTOWAIT_WEB_PROCESSES="1") as service:
            _export(report, service, records, first_ms)


def _pages(report: Report, board: Board, records: int, first_ms: int) -> None:
    timeline = Timeline(board.client, board.keys)
    rows = []
    for name in ("machine", "run", "project", "environment", "time"):
        took, found = [], 0
        for _ in range(int(report.pick(20, 50))):
            began = time.perf_counter()
            page, _ = timeline.page(_filter(name, records, first_ms), limit=PAGE)
            took.append(1000 * (time.perf_counter() - began))
            found += len(page)
        p50, p99 = percentile(took, 0.5), percentile(took, 0.99)
        rows.append([f"by {name}", p50, p99, found / len(took)])
        report.measured("P9.page", p50, page=PAGE, by=name, records=records)
    report.table(f"A page of {PAGE} out of {records:,} records, ms", ("", "p50", "p99", "records in it"), rows)


def _filter(name: str, records: int, first_ms: int) -> Filter:
    """A filter of that kind which begins at a random moment of the first half, so that the page can be full."""
    moment = first_ms + random.randrange(records // 2)
    match name:
        case "machine":
            return Filter(machine_id=f"Machines-{random.randrange(MACHINES)}", from_ms=moment)
        case "run":
            return Filter(task_id=f"ServerTasks-p{random.randrange(records // 4)}")
        case "project":
            return Filter(project_id=f"Projects-{random.randrange(PROJECTS)}", from_ms=moment)
        case "environment":
            return Filter(environment_id=f"Environments-{random.randrange(ENVIRONMENTS)}", from_ms=moment)
        case _:
            return Filter(from_ms=moment)


def _export(report: Report, service: Service, records: int, first_ms: int) -> None:
    rows = []
    _exported(service, f"ndjson&to_ms={first_ms + 2_000}")  # what the first request of a process loads is no growth
    for form in ("ndjson", "csv"):
        lines, rate, grown = _exported(service, form)
        rows.append([form, lines, rate, grown])
        report.measured("P9.exported", (lines - (form == "csv")) / records, form=form, records=records)
        report.measured("P9.rate", rate, form=form)
        report.measured("P9.memory", grown, form=form)
    report.table("Export over HTTP", ("", "lines", "a second", "memory grew by, MB"), rows)


def _exported(service: Service, form: str) -> tuple[int, float, float]:
    """Lines, lines a second, and by how many MB the web process grew at most."""
    pids = processes_of(service)
    before = pss_kib(pids)
    request = urllib.request.Request(f"{service.url}/api/timeline?format={form}")
    request.add_header("Authorization", f"Bearer {service.tokens['viewer']}")
    began, lines, most = time.perf_counter(), 0, before
    with urllib.request.urlopen(request, timeout=120) as answer:
        while block := answer.read(1 << 20):
            lines += block.count(b"\n")
            most = max(most, pss_kib(pids))
    return lines, lines / (time.perf_counter() - began), (most - before) / 1024
