"""What every bench runs in: an embedded server of its own, configured as the product's, and real web processes."""

from __future__ import annotations

import itertools
import json
import os
import tempfile
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from app.domain.events import Effect, Event
from app.domain.run import RunRequest
from app.store.connection import Client, connect
from app.store.embedded import EmbeddedServer
from tests.bench.wire import claim_of
from tests.conftest import Service, eventually
from tests.open_board import OpenBoard

#: As the step sends it.
INFO = {
    "space_id": "Spaces-1",
    "deployment_id": "Deployments-51",
    "project": {"id": "Projects-7", "name": "Web shop"},
    "environment": {"id": "Environments-2", "name": "Production"},
    "release": {"id": "Releases-90", "version": "1.4.2"},
    "url": "https://octopus.example.com/app#/Spaces-1/projects/web-shop/deployments/Deployments-51",
}

_tasks = itertools.count(1)


def new_task() -> str:
    return f"ServerTasks-{next(_tasks)}"


def new_namespace() -> str:
    return f"b{uuid.uuid4().hex[:12]}"


def new_run(**fields: Any) -> RunRequest:
    """A run with all that a step says about it."""
    number = next(_tasks)
    return RunRequest(f"ServerTasks-{number}", info={**INFO, "deployment_id": f"Deployments-{number}"}, **fields)


def new_step_run() -> RunRequest:
    """The same with the claim of its step."""
    run = new_run()
    return replace(run, claim=claim_of(run.task_id))


def end_of(task: str) -> Event:
    """What Octopus tells when a task has ended."""
    event = f"Events-{task}"
    return Event(event.lower(), event, "DeploymentSucceeded", Effect.ENDED, int(time.time() * 1000), task, None)


@contextmanager
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="octowait-bench-") as name:
        yield Path(name)


@contextmanager
def embedded(where: Path) -> Iterator[str]:
    """The URL of a server that ends with the bench."""
    server = EmbeddedServer(where / "redis")
    try:
        yield server.acquire()
    finally:
        server.release()


@contextmanager
def web(
    redis_url: str, namespace: str, where: Path, kind: type[Service] = Service, **settings: str
) -> Iterator[Service]:  # fmt: skip
    """Real web processes with the defaults of the product, two of them."""
    service = kind(redis_url, namespace, where, **{"OCTOWAIT_WEB_PROCESSES": "2", **settings})
    try:
        service.start()
        # The first process answers before the last one is there.
        wanted = 1 + int(service.env["OCTOWAIT_WEB_PROCESSES"])
        eventually(lambda: len(processes_of(service)) == wanted, timeout=30)
        yield service
    finally:
        service.close()


@contextmanager
def board_on(redis_url: str, namespace: str | None = None, *, connections: int = 50) -> Iterator[OpenBoard]:
    client = connect(redis_url, max_connections=connections)
    blocking = connect(redis_url, blocking=True, max_connections=connections)
    try:
        board = OpenBoard(client, namespace=namespace or new_namespace(), blocking=blocking)
        board.open("test")
        yield board
    finally:
        client.close()
        blocking.close()


def fill(board: OpenBoard, wishes: Iterable[tuple[RunRequest, Collection[str]]], *, ttl: timedelta) -> None:
    """Join many runs with the script itself, in pipelines: the same as `Board.join`, without its round trips."""
    for batch in _batches(wishes, 1000):
        with board.client.pipeline(transaction=False) as pipe:
            for run, machines in batch:
                board.script.queue(pipe, "join", run.task_id, request(run, machines, ttl))
            for answer in pipe.execute():
                board.script.read(answer)


def request(run: RunRequest, machines: Collection[str], ttl: timedelta) -> str:
    return json.dumps(
        {
            "machines": sorted(machines),
            "info": run.info,
            "priority": run.priority,
            "ttl_ms": ttl // timedelta(milliseconds=1),
            **({"claim": run.claim, "family_word": "0" * 32} if run.claim else {}),
        }
    )


def _batches(items: Iterable[Any], size: int) -> Iterator[Sequence[Any]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def calls_of(client: Client, *commands: str) -> int:
    """How often the server has executed *commands*; a script that it did not know yet is none."""
    stats = client.info("commandstats")
    found = (stats.get(f"cmdstat_{command}", {"calls": 0, "failed_calls": 0}) for command in commands)
    return sum(each["calls"] - each["failed_calls"] for each in found)


def processes_of(service: Service) -> list[int]:
    """The processes of a service: the one that minds the others first."""
    assert service._process
    master = service._process.pid
    # Ids are given out anew when the last one is: it need not have the least.
    return sorted(group_of(master), key=lambda pid: (pid != master, pid))


def group_of(group: int) -> list[int]:
    """The processes of a process group."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.getpgid(int(name)) == group:
                found.append(int(name))
        except ProcessLookupError:
            continue
    return sorted(found)


def pss_kib(pids: Iterable[int]) -> int:
    """Memory of *pids*; what they share counts once."""
    return sum(_pss(pid) for pid in pids)


def _pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise LookupError(f"/proc/{pid}/smaps_rollup has no Pss")


def cpu_seconds(pids: Iterable[int]) -> float:
    """Processor time of *pids* since they began."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def cpu_share(pids: Sequence[int], seconds: float) -> float:
    """Percent of one core that *pids* use, measured over *seconds*."""
    before, began = cpu_seconds(pids), time.monotonic()
    time.sleep(seconds)
    return 100 * (cpu_seconds(pids) - before) / (time.monotonic() - began)
