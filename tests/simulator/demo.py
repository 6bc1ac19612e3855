"""``make demo``: octowait against a simulated Octopus Server whose projects share machines.

It starts what ``make run`` starts, deploys for about two minutes, and says at the end what came of it.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.client.http import HttpGate
from app.domain.durations import format_duration
from app.domain.phrases import several
from app.settings import PREFIX, Settings, load_settings
from app.settings.generated import read_secrets
from tests.simulator.control import ROOT, Deployment, SimulatedOctopus
from tests.simulator.record import overlaps, uses_gate
from tests.simulator.steps import Step, claim_step, parked_wait, release_step, wait_step, work

#: What is slow in Octopus is so much faster here.
SPEED = 10

DEPLOYMENTS = 48

MACHINES = ("web-01", "web-02", "app-01", "db-01")

#: Name, its machines, the seconds it works on them, and what is special about it.
PROJECTS: tuple[tuple[str, tuple[str, ...], float, str], ...] = (
    ("Web shop", ("web-01", "web-02"), 60, ""),
    ("Checkout", ("web-01",), 40, ""),
    ("Search", ("web-02",), 45, ""),
    ("Accounts", ("web-01", "app-01"), 50, ""),
    ("Orders", ("app-01",), 55, ""),
    ("Invoices", ("app-01", "db-01"), 40, "parked"),
    ("Stock", ("app-01",), 35, "no release step"),
    ("Reports", ("db-01",), 70, ""),
    ("Newsletter", ("web-02",), 30, "fails"),
    ("Cron jobs", ("app-01",), 40, "no wait step"),
    ("Backups", ("db-01",), 50, "no wait step"),
    ("Migrations", ("db-01",), 60, "cancelled"),
)


def main() -> int:
    """Run the demo until its end, or with a terminal until Ctrl-C after it."""
    directory = Path(tempfile.mkdtemp(prefix="octowait-demo-"))
    for number in (signal.SIGTERM, signal.SIGHUP):  # The latter: its terminal was closed.
        signal.signal(number, lambda which, _: sys.exit(128 + which))
    try:
        with SimulatedOctopus.start(directory / "octopus", speed=SPEED, task_cap=10) as octopus:
            with _octowait(octopus, directory) as settings:
                _play(octopus, settings)
                if sys.stdin.isatty():
                    print("It stays as it is until Ctrl-C; the links above go on working.", flush=True)
                    signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return 0


@contextmanager
def _octowait(octopus: SimulatedOctopus, directory: Path) -> Iterator[Settings]:
    """``octowait up`` on data of its own, pointed at *octopus*."""
    bind = os.environ.get(f"{PREFIX}BIND", "127.0.0.1:8080")
    ours = {"DATA_DIR": str(directory / "data"), "BIND": bind, "PUBLIC_URL": f"http://{bind}",
            "OCTOPUS_URL": octopus.url, "OCTOPUS_API_KEY": octopus.api_key, "TASK_CAP": "10",
            "WATCH_SECONDS": "1", "RECONCILE_SECONDS": "3", "CATCH_UP_SECONDS": "30",
            "OCTOPUS_RPM": str(60 * SPEED)}  # fmt: skip
    others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    environ = {**others, **{PREFIX + name: value for name, value in ours.items()}, "PYTHONPATH": str(ROOT)}
    log = directory / "octowait.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "up"], env=environ, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _wait_until_ready(process, bind, log)
        subprocess.run([sys.executable, "-m", "app", "subscription", "ensure"], env=environ, check=True)
        yield load_settings(environ)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _wait_until_ready(process: subprocess.Popen[bytes], bind: str, log: Path) -> None:
    ends_at = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://{bind}/readyz", timeout=5):
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > ends_at:
                sys.exit(f"octowait did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.2)


def _play(octopus: SimulatedOctopus, settings: Settings) -> None:
    tokens = _tokens(settings)
    octopus.variables({"Octowait.Url": settings.base_url, "Octowait.Token": tokens["step"]})
    for machine in MACHINES:
        octopus.machine(machine)
    for name, machines, seconds, special in PROJECTS:
        octopus.project(name, steps=_process(machines, seconds, special))
    print(
        f"\n{len(PROJECTS)} projects share {len(MACHINES)} machines; {DEPLOYMENTS} deployments are on their way, "
        f"for about two minutes, {SPEED} times as fast as in life.\n\n{_tour(settings)}\n", flush=True,
    )  # fmt: skip
    dice, began = random.Random(3), time.monotonic()
    for number in range(DEPLOYMENTS):
        name, machines, _, special = PROJECTS[number % len(PROJECTS)]
        deployment = octopus.deploy(name, machines=list(machines))
        if special == "cancelled":
            _cancel_when_it_works(octopus, deployment)
        time.sleep(dice.uniform(0.2, 1.5))  # people do not deploy all at once
        if number % 12 == 11:
            print(f"  {_progress(octopus)}", flush=True)
    octopus.wait_idle(600)
    print(f"  {_progress(octopus)}", flush=True)
    _summarize(octopus, HttpGate(f"http://{settings.bind}", tokens["viewer"]), time.monotonic() - began)


def _process(machines: tuple[str, ...], seconds: float, special: str) -> list[Step]:
    deploys = work("Deploy", machines=machines, seconds=seconds, fails=-1 if special == "fails" else 0)
    gate = [claim_step(), parked_wait()] if special == "parked" else [] if special == "no wait step" else [wait_step()]
    ends = [] if special in ("no wait step", "no release step") else [release_step()]
    return [*gate, deploys, *ends]


def _cancel_when_it_works(octopus: SimulatedOctopus, deployment: Deployment) -> None:
    octopus.wait_for(deployment, "Executing", timeout=300)
    octopus.cancel(deployment)


def _progress(octopus: SimulatedOctopus) -> str:
    states = Counter(run["state"] for run in octopus.record()["runs"])
    return ", ".join(f"{count} {state.lower()}" for state, count in sorted(states.items()))


def _summarize(octopus: SimulatedOctopus, gate: HttpGate, seconds: float) -> None:
    record = octopus.record()
    gated = [run for run in record["runs"] if uses_gate(run)]
    # What the page of the ledger shows, too.
    lost = gate.call("GET", "/api/ledger", query={"from_ms": 0})["total"]
    unavoidable = len(overlaps(record)) - len(overlaps(record, uses_gate))
    print(
        f"\nAfter {format_duration(round(seconds * 1000))}:\n\n"
        f"  deployments         {len(record['runs'])}, {len(gated)} of them through the gate\n"
        f"  overlaps            {len(overlaps(record, uses_gate))} among those\n"
        f"                      {unavoidable} with deployments that have no wait step, which nobody could hold back\n"
        f"  time waited         {format_duration(lost['lost_ms'])} in all by {several(lost['waits'], 'wait')}, "
        f"{format_duration(lost['worst_ms'] or 0)} the longest\n"
        f"  Octopus API calls   {octopus.calls()['by_key'].get('octowait', 0)}\n", flush=True,
    )  # fmt: skip


def _tour(settings: Settings) -> str:
    """What to open, and what to look at there."""
    url = settings.base_url
    return f"""  Open this first, it signs you in:

    {_dashboard(settings)}

  Then look at
    {url}/machines/app-01   who held it, who waited for whom; the dotted bars had no wait step
    {url}/machines/web-01   runs that want web-02 too get both or none
    {url}/ledger            what waiting cost, and who was in the way
    {url}/health            what was repaired, and the overlaps that nobody could prevent
"""


def _dashboard(settings: Settings) -> str:
    return f"{settings.base_url}/sign-in#token={_tokens(settings)['admin']}"


def _tokens(settings: Settings) -> dict[str, str]:
    kept = (read_secrets(settings.data_dir) or {})[f"{PREFIX}TOKENS"]
    return {role: secret for role, _, secret in (entry.split(":", 2) for entry in kept.split(","))}


if __name__ == "__main__":
    sys.exit(main())
