"""The base of all commands: decorators, the connection to octowait, errors and exit statuses.

Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 cannot reach.

A command imports what it works with when it is run, in its function: the modules of commands import click, the standard
library, `app.domain` and this one only. So a command starts as fast as what it needs, and ``--help`` needs nothing.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

import click

from app.domain.neutral import visible

if TYPE_CHECKING:
    from app.client.api import Gate
    from app.settings import Settings

REFUSED, USAGE, UNREACHABLE = 1, 2, 3

#: Every command that tells something takes it.
as_json = click.option("--json", "as_json", is_flag=True, help="Print the JSON of the API.")

_GATE_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--url", envvar="OCTOWAIT_URL", help="Address of octowait.  [env: OCTOWAIT_URL]"),
    click.option("--token", envvar="OCTOWAIT_TOKEN", help="Token for --url.  [env: OCTOWAIT_TOKEN]"),
    click.option("--redis-url", help="Work on this Redis directly.  [env: OCTOWAIT_REDIS_URL]"),
)

_SPAN = re.compile(r"^(\d+)\s*(s|m|h|d)$")


class Command(click.Command):
    """Shows its examples as they were written."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.epilog:
            with formatter.section("Example" if "\n" not in self.epilog else "Examples"):
                for line in self.epilog.splitlines():
                    formatter.write(f"  {line}\n")


class Overview(click.Group):
    """Lists its commands with the whole first sentence of each."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        commands = [(name, self.commands[name]) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.get_short_help_str(limit=1000)) for name, each in commands])


class Group(Command, Overview):
    """A command that has others under it, and does something without them too."""


def command(
    name: str, example: str, *, group: click.Group | None = None
) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a command of a function, under *group* if it is one of several; *example* has one a line."""
    make = group.command if group else click.command
    return make(name, cls=Command, epilog=example)


def with_gate(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command *gate* for the options --url, --token and --redis-url."""

    @click.pass_context
    def run(ctx: click.Context, /, url: str | None, token: str | None, redis_url: str | None, **rest: Any) -> None:
        if ctx.invoked_subcommand is None:
            ctx.invoke(function, gate=find_gate(url, token, redis_url), **rest)

    run.__doc__ = function.__doc__
    run.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    for option in _GATE_OPTIONS:
        run = option(run)
    return run


def find_gate(url: str | None, token: str | None, redis_url: str | None) -> Gate:
    """In this order: --url or its variable, --redis-url or the setting, the octowait that runs here."""
    from app.settings import BadSettings, load_settings
    from app.settings.generated import read_secrets, with_secrets

    settings = load_settings()
    generated = read_secrets(settings.data_dir) or {}
    if generated and not settings.tokens:
        settings = with_secrets(settings)
    if redis_url or (settings.redis_url and not url):
        # Octowait as a whole, which a call over HTTP does without.
        from app.client.in_process import DirectGate

        return DirectGate(settings.model_copy(update={"redis_url": redis_url or settings.redis_url}))
    if not token:
        by_role = {known.role: known.secret for known in settings.tokens}
        token = by_role.get("admin") or by_role.get("viewer") or by_role.get("step")
    if not token:
        raise BadSettings(
            "OCTOWAIT_TOKEN is not set and no octowait keeps its secrets here: expected --token, OCTOWAIT_TOKEN or a "
            f"readable {settings.data_dir / 'secrets.env'}"
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise BadSettings("--token: expected letters, digits and signs without a blank or a line end")
    from app.client.http import HttpGate

    return HttpGate(checked_address(url) if url else _own_address(settings, token, generated), token)


def checked_address(url: str) -> str:
    """*url* if octowait can be at it.

    Raises:
        BadSettings: it is no address of HTTP; the message says what was expected.
    """
    from app.settings import BadSettings

    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if "@" in url:
        raise BadSettings("--url: expected an address without user and password; --token signs in")
    if not is_address or not url.isascii() or not url.isprintable() or " " in url:
        near = f": is http://{url} meant?" if re.match(r"^[A-Za-z0-9.-]+(:[0-9]+)?(/\S*)?\Z", url) else ""
        raise BadSettings(
            f"--url (OCTOWAIT_URL): expected an address such as https://octowait.example.com, got {url[:200]!r}{near}"
        )
    return url


def _own_address(settings: Settings, token: str, generated: Mapping[str, str]) -> str:
    """`address_here`, if *token* is one of that directory: another must not go to whatever a file says.

    Raises:
        BadSettings: it is not.
    """
    from app.settings import ADDRESS_FILE, BadSettings
    from app.settings.generated import secrets_file, tokens_in

    address = address_here(settings)
    if address == f"http://{settings.bind}" or token in {known.secret for known in tokens_in(generated)}:
        return address
    raise BadSettings(
        f"{settings.data_dir / ADDRESS_FILE} says where octowait is, and the token is none of "
        f"{secrets_file(settings.data_dir)}: expected --url or OCTOWAIT_URL beside the token"
    )


def address_here(settings: Settings) -> str:
    """OCTOWAIT_BIND where it is set, else where 'octowait up' said that it listens."""
    from app.settings import ADDRESS_FILE

    if "bind" not in settings.model_fields_set:
        try:
            return (settings.data_dir / ADDRESS_FILE).read_text().strip()
        except OSError:
            pass
    return f"http://{settings.bind}"


def parse_moment(text: str | None, *, ago: bool) -> int | None:
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


@contextmanager
def readable_errors() -> Iterator[None]:
    """End the process with one line and its exit status where octowait, Redis or a setting is the matter."""
    try:
        yield
    except BrokenPipeError:
        # The reader of our output has seen enough; what is left in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        _fail_at(error)
        raise


def _fail_at(error: Exception) -> None:
    """Returns where *error* is none that a person could mend."""
    from app.client.api import CannotReach, Refused
    from app.settings import BadSettings
    from app.store.errors import BadStoreAddress, StoreError

    match error:
        case BadSettings():
            fail(str(error), USAGE)
        case BadStoreAddress():
            fail(f"Redis URL {error}", USAGE)
        case Refused():
            fail(f"{error} ({error.code})", REFUSED)
        case CannotReach() | StoreError():
            fail(str(error), UNREACHABLE)


def fail(message: str, status: int) -> NoReturn:
    """End the process with *message* on standard error."""
    click.echo(f"octowait: {visible(message, but=chr(10))}", err=True)
    sys.exit(status)
