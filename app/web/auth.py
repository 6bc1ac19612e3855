"""Who calls, and whether they may: bearer tokens with a role, and for the pages a session that was opened with one."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from flask import current_app, request, session

from app.settings import Token
from app.web.problems import Problem

#: Which roles may do what a role is asked for. A viewer must not poll: a poll is a sign of life of somebody else.
ALLOWS = {"step": {"step", "admin"}, "viewer": {"viewer", "admin"}, "admin": {"admin"}}


class Tokens:
    """The configured tokens, found by digest: no comparison depends on how much of a guess is right."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._by_digest = {digest(token.secret): token for token in tokens}

    def find(self, secret: str) -> Token | None:
        return self._by_digest.get(digest(secret))

    def find_digest(self, wanted: str) -> Token | None:
        return self._by_digest.get(wanted)


def bearer(header: str) -> str | None:
    """The secret of an Authorization header of the scheme Bearer."""
    scheme, _, secret = header.partition(" ")
    return secret.strip() or None if scheme.lower() == "bearer" else None


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def session_key(tokens: Sequence[Token], webhook_secret: str) -> bytes:
    """The key that signs sessions: the same in every process, another one when the secrets change."""
    text = "\n".join([webhook_secret, *(f"{t.role}:{t.name}:{t.secret}" for t in tokens)])
    return hashlib.sha256(b"octowait session\n" + text.encode()).digest()


def caller() -> Token | None:
    """The token of this request: its Authorization header, else its session."""
    tokens: Tokens = current_app.extensions["octowait.tokens"]
    header = request.headers.get("Authorization", "")
    if header:
        secret = bearer(header)
        return tokens.find(secret) if secret else None
    return tokens.find_digest(session.get("token", ""))


def require(role: str) -> Token:
    """The caller's token.

    Raises:
        Problem: 401 without a valid token, 403 with one of another role.
    """
    token = caller()
    if token is None:
        raise Problem(
            401, "unauthorized", f"expected 'Authorization: Bearer <token>' with a token of role {role}",
            headers={"WWW-Authenticate": 'Bearer realm="octowait"'},
        )  # fmt: skip
    if token.role not in ALLOWS[role]:
        raise Problem(403, "forbidden", f"token {token.name} has role {token.role}: expected role {role}")
    return token


def is_webhook_secret(given: str | None, expected: str) -> bool:
    """Constant-time comparison."""
    return hmac.compare_digest((given or "").encode(), expected.encode())
