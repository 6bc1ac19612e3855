"""The ``octowait`` command. Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 cannot reach."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app import __version__
from app.settings import ADDRESS_FILE, PREFIX, BadSettings, Settings, load_settings, read_secrets, with_secrets

if TYPE_CHECKING:
    from app.coordination.archive import Manifest
    from app.gate import Gate
    from app.subscription import Outcome

REFUSED, UNREACHABLE = 1, 3


class _Command(click.Command):
    """Shows its examples as they were written."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.epilog:
            with formatter.section("Example" if "\n" not in self.epilog else "Examples"):
                for line in self.epilog.splitlines():
                    formatter.write(f"  {line}\n")


class _Group(_Command, click.Group):
    """A command that has others under it, and does something without them too."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="octowait")
def cli() -> None:
    """Make a deployment wait until every other deployment on the same machines has finished.

    Commands that ask or tell octowait something each take --url and --token, or --redis-url to work on Redis directly;
    by default they reach the octowait that was started in this directory.
    """


def main() -> None:
    """Run a command and end the process with its exit status."""
    if sys.argv[1:2] == ["serve"]:
        # Before anything that brings sockets or threads: what is imported unpatched blocks all requests at once.
        from gevent import monkey

        monkey.patch_all()
    with _readable_errors():
        cli(prog_name="octowait")


@contextmanager
def _readable_errors() -> Iterator[None]:
    from app.coordination.errors import BadStoreAddress, StoreError
    from app.gate import CannotReach, Refused

    try:
        yield
    except BadSettings as error:
        _fail(str(error), 2)
    except BadStoreAddress as error:
        _fail(f"Redis URL {error}", 2)
    except Refused as error:
        _fail(f"{error} ({error.code})", REFUSED)
    except (CannotReach, StoreError) as error:
        _fail(str(error), UNREACHABLE)
    except BrokenPipeError:
        # The reader of our output has seen enough; what is left in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, status: int) -> None:
    click.echo(f"octowait: {message}", err=True)
    sys.exit(status)


# --- how commands find octowait ---------------------------------------------------------------------------------------

_GATE_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--url", envvar="OCTOWAIT_URL", help="Address of octowait.  [env: OCTOWAIT_URL]"),
    click.option("--token", envvar="OCTOWAIT_TOKEN", help="Token for --url.  [env: OCTOWAIT_TOKEN]"),
    click.option("--redis-url", help="Work on this Redis directly.  [env: OCTOWAIT_REDIS_URL]"),
)


def _with_gate(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command *gate* for the options --url, --token and --redis-url."""

    @click.pass_context
    def run(ctx: click.Context, /, url: str | None, token: str | None, redis_url: str | None, **rest: Any) -> None:
        if ctx.invoked_subcommand is None:
            ctx.invoke(command, gate=_find_gate(url, token, redis_url), **rest)

    run.__doc__ = command.__doc__
    run.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    for option in _GATE_OPTIONS:
        run = option(run)
    return run


def _find_gate(url: str | None, token: str | None, redis_url: str | None) -> Gate:
    """In this order: --url or its variable, --redis-url or the setting, the octowait that runs here."""
    from app.gate import DirectGate, HttpGate

    settings = load_settings()
    kept = read_secrets(settings.data_dir) or {}
    if kept and not settings.tokens:
        settings = with_secrets(settings)
    if redis_url or (settings.redis_url and not url):
        return DirectGate(settings.model_copy(update={"redis_url": redis_url or settings.redis_url}))
    if not token:
        by_role = {known.role: known.secret for known in settings.tokens}
        token = by_role.get("admin") or by_role.get("viewer") or by_role.get("step")
    if not token:
        raise BadSettings(
            "OCTOWAIT_TOKEN is not set and no octowait keeps its secrets here: expected --token, OCTOWAIT_TOKEN or a "
            f"readable {settings.data_dir / 'secrets.env'}"
        )
    return HttpGate(url or _address_here(settings), token)


