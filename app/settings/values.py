"""Values of settings, read from what an operator wrote."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field, SecretStr

from app.domain.access.identity import EVERYBODY, Identity, Limits
from app.domain.ids import is_id, space_id_of
from app.domain.run import MAX_PRIORITY

#: Characters of a secret that nobody guesses, however often he may try.
STRONG = 20

ROLES = ("step", "viewer", "admin")


#: What an entry of TOKENS looks like.
_FORM = "expected role:name:token, comma separated; roles step, viewer, admin; tokens of 8 characters or more"

#: The limits of a token, and what an id of each looks like.
_LIMITS = {
    "spaces": "Spaces-1", "projects": "Projects-7", "max_priority": "10", "max_waiting": "20", "families": "web",
    "max_new_machines": "500", "max_new_mb": "50",
}  # fmt: skip


@dataclass(frozen=True)
class Token:
    """Who may call, and as what. *limits* is None where none were given."""

    role: str
    name: str
    secret: str = field(repr=False)
    limits: Limits | None = None
    #: Of one that stands in no list: what it is good for.
    grants: Identity | None = None

    @cached_property
    def identity(self) -> Identity:
        """Whose the runs are that are joined with it."""
        if self.grants:
            return self.grants
        if self.role == "admin":
            return Identity(None)
        limits = self.limits or Limits()
        # What may be asked for says nothing about whose the runs are.
        return Identity(EVERYBODY if limits.is_priority_only else self.name, limits)


def parse_tokens(text: object) -> object:
    """The tokens of ``role:name:secret;limit=value;…`` entries, by commas or lines."""
    if not isinstance(text, str):
        return text
    tokens = tuple(_token(part.strip()) for part in re.split(r"[,\n]", text) if part.strip())
    first: dict[str, Token] = {}
    for token in tokens:
        if token.role == "step" and first.setdefault(token.name, token).limits != token.limits:
            raise ValueError(f"step:{token.name} has different limits in two entries: expected the same in each")
    return tokens


def _token(entry: str) -> Token:
    entry, *limits = entry.split(";")
    role, _, rest = entry.partition(":")
    name, _, secret = rest.partition(":")
    if role not in ROLES or not name or len(secret) < 8:
        raise ValueError(_FORM)
    if name == EVERYBODY:
        raise ValueError(f"{role}:{name}: expected a name such as web")
    if limits and role != "step":
        raise ValueError(f"{role}:{name} has limits: expected them for tokens of the role step only")
    return Token(role, name, secret, _limits(f"{role}:{name}", limits) if limits else None)


def _limits(token: str, parts: list[str]) -> Limits:
    values: dict[str, str] = {}
    for key, _, value in (part.partition("=") for part in parts):
        key, value = key.strip(), value.strip()
        # What is no limit may be a part of the secret, so it is not shown.
        if key not in _LIMITS or key in values or not value:
            expected = ", ".join(f"{name}={example}" for name, example in _LIMITS.items())
            raise ValueError(f"{token}: expected limits behind ';', each once: {expected}")
        values[key] = value
    return Limits(
        spaces=_ids(token, values, "spaces"),
        projects=_ids(token, values, "projects"),
        max_priority=_number(token, values, "max_priority", -MAX_PRIORITY) or 0,
        max_waiting=_number(token, values, "max_waiting", 1),
        families=frozenset(_words(values.get("families", ""))),
        max_new_machines=_number(token, values, "max_new_machines", 1),
        max_new_mb=_number(token, values, "max_new_mb", 1),
    )


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split("|") if word.strip()]


def _ids(token: str, values: dict[str, str], name: str) -> frozenset[str]:
    ids = _words(values.get(name, ""))
    is_right = space_id_of if name == "spaces" else is_id
    if name in values and not (ids and all(is_right(each) for each in ids)):
        raise ValueError(f"{token}: {name}={values[name]}: expected ids with '|' between, e.g. {_LIMITS[name]}")
    return frozenset(each.lower() for each in ids)


def _number(token: str, values: dict[str, str], name: str, least: int) -> int | None:
    text = values.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"-?[0-9]{1,7}", text) or not least <= int(text) <= MAX_PRIORITY:
        raise ValueError(f"{token}: {name}={text}: expected a whole number from {least} to {MAX_PRIORITY}")
    return int(text)


def parse_names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def parse_words(text: object) -> object:
    return parse_names(text) if isinstance(text, str) else text


def parse_spaces(text: object) -> object:
    if not isinstance(text, str):
        return text
    names = parse_names(text)
    # A name would be taken for an id, and Octopus would know no such space: nobody would ever be granted.
    if not all(space_id_of(name) for name in names):
        raise ValueError("expected ids of spaces, comma separated, such as Spaces-1,Spaces-2")
    return names


def parse_targets(text: object) -> object:
    """The addresses of a list; one can have commas in it, so a comma ends one only where another begins."""
    if not isinstance(text, str):
        return text
    addresses = [part.strip() for part in re.split(r"[,\s]+(?=[A-Za-z][A-Za-z0-9+.-]*://)", text.strip().strip(","))]
    if any(not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://\S+\Z", address) for address in filter(None, addresses)):
        raise ValueError("expected addresses of Apprise, comma separated, such as slack://…, mailto://… or json://…")
    return tuple(SecretStr(address) for address in addresses if address)


def checked_bind(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError("expected host:port, e.g. 127.0.0.1:8080")
    return text


def checked_url(text: str | None, example: str = "https://octopus.example.com") -> str | None:
    if text and not re.match(r"https?://[^/\s]+", text):
        raise ValueError(f"expected an address such as {example}")
    return text.rstrip("/") if text else None


def checked_public_url(text: str | None) -> str | None:
    if text and "@" in urlsplit(text).netloc:
        raise ValueError("expected an address without user and password: it is part of every link")
    return checked_url(text, example="https://octowait.example.com")


def password_in(netloc: str) -> str:
    return unquote(netloc.rpartition("@")[0].partition(":")[2])


def secret_parts(address: str) -> list[str]:
    """What of an address of Apprise may be a secret by itself: a password, a token in its path."""
    return [
        password_in(urlsplit(address).netloc),
        *(part for part in re.split(r"[/?&=@:]+", address) if len(part) >= 16),
    ]


def checked_subject_keys(keys: tuple[str, ...]) -> tuple[str, ...]:
    known = ("space", "project", "runbook", "tenant", "environment", "account", "type")
    # Without a space and a project all runs of Octopus would be one owner.
    if not {"space", "project"} <= set(keys) or not set(keys) <= set(known):
        raise ValueError(f"expected space and project, and perhaps others of {', '.join(known[2:])}")
    return keys


def parse_networks(text: object) -> object:
    if not isinstance(text, str):
        return text
    try:
        return tuple(ip_network(name, strict=False) for name in parse_names(text))
    except ValueError as error:
        raise ValueError(f"expected addresses or networks, comma separated, such as 10.0.0.0/8 ({error})") from error


Positive = Annotated[int, Field(gt=0)]
Seconds = Positive
Network = IPv4Network | IPv6Network
Url = Annotated[str | None, AfterValidator(checked_url)]
