"""Commands for a run, ``wait``, ``release``, ``prioritize``, ``force-release``, and for reservations."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from app.cli.command import REFUSED, as_json, command, parse_moment, with_gate
from app.cli.printing import print_json, print_lines

if TYPE_CHECKING:
    from app.client.api import Gate


@command("wait", "octowait wait ServerTasks-4711 -m Machines-7 -m Machines-12 --timeout-minutes 30")
@click.argument("task")
@click.option(
    "-m",
    "--machine",
    "machines",
    multiple=True,
    required=True,
    help="A machine, its name or its id; repeat it for more.",
)
@click.option("--project", help="Shown to people.")
@click.option("--environment", help="Shown to people.")
@click.option("--release", help="Shown to people: a version.")
@click.option("--priority", type=int, default=0, show_default=True, help="Higher is sooner.")
@click.option("--timeout-minutes", type=click.FloatRange(min=0, min_open=True), default=120, show_default=True)
@as_json
@with_gate
def wait(
    gate: Gate, task: str, machines: tuple[str, ...], project: str | None, environment: str | None,
    release: str | None, priority: int, timeout_minutes: float, as_json: bool,
) -> None:  # fmt: skip
    """Join the line of some machines and block until all are granted.

    Exit status 0 means granted; any other says why in its last line. On a Redis URL it blocks on Redis itself.
    """
    from app.client.waiting import wait_for_grant

    body = {
        "machines": list(machines),
        "project": {"name": project} if project else None,
        "environment": {"name": environment} if environment else None,
        "release": {"version": release} if release else None,
        "priority": priority,
        "timeout_seconds": max(1, round(timeout_minutes * 60)),
    }
    answer = wait_for_grant(gate, task, body, say=lambda line: print_lines([line], err=True))
    print_json(answer) if as_json else print_lines([answer["message"]])
    sys.exit(0 if answer["state"] == "granted" else REFUSED)


@command("release", "octowait release ServerTasks-4711 --reason 'deployed by hand'")
@click.argument("task")
@click.option("--reason", help="Kept in the timeline.")
@as_json
@with_gate
def release(gate: Gate, task: str, reason: str | None, as_json: bool) -> None:
    """Give back the machines of a run, or take it out of its lines."""
    from app.client.waiting import give_back

    answer = give_back(gate, task, reason=reason)
    print_json(answer) if as_json else click.echo(_outcome(task, answer))


@command("prioritize", "octowait prioritize ServerTasks-4711 10 --reason 'hotfix'")
@click.argument("task")
@click.argument("priority", type=int)
@click.option("--reason", required=True, help="Kept in the timeline, with who did it.")
@as_json
@with_gate
def prioritize(gate: Gate, task: str, priority: int, reason: str, as_json: bool) -> None:
    """Move a waiting run; a higher priority is sooner."""
    body = {"priority": priority, "reason": reason}
    answer = gate.call("POST", f"/api/waits/{task}/priority", body=body)
    print_json(answer) if as_json else print_lines([answer["message"]])


@command("force-release", "octowait force-release ServerTasks-4711 --reason 'its server died'")
@click.argument("task")
@click.option("--reason", required=True, help="Kept in the timeline, with who did it.")
@click.option("--confirm", is_flag=True, help="Also while Octopus says that the task still runs, or cannot be asked.")
@as_json
@with_gate
def force_release(gate: Gate, task: str, reason: str, confirm: bool, as_json: bool) -> None:
    """Take the machines away from a run, or the run out of its lines.

    Octopus is asked first. While it says that the task still runs, or does not answer, --confirm is needed.
    """
    body = {"reason": reason, "confirm": confirm}
    answer = gate.call("POST", f"/api/waits/{task}/force-release", body=body)
    print_json(answer) if as_json else click.echo(_outcome(task, answer))


@command("reserve", "octowait reserve web-01 --note 'disk swap' --until 2h")
@click.argument("machine")
@click.option("--note", required=True, help="Shown to everybody who waits.")
@click.option("--until", help="30m, 2h, 1d from now, or ISO 8601; without it until 'unreserve'.")
@click.option("--create", is_flag=True, help="MACHINE is the id of one that nobody has used yet.")
@as_json
@with_gate
def reserve(gate: Gate, machine: str, note: str, until: str | None, create: bool, as_json: bool) -> None:
    """Grant a machine, by its name or its id, to nobody new; running work goes on."""
    from app.client.api import Refused

    body = {"note": note, "until_ms": parse_moment(until, ago=False), **({"create": True} if create else {})}
    try:
        answer = gate.call("PUT", f"/api/machines/{machine}/reservation", body=body)
    except Refused as error:
        if error.code == "unknown_machine" and not create:
            hint = f"{error}. With --create one is reserved that nobody has used yet"
            raise Refused(error.status, error.code, hint) from error
        raise
    named = answer["id"] if machine.lower() == answer["id"].lower() else f"{machine} ({answer['id']})"
    print_json(answer) if as_json else print_lines([f"{named} is reserved: {answer['note']}"])


@command("unreserve", "octowait unreserve web-01")
@click.argument("machine")
@as_json
@with_gate
def unreserve(gate: Gate, machine: str, as_json: bool) -> None:
    """End the reservation of a machine; the next in line is granted."""
    answer = gate.call("DELETE", f"/api/machines/{machine}/reservation")
    endings = {"unreserved": "is reserved no longer", "nothing": "was not reserved"}
    print_json(answer) if as_json else click.echo(f"{machine} {endings[answer['outcome']]}")


def _outcome(task: str, answer: dict[str, str]) -> str:
    endings = {"released": "released", "left": "left the line", "nothing": "held nothing and waited for nothing"}
    return f"{task}: {endings[answer['outcome']]}"
