"""Commands about waiting: ``ledger``, ``explain``, ``eta-report``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from app.cli.command import as_json, command, parse_moment, with_gate
from app.cli.printing import print_json, print_lines, print_table

if TYPE_CHECKING:
    from app.client.api import Gate


@command("ledger", "octowait ledger --since 30d --by blocker\noctowait ledger --by week --format csv > ledger.csv")
@click.option("--by", type=click.Choice(["machine", "project", "blocker", "environment", "week"]), default="machine",
              show_default=True, help="The blocker is the project of the run in the way.")  # fmt: skip
@click.option("--machine", help="Only what was lost at this machine, its name or its id.")
@click.option("--project", help="Only what runs of this project lost, its name or its id.")
@click.option("--since", default="30d", show_default=True, help="From then on: 24h, 7d ago, or ISO 8601.")
@click.option("--until", help="Before then: 24h, 7d ago, or ISO 8601.")
@click.option("--format", "form", type=click.Choice(["table", "csv"]), default="table", show_default=True)
@as_json
@with_gate
def ledger(
    gate: Gate, by: str, machine: str | None, project: str | None, since: str, until: str | None, form: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Show how much time was lost by waiting, where, by whom and to whom, and the longest waits."""
    from app.cli.ledger_tables import ledger_lines, ledger_table

    query: dict[str, object] = {
        "by": by, "machine_id": machine, "project_id": project,
        "from_ms": parse_moment(since, ago=True), "to_ms": parse_moment(until, ago=True),
    }  # fmt: skip
    if form == "csv" and not as_json:
        for line in gate.lines("/api/ledger", query={**query, "format": "csv"}):
            sys.stdout.write(line)
        return
    answer = gate.call("GET", "/api/ledger", query=query)
    if as_json:
        print_json(answer)
        return
    print_table(ledger_table(answer))
    print_lines(ledger_lines(answer))


@command("explain", "octowait explain ServerTasks-4711")
@click.argument("task")
@as_json
@with_gate
def explain(gate: Gate, task: str, as_json: bool) -> None:
    """Say why a run does not start: who is in its way, what would let it go, what would change that."""
    from app.cli.ledger_tables import explain_lines

    answer = gate.call("GET", f"/api/waits/{task}/explain")
    print_json(answer) if as_json else print_lines(explain_lines(answer))


@command("eta-report", "octowait eta-report")
@as_json
@with_gate
def eta_report(gate: Gate, as_json: bool) -> None:
    """Show how often waits took no longer than was foretold when they began."""
    from app.cli.ledger_tables import accuracy_table

    answer = gate.call("GET", "/api/eta-report")
    print_json(answer) if as_json else print_table(accuracy_table(answer))
