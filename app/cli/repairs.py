"""Commands for repairs: ``kept``, ``replay``, ``dead-letters``, ``catch-up``, ``rebuild``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli.command import REFUSED, as_json, command, with_gate
from app.cli.printing import print_json, print_lines, print_table

if TYPE_CHECKING:
    from app.client.api import Gate


@command("kept", "octowait kept\noctowait kept --json > kept.json && octowait replay kept.json")
@click.option("--forget", metavar="ID", help="Keep this one no longer.")
@as_json
@with_gate
def list_kept(gate: Gate, forget: str | None, as_json: bool) -> None:
    """List deliveries of Octopus that were authentic but could not be applied."""
    from app.cli.tables import kept_table

    _list_or_forget(gate, "/api/kept", forget, as_json, kept_table)


@command("replay", "octowait replay payload.json\noctowait kept --json > kept.json && octowait replay kept.json")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@as_json
@with_gate
def replay(gate: Gate, files: tuple[Path, ...], as_json: bool) -> None:
    """Post stored webhook payloads again; one that was applied already is a duplicate.

    A file holds one payload, a JSON array of payloads, one payload a line, or what 'octowait kept --json' printed: what
    is posted from there is not kept twice. Exit status 1 means that something could not be applied and is kept.
    """
    headers = _webhook_headers(gate)
    answers = []
    for file in files:
        for body, kept_id in _payloads(file.read_bytes()):
            answer = gate.call("POST", "/webhooks/octopus", body=body, headers=headers)
            if kept_id:
                _forget(gate, kept_id)
            answers.append({"file": str(file), **answer})
            if not as_json:
                print_lines([f"{file}: {answer['event'] or 'no event id'} {answer['outcome']}"])
    if as_json:
        print_json(answers)
    sys.exit(REFUSED if any(answer["outcome"] == "kept" for answer in answers) else 0)


def _webhook_headers(gate: Gate) -> dict[str, str]:
    """Those by which octowait knows Octopus. A secret that nobody has set is made by an octowait, and not here."""
    from app.client.api import in_process
    from app.provision.subscriptions import secret_of
    from app.settings import BadSettings, load_settings

    direct = in_process(gate)
    settings = direct.services.settings if direct else load_settings()
    secret = secret_of(settings)
    if not secret:
        raise BadSettings(
            "OCTOWAIT_WEBHOOK_SECRET is not set and no octowait keeps its secrets here: expected the secret that the "
            "subscription sends"
        )
    return {settings.webhook_header: secret}


def _forget(gate: Gate, kept_id: str) -> None:
    from app.client.api import Refused

    try:
        gate.call("DELETE", f"/api/kept/{kept_id}")
    except Refused as error:
        # Somebody else has forgotten it, or it was kept by another octowait.
        if error.status != 404:
            raise


def _payloads(content: bytes) -> Iterator[tuple[bytes, str | None]]:
    """The payloads of a file, each with the id it is kept under; what is no JSON is posted as it is, to be kept."""
    try:
        document = json.loads(content)
    except ValueError:
        lines = [line for line in content.splitlines() if line.strip()]
        for body in lines if len(lines) > 1 and all(line.startswith(b"{") for line in lines) else [content]:
            yield body, None
        return
    if isinstance(document, dict) and isinstance(document.get("kept"), list):
        for entry in document["kept"]:
            yield entry["body"].encode(), entry["id"]
        return
    for payload in document if isinstance(document, list) else [document]:
        yield json.dumps(payload).encode(), None


@command("dead-letters", "octowait dead-letters\noctowait dead-letters --forget 1763838000000-0")
@click.option("--forget", metavar="ID", help="Keep this one no longer.")
@as_json
@with_gate
def dead_letters(gate: Gate, forget: str | None, as_json: bool) -> None:
    """List jobs that failed; what they should have done is asked for again at its next time."""
    from app.cli.tables import dead_letters_table

    _list_or_forget(gate, "/api/dead-letters", forget, as_json, dead_letters_table)


def _list_or_forget(gate: Gate, path: str, forget: str | None, as_json: bool, table: Callable[[Any], object]) -> None:
    """Print what is kept under *path*; or keep that with the id *forget* no longer."""
    answer = gate.call("DELETE", f"{path}/{forget}") if forget else gate.call("GET", path)
    if as_json:
        print_json(answer)
    elif forget:
        click.echo(f"{forget}: {answer['outcome']}")
    else:
        print_table(table(answer))


@command("catch-up", "octowait catch-up")
@as_json
@with_gate
def catch_up(gate: Gate, as_json: bool) -> None:
    """Have a worker read the events of Octopus that no webhook brought; it does so by itself every few minutes."""
    answer = gate.call("POST", "/api/catch-up")
    print_json(answer) if as_json else click.echo("a worker reads the events since the last time")


@command("rebuild", "octowait rebuild --reason 'Redis lost data'")
@click.option("--reason", required=True, help="Kept in the timeline, with who did it.")
@click.option("--open", "is_open", is_flag=True, help="Grant again at once, without asking Octopus: you know who runs.")
@as_json
@with_gate
def rebuild(gate: Gate, reason: str, is_open: bool, as_json: bool) -> None:
    """Grant nobody until Octopus has said who runs where; who holds goes on."""
    answer = gate.call("POST", "/api/rebuild", body={"reason": reason, "open": is_open})
    sentences = {
        "closed": "closed: nobody is granted until Octopus has said who runs where",
        "was_closed": "was closed already: a worker is asking Octopus",
        "opened": "open: machines are granted again",
        "was_open": "was open already",
    }
    print_json(answer) if as_json else click.echo(sentences[answer["outcome"]])
