"""Commands of the history: ``timeline`` and ``archive``."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli.command import REFUSED, Group, as_json, command, find_gate, parse_moment, with_gate
from app.cli.printing import print_json, print_lines, print_table
from app.domain.phrases import several

if TYPE_CHECKING:
    from app.client.api import Gate
    from app.history.archive.files import Manifest


@click.group(
    "timeline",
    cls=Group,
    invoke_without_command=True,
    epilog="octowait timeline --machine web-01 --since 24h\noctowait timeline --format csv > timeline.csv\n"
    "octowait timeline --since 2026-11-23T14:00 --until 2026-11-23T18:00 --html incident.html",
)
@click.option("--machine", help="Only this machine, its name or its id.")
@click.option("--task", help="Only this server task.")
@click.option("--project", help="Only this project, its name or its id.")
@click.option("--environment", help="Only this environment, its name or its id.")
@click.option("--kind", help="Only this kind, e.g. granted.")
@click.option("--since", help="From then on: 30m, 24h, 7d ago, or ISO 8601.")
@click.option("--until", help="Before then: 30m, 24h, 7d ago, or ISO 8601.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="For the table and --json.")
@click.option("--format", "form", type=click.Choice(["table", "csv", "ndjson"]), default="table", show_default=True)
@click.option(
    "--html",
    "html",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write charts, ledger and records to this one file, for an incident report; the last 24 h by default.",
)
@as_json
@with_gate
def timeline(
    gate: Gate, machine: str | None, task: str | None, project: str | None, environment: str | None,
    kind: str | None, since: str | None, until: str | None, limit: int, form: str,
    html: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Show what happened, oldest first, from the archive on; csv and ndjson stream all of it."""
    from app.cli.tables import timeline_table

    query: dict[str, object] = {
        "machine_id": machine, "task_id": task, "project_id": project, "environment_id": environment,
        "kind": kind, "limit": limit, "from_ms": parse_moment(since, ago=True), "to_ms": parse_moment(until, ago=True),
    }  # fmt: skip
    if html:
        if task or kind:
            raise click.UsageError(
                "--html takes --machine, --project, --since and --until: a report shows all that ran"
            )
        _write_report(gate, html, query)
        return
    if form != "table" and not as_json:
        for line in gate.lines("/api/timeline", query={**query, "format": form}):
            sys.stdout.write(line)
        return
    answer = _read_records(gate, query, limit)
    if as_json:
        print_json(answer)
        return
    print_table(timeline_table(answer["records"], answer.get("machine_names", {})))
    if answer["next_cursor"]:
        click.echo(
            f"The first {limit} are shown: narrow it with --since, or stream all with --format ndjson.", err=True
        )


def _read_records(gate: Gate, query: dict[str, object], limit: int) -> Any:
    """An answer of the API with *limit* records, or all that there are."""
    answer = gate.call("GET", "/api/timeline", query=query)
    while answer["next_cursor"] and len(answer["records"]) < limit:
        # A page ends where much was looked at in vain, e.g. a long archive.
        rest = {**query, "limit": limit - len(answer["records"]), "cursor": answer["next_cursor"]}
        more = gate.call("GET", "/api/timeline", query=rest)
        names = {**answer.get("machine_names", {}), **more.get("machine_names", {})}
        records = answer["records"] + more["records"]
        answer = {"records": records, "machine_names": names, "next_cursor": more["next_cursor"]}
    return answer


def _write_report(gate: Gate, path: Path, query: dict[str, object]) -> None:
    """Written beside it first: a report that broke off half-way must not pass for a whole one."""
    limits = {name: query[name] for name in ("machine_id", "project_id", "from_ms", "to_ms")}
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            for line in gate.lines("/api/report", query=limits):
                file.write(line)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    click.echo(f"{path}: {path.stat().st_size // 1024} KiB, opens in any browser", err=True)


@command("verify", "octowait timeline verify\noctowait timeline verify archive/2026-08-*.ndjson.gz", group=timeline)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@as_json
def timeline_verify(files: tuple[Path, ...], as_json: bool) -> None:
    """Check the archive: every record is there, as it was written and where it was.

    Without FILES it checks all of OCTOWAIT_ARCHIVE_DIR, up to the end that octowait remembers if it can be reached.
    Exit status 1 means that something was changed or is missing.
    """
    from app.history.archive.verify import verify_directory, verify_files
    from app.settings import load_settings

    result = verify_files(files) if files else verify_directory(load_settings().archive_directory, _archive_head())
    if as_json:
        print_json({**asdict(result), "end": asdict(result.end)})
    else:
        print_lines(result.findings)
        click.echo(
            f"{several(result.files, 'file')}, {several(result.records, 'record')}, last hash {result.end.hash}: "
            f"{several(len(result.findings), 'finding') if result.findings else 'nothing was changed'}"
        )
    sys.exit(REFUSED if result.findings else 0)


def _archive_head() -> Manifest | None:
    """How the archive ended when it was written last, as octowait remembers it; None where it cannot be asked."""
    from app.client.api import CannotReach, Refused
    from app.history.archive.files import Manifest
    from app.settings import BadSettings
    from app.store.errors import StoreError

    try:
        gate = find_gate(os.environ.get("OCTOWAIT_URL"), os.environ.get("OCTOWAIT_TOKEN"), None)
        head = gate.call("GET", "/api/archive")["head"]
    except (BadSettings, CannotReach, Refused, StoreError) as error:
        print_lines([f"octowait cannot be asked how the archive ended: {error}"], err=True)
        return None
    return Manifest(**head) if head else None


@command("archive", "octowait archive")
@click.option("--begin-anew", is_flag=True, help="Expect no earlier files: they are lost for good.")
@as_json
@with_gate
def archive(gate: Gate, begin_anew: bool, as_json: bool) -> None:
    """Have a worker move what is old enough of the timeline into files; it does so by itself every hour."""
    answer = gate.call("POST", "/api/archive", body={"begin_anew": begin_anew})
    print_json(answer) if as_json else click.echo("a worker archives what is older than the retention")
