"""The settings: environment variables that start with OCTOWAIT_, read once when a process starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from app.domain.addresses import without_passwords
from app.settings.values import (
    STRONG,
    Network,
    Positive,
    Seconds,
    Token,
    Url,
    checked_bind,
    checked_public_url,
    checked_subject_keys,
    parse_networks,
    parse_spaces,
    parse_targets,
    parse_tokens,
    parse_words,
    password_in,
    secret_parts,
)

PREFIX = "OCTOWAIT_"

#: Variables that commands read, and no process.
OF_OTHERS = frozenset((f"{PREFIX}URL", f"{PREFIX}TOKEN"))

#: Settings whose values no message shows.
SECRET = frozenset(
    ("tokens", "webhook_secret", "witness_key", "octopus_api_key", "redis_url", "notify_urls", "oidc_client_secret")
)

#: In the data directory: where the octowait that was started there listens.
ADDRESS_FILE = "address"


class BadSettings(Exception):
    """A setting is wrong; the message names the variable, its value and what was expected."""


class Settings(BaseModel):
    """What an operator can set: `load_settings` reads it."""

    model_config = ConfigDict(frozen=True)

    #: Empty: an embedded server with its data in DATA_DIR.
    redis_url: str = ""
    #: How often the Redis server has to sync its file at least: ``always``: no grant that was told is lost.
    min_fsync: Literal["none", "everysec", "always"] = "everysec"
    #: How many replicas must have a grant before anybody is told of it.
    redis_replicas: Annotated[int, Field(ge=0, le=20)] = 0
    #: Redis may forget keys when it is full.
    allow_eviction: bool = False
    #: Runs of different namespaces know nothing of each other.
    namespace: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")] = "default"
    bind: Annotated[str, AfterValidator(checked_bind)] = "127.0.0.1:8080"
    #: Where people and Octopus reach this, for links.
    public_url: Annotated[str | None, AfterValidator(checked_public_url)] = None
    webhook_secret: SecretStr | None = None
    webhook_header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")] = "X-Octowait-Secret"
    #: Signs what steps tell octowait of its own past; the same for all hosts of one Redis, and kept out of that.
    witness_key: Annotated[SecretStr | None, Field(min_length=STRONG)] = None
    tokens: Annotated[tuple[Token, ...], BeforeValidator(parse_tokens)] = ()
    #: Where they stand, if in a file: it is read again when it changes.
    tokens_file: Path | None = None
    octopus_url: Url = None
    octopus_api_key: SecretStr | None = None
    #: Ids; empty: all that the key may see.
    octopus_spaces: Annotated[tuple[str, ...], BeforeValidator(parse_spaces)] = ()
    #: Tasks that Octopus runs at once; empty: unknown.
    task_cap: Positive | None = None
    #: Slots of TASK_CAP that blocking waiters leave to others.
    task_cap_reserve: Annotated[int, Field(ge=0)] = 2
    #: Requests to Octopus a minute, of all processes together.
    octopus_rpm: Positive = 60
    #: How long a waiter stays in line without a sign of life.
    waiter_ttl_seconds: Seconds = 120
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
    #: Within how long a whole body has to arrive.
    body_seconds: Seconds = 30
    #: Where people sign in besides tokens: an OpenID Connect provider, and octowait's client there.
    oidc_issuer: Url = None
    oidc_client_id: str = ""
    oidc_client_secret: SecretStr | None = None
    #: What is asked of it; the groups of a person are in the claim ``groups`` or ``roles``.
    oidc_scope: str = "openid profile email"
    oidc_admin_groups: Annotated[tuple[str, ...], BeforeValidator(parse_words)] = ()
    oidc_viewer_groups: Annotated[tuple[str, ...], BeforeValidator(parse_words)] = ()
    #: Where the identities of steps are signed: Octopus itself; for whom, and the keys of their subject that count.
    step_oidc_issuer: Url = None
    step_oidc_audience: str = "octowait"
    step_oidc_subject_keys: Annotated[
        tuple[str, ...], BeforeValidator(parse_words), AfterValidator(checked_subject_keys)
    ] = ("space", "project")
    #: The header in which a trusted proxy names who has signed in there.
    trusted_user_header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]*$")] = ""
    #: Reverse proxies whose word about the client's address and scheme counts: addresses and networks.
    trusted_proxies: Annotated[tuple[Network, ...], BeforeValidator(parse_networks)] = ()
    #: Where people are told that something needs them: addresses of Apprise.
    notify_urls: Annotated[tuple[SecretStr, ...], BeforeValidator(parse_targets)] = ()
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

    @property
    def waiter_ttl(self) -> timedelta:
        return timedelta(seconds=self.waiter_ttl_seconds)

    @property
    def longest_block_seconds(self) -> float:
        """How long a poll may block, so that one that fails, a pause and the next one cost no place in the line."""
        return max(self.waiter_ttl_seconds / 2 - 5, self.waiter_ttl_seconds / 4)

    @property
    def durability(self) -> dict[str, Any]:
        """What the Redis server has to be like, as `app.domain.faults.shortcomings` takes it."""
        return {"min_fsync": self.min_fsync, "allows_eviction": self.allow_eviction, "replicas": self.redis_replicas}

    @property
    def archive_directory(self) -> Path:
        """Where the timeline's archive is."""
        return self.archive_dir or self.data_dir / "archive"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        parts = urlsplit(self.redis_url.removeprefix("unix:"))
        query = parse_qs(parts.query)
        own = [self.webhook_secret, self.witness_key, self.octopus_api_key, self.oidc_client_secret]
        hidden = [*own, *self.notify_urls]
        return tuple(filter(None, (
            *(secret.get_secret_value() for secret in hidden if secret), *(token.secret for token in self.tokens),
            *(part for secret in self.notify_urls for part in secret_parts(secret.get_secret_value())),
            password_in(parts.netloc), *query.get("sentinel_password", ()), *query.get("password", ()),
            password_in(urlsplit(self.octopus_url or "").netloc),
        )))  # fmt: skip

    @property
    def weak_secrets(self) -> tuple[str, ...]:
        """The names of secrets so short that somebody could guess them, as they are told to people."""
        named = [(f"the token {token.role}:{token.name}", token.secret) for token in self.tokens]
        if self.webhook_secret:
            named.append(("the secret of the webhook", self.webhook_secret.get_secret_value()))
        return tuple(name for name, secret in named if len(secret) < STRONG)

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
            given[name] = _text_of(variable, path)
        elif environ.get(variable):
            given[name] = environ[variable]
    try:
        settings = Settings(**given)
    except ValidationError as error:
        raise BadSettings("\n".join(_complaint(problem, given) for problem in error.errors())) from error
    _require_unique(settings, settings.tokens)
    return settings


