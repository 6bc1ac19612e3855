"""The settings: environment variables that start with OCTOWAIT_, read once when a process starts."""

from __future__ import annotations

import os
import re
import secrets as random_secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from app.domain.ids import space_id_of

PREFIX = "OCTOWAIT_"

#: In the data directory: where the octowait that was started there listens.
ADDRESS_FILE = "address"

ROLES = ("step", "viewer", "admin")


class BadSettings(Exception):
    """A setting is wrong; the message names the variable, its value and what was expected."""


@dataclass(frozen=True)
class Token:
    """Who may call, and as what."""

    role: str
    name: str
    secret: str = field(repr=False)


def _tokens(text: object) -> object:
    if not isinstance(text, str):
        return text
    tokens = []
    for entry in filter(None, (part.strip() for part in re.split(r"[,\n]", text))):
        role, _, rest = entry.partition(":")
        name, _, secret = rest.partition(":")
        if role not in ROLES or not name or len(secret) < 8:
            raise ValueError(
                "expected role:name:token, comma separated; roles step, viewer, admin; tokens of 8 characters or more"
            )
        tokens.append(Token(role, name, secret))
    return tuple(tokens)


def _names(text: object) -> object:
    return tuple(filter(None, (part.strip() for part in text.split(",")))) if isinstance(text, str) else text


def _spaces(text: object) -> object:
    names = _names(text)
    # A name would be taken for an id, and Octopus would know no such space: nobody would ever be granted.
    if isinstance(names, tuple) and not all(space_id_of(name) for name in names):
        raise ValueError("expected ids of spaces, comma separated, such as Spaces-1,Spaces-2")
    return names


