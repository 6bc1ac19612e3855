"""How things are now: ``status``, ``machines``, ``waits``, ``run``, ``doctor``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from app.cli.command import REFUSED, address_here, as_json, command, with_gate
from app.cli.printing import print_json, print_lines, print_table
from app.settings import load_settings

if TYPE_CHECKING:
    from app.client.api import Gate


@command("status", "octowait status")
@as_json
@with_gate
def status(gate: Gate, as_json: bool) -> None:
    """Show the board in a few lines: what is busy, who waits, what needs a person."""
    from app.cli.tables import status_lines

    machines, waits = gate.call("GET", "/api/machines"), gate.call("GET", "/api/waits")
    kept = gate.call("GET", "/api/kept")
    if as_json:
        print_json({**machines, **waits, **kept})
        return
    print_lines(status_lines(machines, waits, kept))


@command("machines", "octowait machines\noctowait machines Machines-7 --json")
@click.argument("machine", required=False)
@as_json
@with_gate
def machines(gate: Gate, machine: str | None, as_json: bool) -> None:
    """List machines, who holds them and who waits for them; or show one with its last runs."""
    from app.cli.tables import machine_lines, machines_table

    answer = gate.call("GET", f"/api/machines/{machine}" if machine else "/api/machines")
    if as_json:
        print_json(answer)
    elif machine:
        print_lines(machine_lines(answer, gate.call("GET", "/api/machines")["now_ms"]))
    else:
        print_table(machines_table(answer))


@command("waits", "octowait waits")
@as_json
@with_gate
def waits(gate: Gate, as_json: bool) -> None:
    """List everyone waiting, in order, with who blocks them."""
    from app.cli.tables import waits_table

    answer = gate.call("GET", "/api/waits")
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
    print_table(timeline_table(answer["timeline"]))


@command("doctor", "octowait doctor\noctowait doctor --json")
@as_json
@with_gate
def doctor(gate: Gate, as_json: bool) -> None:
    """Look for everything that can be set up wrong, in octowait, Redis and Octopus, and say what to do about it.

    Exit status 1 means that there is an error; warnings and what could not be looked at leave it at 0.
    """
    from app.client.http import HttpGate
    from app.client.in_process import DirectGate
    from app.doctor.examination import examine, open_case
    from app.doctor.findings import finding_lines, has_error, summary

    settings = gate.settings if isinstance(gate, DirectGate) else load_settings()
    is_here = isinstance(gate, HttpGate) and gate.url == address_here(settings)
    findings = []
    with open_case(settings, gate, is_here=is_here) as case:
        for finding in examine(case):
            findings.append(finding)
            if not as_json:
                print_lines(finding_lines(finding))
    print_json([finding.as_json() for finding in findings]) if as_json else click.echo(summary(findings))
    sys.exit(REFUSED if has_error(findings) else 0)
