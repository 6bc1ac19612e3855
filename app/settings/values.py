"""Values of settings, read from what an operator wrote."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field, SecretStr

from app.domain.ids import space_id_of

#: Characters of a secret that nobody guesses, however often he may try.
STRONG = 20

ROLES = ("step", "viewer", "admin")


@dataclass(frozen=True)
class Token:
    """Who may call, and as what."""

    role: str
    name: str
    secret: str = field(repr=False)


def parse_tokens(text: object) -> object:
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


def checked_url(text: str | None) -> str | None:
    if text and not re.match(r"https?://[^/\s]+", text):
        raise ValueError("expected an address such as https://octopus.example.com")
    return text.rstrip("/") if text else None


def checked_public_url(text: str | None) -> str | None:
    if text and "@" in urlsplit(text).netloc:
        raise ValueError("expected an address without user and password: it is part of every link")
    return checked_url(text)


def password_in(netloc: str) -> str:
    return unquote(netloc.rpartition("@")[0].partition(":")[2])


def secret_parts(address: str) -> list[str]:
    """What of an address of Apprise may be a secret by itself: a password, a token in its path."""
    return [
        password_in(urlsplit(address).netloc),
        *(part for part in re.split(r"[/?&=@:]+", address) if len(part) >= 16),
    ]


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