def _targets(text: object) -> object:
    """The addresses of a list; one can have commas in it, so a comma ends one only where another begins."""
    if not isinstance(text, str):
        return text
    addresses = [part.strip() for part in re.split(r"[,\s]+(?=[A-Za-z][A-Za-z0-9+.-]*://)", text.strip().strip(","))]
    if any(not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://\S+\Z", address) for address in filter(None, addresses)):
        raise ValueError("expected addresses of Apprise, comma separated, such as slack://…, mailto://… or json://…")
    return tuple(SecretStr(address) for address in addresses if address)


def _bind(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError("expected host:port, e.g. 127.0.0.1:8080")
    return text


def _url(text: str | None) -> str | None:
    if text and not re.match(r"https?://[^/\s]+", text):
        raise ValueError("expected an address such as https://octopus.example.com")
    return text.rstrip("/") if text else None


def _parts(address: str) -> list[str]:
    """What of an address of Apprise may be a secret by itself: a password, a token in its path."""
    password = urlsplit(address).netloc.rpartition("@")[0].partition(":")[2]
    return [unquote(password), *(part for part in re.split(r"[/?&=@:]+", address) if len(part) >= 16)]


Positive = Annotated[int, Field(gt=0)]
Seconds = Positive
Url = Annotated[str | None, AfterValidator(_url)]


class Settings(BaseSettings):
    """What an operator can set; a secret can also stand in a file that ``<NAME>_FILE`` names."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="ignore")

    #: Empty: an embedded server with its data in DATA_DIR.
    redis_url: str = ""
    #: Runs of different namespaces know nothing of each other.
    namespace: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")] = "default"
    bind: Annotated[str, AfterValidator(_bind)] = "127.0.0.1:8080"
    #: Where people and Octopus reach this, for links.
    public_url: Url = None
    webhook_secret: SecretStr | None = None
    webhook_header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")] = "X-Octowait-Secret"
    tokens: Annotated[tuple[Token, ...], NoDecode, BeforeValidator(_tokens)] = ()
    octopus_url: Url = None
    octopus_api_key: SecretStr | None = None
    #: Ids; empty: all that the key may see.
    octopus_spaces: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_spaces)] = ()
    #: Tasks that Octopus runs at once; empty: unknown.
    task_cap: Positive | None = None
    #: Slots of TASK_CAP that blocking waiters leave to others.
    task_cap_reserve: Annotated[int, Field(ge=0)] = 2
    #: Requests to Octopus a minute, of all processes together.
    octopus_rpm: Positive = 60
    waiter_ttl_seconds: Seconds = 60
    #: Empty: a lease lives as long as its task.
    max_hold_seconds: Seconds | None = None
    paused_holds: bool = True
    #: How long the machines of a task that Octopus has abandoned stay busy.
    abandoned_grace_seconds: Annotated[int, Field(ge=0)] = 0
    #: How long machines are presumed busy with a started run of which nobody will know which it uses.
    provisional_seconds: Seconds = 60
    #: How long a run whose project comes with a step or a gate of octowait is expected to ask.
    expect_step_seconds: Seconds = 120
    clock_tolerance_seconds: Annotated[int, Field(ge=0)] = 5
    reconcile_seconds: Seconds = 30
    watch_seconds: Seconds = 5
    catch_up_seconds: Seconds = 300
    timeline_retention_days: Positive = 90
    max_body_kib: Positive = 256
    #: Where people are told that something needs them: addresses of Apprise.
    notify_urls: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_targets)] = ()
    #: A wait of so long is told of.
    notify_wait_seconds: Seconds = 900
    log_format: Literal["text", "json"] = "text"
    #: ``debug`` also says one line for each request.
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    #: Where the embedded server keeps its data and `Secrets` its file.
    data_dir: Path = Path(".octowait")
    #: Where the timeline's archive is; empty: in DATA_DIR.
    archive_dir: Path | None = None
    #: Web processes.
    web_processes: Annotated[int, Field(gt=0, le=64)] = 2

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource, dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:  # fmt: skip
        return (init_settings, env_settings)

    @property
    def waiter_ttl(self) -> timedelta:
        return timedelta(seconds=self.waiter_ttl_seconds)

    @property
    def archive_directory(self) -> Path:
        """Where the timeline's archive is."""
        return self.archive_dir or self.data_dir / "archive"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        parts = urlsplit(self.redis_url.removeprefix("unix:"))
        query = parse_qs(parts.query)
        hidden = [self.webhook_secret, self.octopus_api_key, *self.notify_urls]
        return tuple(filter(None, (
            *(secret.get_secret_value() for secret in hidden if secret), *(token.secret for token in self.tokens),
            *(part for secret in self.notify_urls for part in _parts(secret.get_secret_value())),
            unquote(parts.netloc.rpartition("@")[0].partition(":")[2]), *query.get("sentinel_password", ()),
        )))  # fmt: skip

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach what listens on BIND."""
        host = self.bind.rpartition(":")[0].strip("[]")
        try:
            return host == "localhost" or ip_address(host).is_loopback
        except ValueError:
            return False

    @property
    def base_url(self) -> str:
        """Where people reach this: PUBLIC_URL, else BIND."""
        return self.public_url or f"http://{self.bind}"


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings in *environ* (the process's by default), with the files that ``…_FILE`` variables name.

    Raises:
        BadSettings: a value is wrong, or a file cannot be read.
    """
    environ = os.environ if environ is None else environ
    given: dict[str, Any] = {}
    for name in Settings.model_fields:
        variable = PREFIX + name.upper()
        path = environ.get(f"{variable}_FILE")
        if path and environ.get(variable):
            raise BadSettings(f"{variable} and {variable}_FILE are both set: expected one of them")
        if path:
            try:
                given[name] = Path(path).read_text().strip()
            except OSError as error:
                raise BadSettings(f"{variable}_FILE={path}: expected a readable file ({error.strerror})") from error
        elif environ.get(variable):
            given[name] = environ[variable]
    try:
        return Settings(**given)
    except ValidationError as error:
        raise BadSettings("\n".join(_complaint(problem, given) for problem in error.errors())) from error


def _complaint(problem: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    name = str(problem["loc"][0])
    secret = name in ("tokens", "webhook_secret", "octopus_api_key", "redis_url", "notify_urls")
    shown = "(not shown)" if secret else repr(given.get(name))
    return f"{PREFIX}{name.upper()}={shown}: {problem['msg'].removeprefix('Value error, ')}"


def with_secrets(settings: Settings) -> Settings:
    """*settings* with the secrets that nobody set taken from ``secrets.env`` in the data directory, made if missing.

    Raises:
        BadSettings: secrets are missing and BIND can be reached from other machines.
    """
    if settings.webhook_secret and settings.tokens:
        return settings
    missing = [
        PREFIX + name
        for name, value in (("WEBHOOK_SECRET", settings.webhook_secret), ("TOKENS", settings.tokens))
        if not value
    ]
    if not settings.is_loopback:
        raise BadSettings(
            f"{PREFIX}BIND={settings.bind} can be reached from other machines: "
            f"expected {' and '.join(missing)} to be set"
        )
    kept = read_secrets(settings.data_dir) or _write_secrets(settings.data_dir)
    return settings.model_copy(
        update={
            "webhook_secret": settings.webhook_secret or SecretStr(kept[f"{PREFIX}WEBHOOK_SECRET"]),
            "tokens": settings.tokens or _tokens(kept[f"{PREFIX}TOKENS"]),
        }
    )


def secrets_file(data_dir: Path) -> Path:
    return data_dir / "secrets.env"


def read_secrets(data_dir: Path) -> dict[str, str] | None:
    """What `with_secrets` generated, by variable; None if it did not, or they are not ours to read."""
    try:
        lines = secrets_file(data_dir).read_text().splitlines()
    except OSError:
        return None
    kept = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return kept if {f"{PREFIX}WEBHOOK_SECRET", f"{PREFIX}TOKENS"} <= kept.keys() else None


def _write_secrets(data_dir: Path) -> dict[str, str]:
    tokens = ",".join(f"{role}:local:{random_secrets.token_urlsafe(24)}" for role in ROLES)
    kept = {f"{PREFIX}WEBHOOK_SECRET": random_secrets.token_urlsafe(24), f"{PREFIX}TOKENS": tokens}
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = "# Made by octowait for this machine only.\n" + "".join(f"{k}={v}\n" for k, v in kept.items())
    try:
        # Two processes can start at once: the file appears whole or not at all, and the first one's counts.
        draft = data_dir / f"secrets.env.{os.getpid()}"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        os.link(draft, secrets_file(data_dir))
    except FileExistsError:
        return read_secrets(data_dir) or kept
    finally:
        draft.unlink(missing_ok=True)
    return kept
