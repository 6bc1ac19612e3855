"""A machine that is granted to nobody new: ``reserve``, ``unreserve``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from app.cli.command import as_json, command, parse_moment, with_gate
from app.cli.printing import print_json

if TYPE_CHECKING:
    from app.client.api import Gate


@command("reserve", "octowait reserve Machines-7 --note 'disk swap' --until 2h")
@click.argument("machine")
@click.option("--note", required=True, help="Shown to everybody who waits.")
@click.option("--until", help="30m, 2h, 1d from now, or ISO 8601; without it until 'unreserve'.")
@as_json
@with_gate
def reserve(gate: Gate, machine: str, note: str, until: str | None, as_json: bool) -> None:
    """Grant a machine to nobody new; running work goes on."""
    body = {"note": note, "until_ms": parse_moment(until, ago=False)}
    answer = gate.call("PUT", f"/api/machines/{machine}/reservation", body=body)
    print_json(answer) if as_json else click.echo(f"{answer['id']} is reserved: {answer['note']}")


@command("unreserve", "octowait unreserve Machines-7")
@click.argument("machine")
@as_json
@with_gate
def unreserve(gate: Gate, machine: str, as_json: bool) -> None:
    """End the reservation of a machine; the next in line is granted."""
    answer = gate.call("DELETE", f"/api/machines/{machine}/reservation")
    said = {"unreserved": "is reserved no longer", "nothing": "was not reserved"}
    print_json(answer) if as_json else click.echo(f"{machine} {said[answer['outcome']]}")