def _address_here(settings: Settings) -> str:
    """OCTOWAIT_BIND where it is set, else where 'octowait up' said that it listens."""
    if "bind" not in settings.model_fields_set:
        try:
            return (settings.data_dir / ADDRESS_FILE).read_text().strip()
        except OSError:
            pass
    return f"http://{settings.bind}"


def _command(name: str, example: str) -> Callable[[Callable[..., Any]], click.Command]:
    return cli.command(name, cls=_Command, epilog=example)


as_json = click.option("--json", "as_json", is_flag=True, help="Print the JSON of the API.")


# --- processes --------------------------------------------------------------------------------------------------------


@contextmanager
def _process_settings() -> Iterator[Settings]:
    """Settings with secrets and a Redis, which is the embedded one if none is set, for as long as this is open."""
    from app.coordination.embedded import EmbeddedServer
    from app.logs import configure_logs

    settings = with_secrets(load_settings())
    configure_logs(settings.log_format, level=settings.log_level, secrets=settings.secrets)
    if settings.redis_url:
        yield settings
        return
    server = EmbeddedServer(settings.data_dir / "redis")
    try:
        yield settings.model_copy(update={"redis_url": server.acquire()})
    finally:
        server.release()


@_command("up", "octowait up")
def up() -> None:
    """Run web, worker and scheduler of the Procfile, on an embedded Redis unless OCTOWAIT_REDIS_URL is set."""
    from app.up import up as run

    sys.exit(run(with_secrets(load_settings())))


@_command("serve", "OCTOWAIT_BIND=127.0.0.1:8080 octowait serve")
def serve() -> None:
    """Run the web server: webhooks, API and pages."""
    from app.web.server import serve as run

    with _process_settings() as settings:
        run(settings)


@_command("worker", "octowait worker")
def worker() -> None:
    """Run a worker for the jobs that ask Octopus."""
    from workers.run import run_worker

    with _process_settings() as settings:
        run_worker(settings)


@_command("scheduler", "octowait scheduler")
def scheduler() -> None:
    """Run the scheduler; of several, one works and the others stand by."""
    from workers.schedule import run_scheduler

    with _process_settings() as settings:
        run_scheduler(settings)


# --- a run ------------------------------------------------------------------------------------------------------------


@_command("wait", "octowait wait ServerTasks-4711 -m Machines-7 -m Machines-12 --timeout-minutes 30")
@click.argument("task")
@click.option("-m", "--machine", "machines", multiple=True, required=True, help="A machine id; repeat it for more.")
@click.option("--project", help="Shown to people.")
@click.option("--environment", help="Shown to people.")
@click.option("--release", help="Shown to people: a version.")
@click.option("--priority", type=int, default=0, show_default=True, help="Higher is sooner.")
@click.option("--timeout-minutes", type=click.FloatRange(min=0, min_open=True), default=120, show_default=True)
@as_json
@_with_gate
def wait(
    gate: Gate, task: str, machines: tuple[str, ...], project: str | None, environment: str | None,
    release: str | None, priority: int, timeout_minutes: float, as_json: bool,
) -> None:  # fmt: skip
    """Join the line of some machines and block until all are granted.

    Exit status 0 means granted; any other says why in its last line. On a Redis URL it blocks on Redis itself.
    """
    from app.waiting import wait_for_grant

    body = {
        "machines": list(machines),
        "project": {"name": project} if project else None,
        "environment": {"name": environment} if environment else None,
        "release": {"version": release} if release else None,
        "priority": priority,
        "timeout_seconds": max(1, round(timeout_minutes * 60)),
    }
    answer = wait_for_grant(gate, task, body, say=lambda line: click.echo(line, err=True))
    _print_json(answer) if as_json else click.echo(answer["message"])
    sys.exit(0 if answer["state"] == "granted" else REFUSED)


