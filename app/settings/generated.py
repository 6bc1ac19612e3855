"""Generated secrets: those that nobody set, kept in a file of the data directory."""

from __future__ import annotations

import os
import secrets as random_secrets
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from app.settings import PREFIX, BadSettings, Settings
from app.settings.values import ROLES, STRONG, Token, parse_tokens


def with_secrets(settings: Settings) -> Settings:
    """*settings* with the secrets that nobody set taken from ``secrets.env`` in the data directory, made if missing.

    The key for what steps have seen is made for a BIND that only this machine reaches. Others may have several hosts,
    which need the same one: without it steps are no witnesses.

    Raises:
        BadSettings: secrets are missing and BIND can be reached from other machines.
    """
    settings = _with_tokens(settings)
    if settings.witness_key or not settings.is_loopback:
        return settings
    key = _witness_key(settings.data_dir)
    return settings.model_copy(update={"witness_key": SecretStr(key)}) if key else settings


def _with_tokens(settings: Settings) -> Settings:
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
    generated = read_secrets(settings.data_dir) or _write_secrets(settings.data_dir)
    return settings.model_copy(
        update={
            "webhook_secret": settings.webhook_secret or SecretStr(generated[f"{PREFIX}WEBHOOK_SECRET"]),
            "tokens": settings.tokens or parse_tokens(generated[f"{PREFIX}TOKENS"]),
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
    values = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return values if {f"{PREFIX}WEBHOOK_SECRET", f"{PREFIX}TOKENS"} <= values.keys() else None


def tokens_in(values: Mapping[str, str]) -> tuple[Token, ...]:
    """The tokens of what `read_secrets` found."""
    tokens = parse_tokens(values.get(f"{PREFIX}TOKENS", ""))
    return tokens if isinstance(tokens, tuple) else ()


def _write_secrets(data_dir: Path) -> dict[str, str]:
    tokens = ",".join(f"{role}:local:{random_secrets.token_urlsafe(24)}" for role in ROLES)
    values = {f"{PREFIX}WEBHOOK_SECRET": random_secrets.token_urlsafe(24), f"{PREFIX}TOKENS": tokens}
    text = "# Made by octowait for this machine only.\n" + "".join(f"{k}={v}\n" for k, v in values.items())
    return values if _write_once(secrets_file(data_dir), text) else read_secrets(data_dir) or values


def _witness_key(data_dir: Path) -> str | None:
    """The key that this machine has made for itself; None where nothing can be kept."""
    path = data_dir / "witness.key"
    try:
        if not path.exists():
            _write_once(path, random_secrets.token_urlsafe(32) + "\n")
        key = path.read_text().strip()
    except OSError:
        return None
    return key if len(key) >= STRONG else None


def _write_once(path: Path, text: str) -> bool:
    """Write a file that only we may read; False if it is there already.

    Two processes can start at once: it appears whole or not at all, and the first one's counts.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink(missing_ok=True)
    return True
