"""Authorization: bearer tokens with a role, and for the pages a session that was opened with one."""

from __future__ import annotations

import hashlib
import hmac
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from flask import current_app, g, request, session

from app.coordination.attempts import MOST_TOKENS, Attempts
from app.coordination.board import Board
from app.domain.access.identity import Identity
from app.domain.ids import is_id
from app.domain.neutral import visible
from app.settings import Settings
from app.settings.values import STRONG, Token
from app.store.errors import StoreError
from app.store.fairness import serve
from app.web.errors import Problem
from app.web.peers import PROXY, group_of
from app.web.sessions import PERSON
from app.web.step_headers import execution_of
from app.web.step_identity import Issuer
from app.web.tokens import Tokens

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Which roles may do what a role is asked for. A viewer must not poll: a poll is a sign of life of somebody else.
ALLOWS = {"step": {"step", "admin"}, "viewer": {"viewer", "admin"}, "admin": {"admin"}}

#: Where a request has its token, or the problem with it, once somebody has looked for it.
_LOOKED_FOR = "octowait.token"


class TooManyAttempts(Problem):
    """From this address came so many wrong tokens that none which could have been guessed counts for a minute."""

    def __init__(self, seconds: int) -> None:
        super().__init__(429, "too_many_attempts", f"too many wrong tokens from this address: try again in {seconds} s",
                         headers={"Retry-After": str(seconds)})  # fmt: skip


class Doorkeeper:
    """Lets in who has a token, and lets nobody try one after the other.

    A token of `STRONG` characters or more is let in whatever its neighbours behind the same address try: nobody guesses
    it, and steps that are refused would go on without their machines, or fail.
    """

    def __init__(self, tokens: Tokens, attempts: Attempts, board: Board, issuer: Issuer | None = None) -> None:
        self._tokens = tokens
        self._attempts = attempts
        self._board = board
        self._issuer = issuer

    def find(self, secret: str, address: str, execution: tuple[str, str] | None = None) -> Token | None:
        """The token with that secret; None if there is none.

        Args:
            execution: The task and the claim of a step that calls: a token that was valid when it joined stays so for
                its claim.

        Raises:
            TooManyAttempts: of a wrong or a short one, where too many were wrong.
            Problem: 503; it was signed, and the keys of its issuer cannot be read now.
        """
        token = self._tokens.find(secret) or (self._issuer.find(secret) if self._issuer else None)
        if token and len(token.secret) >= STRONG:
            return token
        # Without Redis nothing else goes on either.
        with suppress(StoreError):
            if token is None and execution and (former := self._former(secret, *execution)):
                return former
        key = f"bearer:{group_of(address)}"
        # Without Redis nothing else goes on either.
        with suppress(StoreError):
            if seconds := self._attempts.seconds_to_wait(key, most=MOST_TOKENS):
                raise TooManyAttempts(seconds)
            if token is None:
                self._attempts.failed(key)
        return token

    def find_step(self, environ: WSGIEnvironment) -> Token | None:
        """The token of a request, if it may do what steps do.

        Raises:
            Problem: as `find`.
        """
        token = self.find_bearer(environ)
        return token if token and token.role in ALLOWS["step"] else None

    def find_bearer(self, environ: WSGIEnvironment) -> Token | None:
        """The token in the header of a request, looked for once whoever asks: a wrong one is one attempt.

        Raises:
            Problem: as `find`.
        """
        if _LOOKED_FOR not in environ:
            environ[_LOOKED_FOR] = self._looked_for(environ)
        token, problem = environ[_LOOKED_FOR]
        if problem:
            raise problem
        if token:
            serve(f"token {token.name}")
        return cast("Token | None", token)

    def _looked_for(self, environ: WSGIEnvironment) -> tuple[Token | None, Problem | None]:
        secret = bearer(environ.get("HTTP_AUTHORIZATION", ""))
        if not secret:
            return None, None
        try:
            return self.find(secret, environ.get("REMOTE_ADDR", ""), execution_of(environ)), None
        except Problem as problem:
            return None, problem

    def _former(self, secret: str, task_id: str, claim: str) -> Token | None:
        place = self._board.place(task_id) if is_id(task_id) else None
        run = place.run if place else None
        if run is None or run.claim != claim or not run.credential or not run.owner:
            return None
        if not hmac.compare_digest(run.credential, credential_of(claim, secret)):
            return None
        return Token("step", run.owner, secret, grants=Identity(run.owner))


def credential_of(claim: str, secret: str) -> str:
    """What is kept of a token with a claim: it opens that claim and nothing else."""
    return hashlib.sha256(f"{claim}:{secret}".encode()).hexdigest()[:32]


def bearer(header: str) -> str | None:
    """The secret of an Authorization header of the scheme Bearer."""
    scheme, _, secret = header.partition(" ")
    return secret.strip() or None if scheme.lower() == "bearer" else None


def caller() -> Token | None:
    """Who calls: by the token of the Authorization header, else the word of a trusted proxy, else the session."""
    if "Authorization" in request.headers:
        return _bearer_token()
    settings: Settings = current_app.extensions["octowait"].settings
    user = request.headers.get(settings.trusted_user_header or "-", "").strip()
    if user and PROXY in request.environ:
        return Token("viewer", visible(user)[:100], "")
    tokens: Tokens = current_app.extensions["octowait.tokens"]
    if failure := getattr(session, "failure", None):
        raise failure
    if settings.oidc_issuer and (person := session.get(PERSON)):
        return Token(person["role"], person["name"], "")
    return tokens.find_digest(session.get("token", ""))


def require(role: str) -> Token:
    """The token of the caller of the API.

    A browser sends the session's cookie with every request to this host, also with those that a page of another port
    makes it send. So it opens nothing but what the pages read: a request that changes something, or that is a sign of
    life, needs the token itself.

    Raises:
        Problem: 401 without a valid token, 403 with one of another role.
    """
    reads = role == "viewer" and request.method in ("GET", "HEAD")
    token = caller() if reads else _bearer_token()
    if token is None:
        hint = " (the session of the pages reads only)" if not reads and caller() else ""
        hint += " (a step has it in its variable Octowait.Token)" if role == "step" else ""
        has_one = bearer(request.headers.get("Authorization", ""))
        wish = "one of OCTOWAIT_TOKENS," if has_one else "'Authorization: Bearer <token>' with a token"
        raise Problem(
            401, "unauthorized", f"expected {wish} of role {role}{hint}",
            headers={"WWW-Authenticate": 'Bearer realm="octowait"'},
        )  # fmt: skip
    if token.role not in ALLOWS[role]:
        raise Problem(403, "forbidden", f"token {token.name} has role {token.role}: expected role {role}")
    return token


def _bearer_token() -> Token | None:
    if "bearer_token" not in g:
        doorkeeper: Doorkeeper = current_app.extensions["octowait.doorkeeper"]
        g.bearer_token = None
        g.bearer_token = doorkeeper.find_bearer(request.environ)
    token: Token | None = g.bearer_token
    return token


def admits_delivery(given: str | None, secret: str) -> bool:
    """Whether that is the webhook's *secret*, in constant time. If so, what is done next is done for deliveries."""
    is_right = hmac.compare_digest((given or "").encode(), secret.encode())
    if is_right:
        serve("deliveries")
    return is_right