@_command("release", "octowait release ServerTasks-4711 --reason 'deployed by hand'")
@click.argument("task")
@click.option("--reason", help="Kept in the timeline.")
@as_json
@_with_gate
def release(gate: Gate, task: str, reason: str | None, as_json: bool) -> None:
    """Give back the machines of a run, or take it out of its lines."""
    answer = gate.call("DELETE", f"/api/waits/{task}", query={"reason": reason})
    _print_json(answer) if as_json else click.echo(_outcome(task, answer))


def _outcome(task: str, answer: dict[str, str]) -> str:
    said = {"released": "released", "left": "left the line", "nothing": "held nothing and waited for nothing"}
    return f"{task}: {said[answer['outcome']]}"


# --- looking ----------------------------------------------------------------------------------------------------------


@_command("status", "octowait status")
@as_json
@_with_gate
def status(gate: Gate, as_json: bool) -> None:
    """Show the board in a few lines: what is busy, who waits, what needs a person."""
    from app.tables import status_lines

    machines, waits = gate.call("GET", "/api/machines"), gate.call("GET", "/api/waits")
    kept = gate.call("GET", "/api/kept")
    if as_json:
        _print_json({**machines, **waits, **kept})
        return
    for line in status_lines(machines, waits, kept):
        click.echo(line)


@_command("machines", "octowait machines\noctowait machines Machines-7 --json")
@click.argument("machine", required=False)
@as_json
@_with_gate
def machines(gate: Gate, machine: str | None, as_json: bool) -> None:
    """List machines, who holds them and who waits for them; or show one with its last runs."""
    from app.tables import machine_lines, machines_table

    answer = gate.call("GET", f"/api/machines/{machine}" if machine else "/api/machines")
    if as_json:
        _print_json(answer)
    elif machine:
        _print_lines(machine_lines(answer, gate.call("GET", "/api/machines")["now_ms"]))
    else:
        _print_table(machines_table(answer))


@_command("waits", "octowait waits")
@as_json
@_with_gate
def waits(gate: Gate, as_json: bool) -> None:
    """List everyone waiting, in order, with who blocks them."""
    from app.tables import waits_table

    answer = gate.call("GET", "/api/waits")
    _print_json(answer) if as_json else _print_table(waits_table(answer))


@_command("run", "octowait run ServerTasks-4711")
@click.argument("task")
@as_json
@_with_gate
def run(gate: Gate, task: str, as_json: bool) -> None:
    """Show one run: its facts and its timeline."""
    from app.tables import run_lines, timeline_table

    answer = gate.call("GET", f"/api/runs/{task}")
    if as_json:
        _print_json(answer)
        return
    _print_lines(run_lines(answer))
    _print_table(timeline_table(answer["timeline"]))


