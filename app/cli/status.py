"""Commands of the present: ``status``, ``machines``, ``waits``, ``run``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from app.cli.command import as_json, command, with_gate
from app.cli.printing import print_json, print_lines, print_table

if TYPE_CHECKING:
    from app.client.api import Gate


@command("status", "octowait status")
@as_json
@with_gate
def status(gate: Gate, as_json: bool) -> None:
    """Show the board in a few lines: what is busy, who waits, what needs a person."""
    from app.cli.tables import status_lines
    from app.client.paging import call_all

    machines, waits = call_all(gate, "/api/machines", "machines"), call_all(gate, "/api/waits", "waits")
    deliveries = gate.call("GET", "/api/kept")
    if as_json:
        print_json({**machines, **waits, **deliveries})
        return
    print_lines(status_lines(machines, waits, deliveries))


@command("machines", "octowait machines\noctowait machines web-01 --json")
@click.argument("machine", required=False)
@as_json
@with_gate
def machines(gate: Gate, machine: str | None, as_json: bool) -> None:
    """List machines, who holds them and who waits for them; or show one with its last runs."""
    from app.cli.tables import machine_lines, machines_table
    from app.client.paging import call_all

    answer = gate.call("GET", f"/api/machines/{machine}") if machine else call_all(gate, "/api/machines", "machines")
    if as_json:
        print_json(answer)
    elif machine:
        print_lines(machine_lines(answer, gate.call("GET", "/api/machines", query={"limit": 1})["now_ms"]))
    else:
        print_table(machines_table(answer))


@command("waits", "octowait waits")
@as_json
@with_gate
def waits(gate: Gate, as_json: bool) -> None:
    """List everyone waiting, in order, with who blocks them."""
    from app.cli.tables import waits_table
    from app.client.paging import call_all

    answer = call_all(gate, "/api/waits", "waits")
    print_json(answer) if as_json else print_table(waits_table(answer))


@command("run", "octowait run ServerTasks-4711")
@click.argument("task")
@as_json
@with_gate
def run(gate: Gate, task: str, as_json: bool) -> None:
    """Show one run: its facts and its timeline."""
    from app.cli.tables import run_lines, timeline_table

    answer = gate.call("GET", f"/api/runs/{task}")
    if as_json:
        print_json(answer)
        return
    print_lines(run_lines(answer))
    names = {machine["id"].lower(): machine["name"] for machine in answer["machines"]}
    print_table(timeline_table(answer["timeline"], names))
