"""Identities of steps that Octopus has signed: a JSON Web Token of a generic OIDC account, in the place of a token.

Octopus makes it anew for each run, for the space, project and environment of that run. So nobody who reads the
variables of a project can be another project with it.

Source: Octopus's documentation of OpenID Connect accounts, of April 2026: the subject is
``space:[slug]:project:[slug]:runbook:[slug]:tenant:[slug]:environment:[slug]:…`` with the keys that the account asks
for, and without those that have no value; newer servers also have claims ``https://octopus.com/claims/[key]``.
"""

from __future__ import annotations

import json
import threading
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from flask import Flask

from app.domain.access.identity import SIGNED, Identity
from app.domain.neutral import visible
from app.settings import Settings
from app.settings.values import Token
from app.web.errors import Problem
from app.web.tokens import digest

log = structlog.get_logger()

#: What it may be signed with: what only Octopus has.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")

#: Seconds that the clocks of Octopus and octowait may be apart.
LEEWAY_SECONDS = 60

#: Seconds for which keys count, and between two times that they are asked for since one is not among them.
KEYS_SECONDS, KEYS_APART_SECONDS = 3600.0, 30.0

#: Tokens that were checked and are remembered; of more the oldest go.
MOST_REMEMBERED = 1000

#: What newer servers put before the names of their claims.
CLAIM_PREFIX = "https://octopus.com/claims/"

#: Characters of a token, at most.
MOST_LENGTH = 8192


class Issuer:
    """Octopus as the issuer of the identities of steps.

    Args:
        client: Authlib's client, which reads its keys.
        now: Seconds since the epoch.
    """

    def __init__(self, client: Any, settings: Settings, *, now: Callable[[], float] = time.time) -> None:
        self._client = client
        self._settings = settings
        self._now = now
        self._lock = threading.Lock()
        self._keys: Any = None
        self._read_at = self._tried_at = float("-inf")
        self._remembered: dict[str, tuple[float, Token]] = {}

    @classmethod
    def of(cls, app: Flask, settings: Settings) -> Issuer | None:
        """That of STEP_OIDC_ISSUER; None without one."""
        if not settings.step_oidc_issuer:
            return None
        # Imported where it is called for: a web process without an issuer is smaller.
        from authlib.integrations.flask_client import OAuth

        client = OAuth(app).register(
            "steps", server_metadata_url=f"{settings.step_oidc_issuer}/.well-known/openid-configuration",
            client_id=settings.step_oidc_audience, client_kwargs={"timeout": 10},
        )  # fmt: skip
        return cls(client, settings)

    def find(self, secret: str) -> Token | None:
        """The token that stands for a JSON Web Token of the issuer; None if it is none, or not valid.

        Raises:
            Problem: 503; the keys of the issuer cannot be read now.
        """
        if not secret.startswith("eyJ") or secret.count(".") != 2 or len(secret) > MOST_LENGTH:
            return None
        key = digest(secret)
        until, token = self._remembered.get(key, (0.0, None))
        if token and self._now() < until:
            return token
        claims = self._checked_claims(secret)
        parts = claims and self._parts(claims)
        if not claims or not parts:
            return None
        owner = f"{SIGNED}:" + "/".join(parts[name] for name in self._settings.step_oidc_subject_keys)
        token = Token("step", owner, secret, grants=Identity(owner, signed=tuple(sorted(parts.items()))))
        self._remembered[key] = (float(claims["exp"]), token)
        if len(self._remembered) > MOST_REMEMBERED:
            self._remembered.pop(next(iter(self._remembered)), None)
        return token

    def _parts(self, claims: Mapping[str, Any]) -> dict[str, str] | None:
        """The slugs by key; None where one that counts is not there, or subject and claims differ."""
        words = str(claims.get("sub", "")).split(":")
        parts = dict(zip(words[::2], words[1::2], strict=False))
        for name, value in claims.items():
            key = name.removeprefix(CLAIM_PREFIX)
            if key != name and isinstance(value, str) and parts.setdefault(key, value) != value:
                return None
        values = {key: visible(parts.get(key, ""))[:100].lower() for key in self._settings.step_oidc_subject_keys}
        return values if all(values.values()) and len(words) % 2 == 0 else None

    def _checked_claims(self, secret: str) -> dict[str, Any] | None:
        from joserfc import jwt
        from joserfc.errors import JoseError

        try:
            keys = self._keys_for(_key_id(secret))
            claims = jwt.decode(secret, keys, algorithms=list(ALGORITHMS)).claims
            jwt.JWTClaimsRegistry(
                now=lambda: int(self._now()), leeway=LEEWAY_SECONDS,
                aud={"essential": True, "value": self._settings.step_oidc_audience}, exp={"essential": True},
                sub={"essential": True},
            ).validate(claims)  # fmt: skip
            if str(claims.get("iss", "")).rstrip("/") != self._settings.step_oidc_issuer:
                raise ValueError(f"its issuer is {str(claims.get('iss'))[:100]}")
        except (JoseError, ValueError, TypeError, KeyError) as error:
            log.info("a signed identity is not valid", error=str(error)[:300])
            return None
        return dict(claims)

    def _keys_for(self, key_id: object) -> Any:
        """The keys of the issuer; read again when they are old, or when none has that id.

        Raises:
            Problem: 503; they cannot be read, and none were.
        """
        with self._lock:
            now = self._now()
            is_known = self._keys is not None and any(key.kid == key_id for key in self._keys.keys)
            is_due = now - self._read_at > KEYS_SECONDS or not is_known
            if is_due and now - self._tried_at > KEYS_APART_SECONDS:
                self._tried_at = now
                self._read_keys()
            if self._keys is None:
                detail = f"the keys of {self._settings.step_oidc_issuer} cannot be read now: ask again"
                raise Problem(503, "no_issuer", detail, headers={"Retry-After": "10"})
            return self._keys

    def _read_keys(self) -> None:
        from authlib.common.errors import AuthlibBaseError
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        try:
            metadata = self._client.load_server_metadata()
            if str(metadata.get("issuer", "")).rstrip("/") != self._settings.step_oidc_issuer:
                raise ValueError(f"it calls itself {str(metadata.get('issuer'))[:100]!r}")
            self._keys = KeySet.import_key_set(self._client.fetch_jwk_set(force=True))
            self._read_at = self._now()
        except (AuthlibBaseError, JoseError, OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
            log.warning("the keys of STEP_OIDC_ISSUER cannot be read", error=str(error)[:300])


def _key_id(secret: str) -> object:
    head = secret.partition(".")[0]
    header = json.loads(urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    return header.get("kid") if isinstance(header, dict) else None