@cli.group(
    "timeline",
    cls=_Group,
    invoke_without_command=True,
    epilog="octowait timeline --machine Machines-7 --since 24h\noctowait timeline --format csv > timeline.csv\n"
    "octowait timeline --since 2026-11-23T14:00 --until 2026-11-23T18:00 --html incident.html",
)
@click.option("--machine", help="Only this machine.")
@click.option("--task", help="Only this server task.")
@click.option("--project", help="Only this project id.")
@click.option("--environment", help="Only this environment id.")
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
@_with_gate
def timeline(
    gate: Gate, machine: str | None, task: str | None, project: str | None, environment: str | None,
    kind: str | None, since: str | None, until: str | None, limit: int, form: str,
    html: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Show what happened, oldest first, from the archive on; csv and ndjson stream all of it."""
    from app.tables import timeline_table

    query: dict[str, object] = {
        "machine_id": machine, "task_id": task, "project_id": project, "environment_id": environment,
        "kind": kind, "limit": limit, "from_ms": _moment(since, ago=True), "to_ms": _moment(until, ago=True),
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
    answer = gate.call("GET", "/api/timeline", query=query)
    while answer["next_cursor"] and len(answer["records"]) < limit:
        # A page ends where much was looked at in vain, e.g. a long archive.
        rest = {**query, "limit": limit - len(answer["records"]), "cursor": answer["next_cursor"]}
        more = gate.call("GET", "/api/timeline", query=rest)
        answer = {"records": answer["records"] + more["records"], "next_cursor": more["next_cursor"]}
    if as_json:
        _print_json(answer)
        return
    _print_table(timeline_table(answer["records"]))
    if answer["next_cursor"]:
        click.echo(
            f"The first {limit} are shown: narrow it with --since, or stream all with --format ndjson.", err=True
        )


@timeline.command(
    "verify", cls=_Command, epilog="octowait timeline verify\noctowait timeline verify archive/2026-08-*.ndjson.gz"
)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@as_json
def timeline_verify(files: tuple[Path, ...], as_json: bool) -> None:
    """Check the archive: every record is there, as it was written and where it was.

    Without FILES it checks all of OCTOWAIT_ARCHIVE_DIR, up to the end that octowait remembers if it can be reached.
    Exit status 1 means that something was changed or is missing.
    """
    from app.coordination.verify import verify_directory, verify_files

    found = verify_files(files) if files else verify_directory(load_settings().archive_directory, _archive_head())
    if as_json:
        _print_json({**asdict(found), "end": asdict(found.end)})
    else:
        _print_lines(found.findings)
        click.echo(
            f"{found.files} files, {found.records} records, last hash {found.end.hash}: "
            f"{f'{len(found.findings)} findings' if found.findings else 'nothing was changed'}"
        )
    sys.exit(REFUSED if found.findings else 0)


def _archive_head() -> Manifest | None:
    """How the archive ended when it was written last, as octowait remembers it; None where it cannot be asked."""
    from app.coordination.archive import Manifest
    from app.coordination.errors import StoreError
    from app.gate import CannotReach, Refused

    try:
        gate = _find_gate(os.environ.get("OCTOWAIT_URL"), os.environ.get("OCTOWAIT_TOKEN"), None)
        head = gate.call("GET", "/api/archive")["head"]
    except (BadSettings, CannotReach, Refused, StoreError) as error:
        click.echo(f"octowait cannot be asked how the archive ended: {error}", err=True)
        return None
    return Manifest(**head) if head else None


@_command("archive", "octowait archive\noctowait archive --begin-anew")
@click.option("--begin-anew", is_flag=True, help="Expect no earlier files: they are lost for good.")
@as_json
@_with_gate
def archive(gate: Gate, begin_anew: bool, as_json: bool) -> None:
    """Have a worker move what is old enough of the timeline into files; it does so by itself every hour."""
    answer = gate.call("POST", "/api/archive", body={"begin_anew": begin_anew})
    _print_json(answer) if as_json else click.echo("a worker archives what is older than the retention")


def _write_report(gate: Gate, path: Path, query: dict[str, object]) -> None:
    """Written beside it first: a report that broke off half-way must not pass for a whole one."""
    wanted = {name: query[name] for name in ("machine_id", "project_id", "from_ms", "to_ms")}
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            for line in gate.lines("/api/report", query=wanted):
                file.write(line)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    click.echo(f"{path}: {path.stat().st_size // 1024} KiB, opens in any browser", err=True)


@_command("kept", "octowait kept\noctowait kept --json > kept.json && octowait replay kept.json")
@click.option("--forget", metavar="ID", help="Keep this one no longer.")
@as_json
@_with_gate
def kept(gate: Gate, forget: str | None, as_json: bool) -> None:
    """List deliveries of Octopus that were authentic but could not be applied."""
    from app.tables import kept_table

    if forget:
        answer = gate.call("DELETE", f"/api/kept/{forget}")
        _print_json(answer) if as_json else click.echo(f"{forget}: {answer['outcome']}")
        return
    answer = gate.call("GET", "/api/kept")
    _print_json(answer) if as_json else _print_table(kept_table(answer))


# --- operating --------------------------------------------------------------------------------------------------------


@_command("reserve", "octowait reserve Machines-7 --note 'disk swap' --until 2h")
@click.argument("machine")
@click.option("--note", required=True, help="Shown to everybody who waits.")
@click.option("--until", help="30m, 2h, 1d from now, or ISO 8601; without it until 'unreserve'.")
@as_json
@_with_gate
def reserve(gate: Gate, machine: str, note: str, until: str | None, as_json: bool) -> None:
    """Grant a machine to nobody new; running work goes on."""
    body = {"note": note, "until_ms": _moment(until, ago=False)}
    answer = gate.call("PUT", f"/api/machines/{machine}/reservation", body=body)
    _print_json(answer) if as_json else click.echo(f"{answer['id']} is reserved: {answer['note']}")


@_command("unreserve", "octowait unreserve Machines-7")
@click.argument("machine")
@as_json
@_with_gate
def unreserve(gate: Gate, machine: str, as_json: bool) -> None:
    """End the reservation of a machine; the next in line is granted."""
    answer = gate.call("DELETE", f"/api/machines/{machine}/reservation")
    said = {"unreserved": "is reserved no longer", "nothing": "was not reserved"}
    _print_json(answer) if as_json else click.echo(f"{machine} {said[answer['outcome']]}")


@_command("force-release", "octowait force-release ServerTasks-4711 --reason 'its server died' --confirm")
@click.argument("task")
@click.option("--reason", required=True, help="Kept in the timeline, with who did it.")
@click.option("--confirm", is_flag=True, help="Also while Octopus says that the task still runs.")
@as_json
@_with_gate
def force_release(gate: Gate, task: str, reason: str, confirm: bool, as_json: bool) -> None:
    """Take the machines away from a run, or the run out of its lines."""
    body = {"reason": reason, "confirm": confirm}
    answer = gate.call("POST", f"/api/waits/{task}/force-release", body=body)
    _print_json(answer) if as_json else click.echo(_outcome(task, answer))


@_command("prioritize", "octowait prioritize ServerTasks-4711 10 --reason 'hotfix'")
@click.argument("task")
@click.argument("priority", type=int)
@click.option("--reason", required=True, help="Kept in the timeline, with who did it.")
@as_json
@_with_gate
def prioritize(gate: Gate, task: str, priority: int, reason: str, as_json: bool) -> None:
    """Move a waiting run; a higher priority is sooner."""
    body = {"priority": priority, "reason": reason}
    answer = gate.call("POST", f"/api/waits/{task}/priority", body=body)
    _print_json(answer) if as_json else click.echo(answer["message"])


@_command("replay", "octowait replay payload.json\noctowait kept --json > kept.json && octowait replay kept.json")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@as_json
@_with_gate
def replay(gate: Gate, files: tuple[Path, ...], as_json: bool) -> None:
    """Post stored webhook payloads again; one that was applied already is a duplicate.

    A file holds one payload, a JSON array of payloads, one payload a line, or what 'octowait kept --json' printed: what
    is posted from there is not kept twice. Exit status 1 means that something could not be applied and is kept.
    """
    settings = with_secrets(load_settings())
    assert settings.webhook_secret
    headers = {settings.webhook_header: settings.webhook_secret.get_secret_value()}
    answers = []
    for file in files:
        for body, kept_id in _payloads(file.read_bytes()):
            answer = gate.call("POST", "/webhooks/octopus", body=body, headers=headers)
            if kept_id:
                _forget(gate, kept_id)
            answers.append({"file": str(file), **answer})
            if not as_json:
                click.echo(f"{file}: {answer['event'] or 'no event id'} {answer['outcome']}")
    if as_json:
        _print_json(answers)
    sys.exit(REFUSED if any(answer["outcome"] == "kept" for answer in answers) else 0)


def _forget(gate: Gate, kept_id: str) -> None:
    from app.gate import Refused

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


# --- step templates ---------------------------------------------------------------------------------------------------


@cli.group()
def templates() -> None:
    """Make step templates of Octopus from the wait, claim and release steps."""


@templates.command("build", cls=_Command, epilog="octowait templates build --out step-templates")
@click.option("--out", default="step-templates", show_default=True, help="Directory for the files; made if missing.",
              type=click.Path(file_okay=False, path_type=Path))  # fmt: skip
def build(out: Path) -> None:
    """Write one JSON file for each step and language, to be imported into Octopus."""
    from app.templates import StepsNotFound, write_templates

    try:
        files = write_templates(out, built_at=datetime.now(UTC))
    except (StepsNotFound, OSError) as error:
        _fail(str(error), REFUSED)
    _print_lines([str(file) for file in files])


@templates.command("upload", cls=_Command, epilog="octowait templates upload --dry-run")
@click.option("--space", help="Only this space, an id or a name; else OCTOWAIT_OCTOPUS_SPACES, else all.")
@click.option("--dry-run", is_flag=True, help="Change nothing; exit status 1 means that something would change.")
@as_json
def upload(space: str | None, dry_run: bool, as_json: bool) -> None:
    """Create or update the step templates in Octopus; needs OCTOWAIT_OCTOPUS_URL and OCTOWAIT_OCTOPUS_API_KEY."""
    from app.subscription import choose_spaces, octopus_of
    from app.template_upload import upload as upload_to
    from app.templates import build_templates

    settings = load_settings()
    built = list(build_templates(built_at=datetime.now(UTC)).values())
    with octopus_of(settings) as octopus:
        spaces = choose_spaces(octopus, settings, space)
        done = [each for one in spaces for each in upload_to(octopus, one, built, dry_run=dry_run)]
    if as_json:
        _print_json([vars(each) for each in done])
    else:
        _print_lines([f"{each.space_id}: {each.action:9} {each.name}" for each in done])
    sys.exit(REFUSED if dry_run and any(each.action != "unchanged" for each in done) else 0)


@_command("catch-up", "octowait catch-up")
@as_json
@_with_gate
def catch_up(gate: Gate, as_json: bool) -> None:
    """Have a worker read the events of Octopus that no webhook brought; it does so by itself every few minutes."""
    answer = gate.call("POST", "/api/catch-up")
    _print_json(answer) if as_json else click.echo("a worker reads the events since the last time")


@_command("rebuild", "octowait rebuild --reason 'Redis lost data'")
@click.option("--reason", required=True, help="Kept in the timeline, with who did it.")
@click.option("--open", "is_open", is_flag=True, help="Grant again at once, without asking Octopus: you know who runs.")
@as_json
@_with_gate
def rebuild(gate: Gate, reason: str, is_open: bool, as_json: bool) -> None:
    """Grant nobody until Octopus has said who runs where; who holds goes on."""
    answer = gate.call("POST", "/api/rebuild", body={"reason": reason, "open": is_open})
    said = {
        "closed": "closed: nobody is granted until Octopus has said who runs where",
        "was_closed": "was closed already: a worker is asking Octopus",
        "opened": "open: machines are granted again",
        "was_open": "was open already",
    }
    _print_json(answer) if as_json else click.echo(said[answer["outcome"]])


@_command("dead-letters", "octowait dead-letters\noctowait dead-letters --forget 1763838000000-0")
@click.option("--forget", metavar="ID", help="Keep this one no longer.")
@as_json
@_with_gate
def dead_letters(gate: Gate, forget: str | None, as_json: bool) -> None:
    """List jobs that failed; what they should have done is asked for again at its next time."""
    from app.tables import dead_letters_table

    if forget:
        answer = gate.call("DELETE", f"/api/dead-letters/{forget}")
        _print_json(answer) if as_json else click.echo(f"{forget}: {answer['outcome']}")
        return
    answer = gate.call("GET", "/api/dead-letters")
    _print_json(answer) if as_json else _print_table(dead_letters_table(answer))


# --- helpers ----------------------------------------------------------------------------------------------------------

_SPAN = re.compile(r"^(\d+)\s*(s|m|h|d)$")


def _moment(text: str | None, *, ago: bool) -> int | None:
    """Milliseconds since the epoch of ``2h`` from now (or ago), or of an ISO 8601 time; local without an offset."""
    if not text:
        return None
    span = _SPAN.match(text.strip().lower())
    now = datetime.now(UTC)
    if span:
        unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[span[2]]
        delta = timedelta(**{unit: int(span[1])})
        moment = now - delta if ago else now + delta
    else:
        try:
            moment = datetime.fromisoformat(text).astimezone(UTC)
        except ValueError as error:
            raise click.UsageError(f"{text!r}: expected 30m, 2h, 7d, or a time such as 2026-11-23T18:00") from error
    return round(moment.timestamp() * 1000)


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _print_lines(lines: list[str]) -> None:
    for line in lines:
        click.echo(line)


def _print_table(table: Any) -> None:
    from rich.console import Console

    # Piped, a table is for grep: as wide as it needs to be.
    Console(width=None if sys.stdout.isatty() else 250, soft_wrap=not sys.stdout.isatty()).print(table)


# --- Octopus ----------------------------------------------------------------------------------------------------------

_SUBSCRIPTION_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--space", help="Only this space, an id or a name; else OCTOWAIT_OCTOPUS_SPACES, else all."),
    as_json,
)


def _subscription(name: str, example: str) -> Callable[[Callable[..., Any]], click.Command]:
    return subscription.command(name, cls=_Command, epilog=example)


def _in_spaces(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in _SUBSCRIPTION_OPTIONS:
        command = option(command)
    return command


@cli.group("subscription")
def subscription() -> None:
    """Let Octopus tell octowait what happens: one subscription in each space.

    Needs OCTOWAIT_OCTOPUS_URL and OCTOWAIT_OCTOPUS_API_KEY.
    """


@_subscription("ensure", "octowait subscription ensure --dry-run\noctowait subscription ensure --space Spaces-1")
@click.option("--webhook-url", help="Where Octopus posts to.  [default: OCTOWAIT_PUBLIC_URL/webhooks/octopus]")
@click.option("--dry-run", is_flag=True, help="Change nothing; exit status 1 means that something would change.")
@click.option("--rotate-secret", is_flag=True, help="Write the secret also when nothing else is to change.")
@_in_spaces
def subscription_ensure(
    space: str | None, webhook_url: str | None, dry_run: bool, rotate_secret: bool, as_json: bool
) -> None:
    """Create the subscription where it is missing and correct it where it is not as it should be."""
    from app.subscription import ensure_all, octopus_of

    settings = load_settings()
    with octopus_of(settings) as octopus:
        outcomes = ensure_all(
            octopus, settings, space=space, webhook_url=webhook_url, dry_run=dry_run, rotate=rotate_secret
        )
    _tell_outcomes(settings, outcomes, as_json)


@_subscription("show", "octowait subscription show")
@_in_spaces
def subscription_show(space: str | None, as_json: bool) -> None:
    """Show the subscription of each space, and when Octopus last looked for events for it."""
    from app.subscription import name_of, octopus_of
    from app.subscription_words import fact_lines, facts_of_all

    settings = load_settings()
    with octopus_of(settings) as octopus:
        shown = facts_of_all(octopus, settings, space)
    if as_json:
        _print_json(shown)
        return
    for facts in shown:
        _print_lines(fact_lines(facts, name_of(settings)))


@_subscription("remove", "octowait subscription remove --space Spaces-1 --dry-run")
@click.option("--dry-run", is_flag=True, help="Remove nothing; exit status 1 means that something would be.")
@_in_spaces
def subscription_remove(space: str | None, dry_run: bool, as_json: bool) -> None:
    """Delete the subscription that 'ensure' made, and no other."""
    from app.subscription import octopus_of, remove_all

    settings = load_settings()
    with octopus_of(settings) as octopus:
        outcomes = remove_all(octopus, settings, space=space, dry_run=dry_run)
    _tell_outcomes(settings, outcomes, as_json)


def _tell_outcomes(settings: Settings, outcomes: Sequence[Outcome], as_json: bool) -> None:
    """Print *outcomes* and end with status 1 where something failed or is still to be done."""
    from app.subscription import name_of
    from app.subscription_words import outcome_lines

    if as_json:
        _print_json([outcome.as_json() for outcome in outcomes])
    else:
        for outcome in outcomes:
            _print_lines(outcome_lines(name_of(settings), outcome))
    if any(outcome.outcome == "failed" or outcome.outcome.startswith("would_") for outcome in outcomes):
        sys.exit(REFUSED)


@_command("doctor", "octowait doctor\noctowait doctor --json")
@as_json
@_with_gate
def doctor(gate: Gate, as_json: bool) -> None:
    """Look for everything that can be set up wrong, in octowait, Redis and Octopus, and say what to do about it.

    Exit status 1 means that there is an error; warnings and what could not be looked at leave it at 0.
    """
    from app.doctor.examination import examine, open_case
    from app.doctor.findings import finding_lines, has_error, summary
    from app.gate import DirectGate, HttpGate

    settings = gate.settings if isinstance(gate, DirectGate) else load_settings()
    is_here = isinstance(gate, HttpGate) and gate.url == _address_here(settings)
    findings = []
    with open_case(settings, gate, is_here=is_here) as case:
        for finding in examine(case):
            findings.append(finding)
            if not as_json:
                _print_lines(finding_lines(finding))
    _print_json([finding.as_json() for finding in findings]) if as_json else click.echo(summary(findings))
    sys.exit(REFUSED if has_error(findings) else 0)


# --- looking back -----------------------------------------------------------------------------------------------------


@_command("ledger", "octowait ledger --since 30d --by blocker\noctowait ledger --by week --format csv > ledger.csv")
@click.option("--by", type=click.Choice(["machine", "project", "blocker", "environment", "week"]), default="machine",
              show_default=True, help="The blocker is the project of the run in the way.")  # fmt: skip
@click.option("--machine", help="Only what was lost at this machine.")
@click.option("--project", help="Only what runs of this project id lost.")
@click.option("--since", default="30d", show_default=True, help="From then on: 24h, 7d ago, or ISO 8601.")
@click.option("--until", help="Before then: 24h, 7d ago, or ISO 8601.")
@click.option("--format", "form", type=click.Choice(["table", "csv"]), default="table", show_default=True)
@as_json
@_with_gate
def ledger(
    gate: Gate, by: str, machine: str | None, project: str | None, since: str, until: str | None, form: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Show how much time was lost by waiting, where, by whom and to whom, and the longest waits."""
    from app.insight_tables import ledger_lines, ledger_table

    query: dict[str, object] = {
        "by": by, "machine_id": machine, "project_id": project,
        "from_ms": _moment(since, ago=True), "to_ms": _moment(until, ago=True),
    }  # fmt: skip
    if form == "csv" and not as_json:
        for line in gate.lines("/api/ledger", query={**query, "format": "csv"}):
            sys.stdout.write(line)
        return
    answer = gate.call("GET", "/api/ledger", query=query)
    if as_json:
        _print_json(answer)
        return
    _print_table(ledger_table(answer))
    _print_lines(ledger_lines(answer))


@_command("explain", "octowait explain ServerTasks-4711")
@click.argument("task")
@as_json
@_with_gate
def explain(gate: Gate, task: str, as_json: bool) -> None:
    """Say why a run does not start: who is in its way, what would let it go, what would change that."""
    from app.insight_tables import explain_lines

    answer = gate.call("GET", f"/api/waits/{task}/explain")
    _print_json(answer) if as_json else _print_lines(explain_lines(answer))


@_command("eta-report", "octowait eta-report")
@as_json
@_with_gate
def eta_report(gate: Gate, as_json: bool) -> None:
    """Show how often waits took no longer than was foretold when they began."""
    from app.insight_tables import accuracy_table

    answer = gate.call("GET", "/api/eta-report")
    _print_json(answer) if as_json else _print_table(accuracy_table(answer))


__all__ = ["PREFIX", "cli", "main"]