def unknown_variables(environ: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """The variables in *environ* (the process's by default) that look like settings and are none, each with the one
    that was perhaps meant.
    """
    environ = os.environ if environ is None else environ
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    files = {f"{name}_FILE" for name in known}
    unknown = sorted({name for name in environ if name.startswith(PREFIX)} - known - files - OF_OTHERS)
    return {name: next(iter(get_close_matches(name, known, n=1, cutoff=0.8)), None) for name in unknown}


def read_tokens(settings: Settings) -> tuple[Token, ...]:
    """The tokens that stand in TOKENS_FILE now.

    Raises:
        BadSettings: it is not there, empty, or not well-formed, or a secret stands for two.
    """
    path = settings.tokens_file
    variable = f"{PREFIX}TOKENS"
    try:
        tokens = parse_tokens(_text_of(variable, str(path)))
    except ValueError as error:
        raise BadSettings(f"{variable}_FILE={path}: {error}") from error
    assert isinstance(tokens, tuple)
    _require_unique(settings, tokens)
    return tokens


def _text_of(variable: str, path: str) -> str:
    try:
        text = Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise BadSettings(f"{variable}_FILE={path}: expected a readable file ({why})") from error
    if not text and variable == f"{PREFIX}TOKENS":
        # It may be half-written, and made-up tokens in its place would let nobody in.
        raise BadSettings(f"{variable}_FILE={path} is empty: expected role:name:token in it")
    return text


def _require_unique(settings: Settings, tokens: tuple[Token, ...]) -> None:
    """Raises BadSettings where two have the same secret: who has the one would be the other."""
    webhook = settings.webhook_secret
    owners = {webhook.get_secret_value(): f"{PREFIX}WEBHOOK_SECRET"} if webhook else {}
    for token in tokens:
        name = f"{token.role}:{token.name}"
        if other := owners.get(token.secret):
            raise BadSettings(f"{PREFIX}TOKENS: {name} has the secret of {other}: expected one of its own for each")
        owners[token.secret] = name


def _complaint(problem: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    name = str(problem["loc"][0])
    secret = name in SECRET
    value = "(not shown)" if secret else without_passwords(repr(given.get(name)))
    return f"{PREFIX}{name.upper()}={value}: {problem['msg'].removeprefix('Value error, ')}"
