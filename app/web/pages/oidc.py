"""Signing in through an OpenID Connect provider: authorization code with PKCE, by Authlib.

Who has signed in there is a viewer or an admin by the groups that the provider names; nobody else is let in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import structlog
from flask import current_app, g, redirect, render_template, request, session

from app.domain.neutral import visible
from app.settings import Settings
from app.web.api.routing import current_services
from app.web.errors import Problem
from app.web.pages.base import blueprint, local_target
from app.web.peers import group_of
from app.web.sessions import PERSON

log = structlog.get_logger()

#: How one minute's starts of one address are counted: each keeps a few hundred bytes in Redis for ten minutes.
MOST_STARTS = 60

#: What an ID token may be signed with: what only the provider has. Nothing that the client's own secret could sign.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")

#: Claims that name a person, the first that is there; and groups.
_NAMES = ("preferred_username", "email", "name", "sub")
_GROUPS = ("groups", "roles")


def client_of(settings: Settings) -> Any:
    """Authlib's client of the provider; None without one."""
    if not (settings.oidc_issuer and settings.oidc_client_id):
        return None
    # Imported where it is called for: a web process of an octowait without a provider is smaller.
    from authlib.integrations.flask_client import OAuth

    secret = settings.oidc_client_secret
    return OAuth(current_app).register(
        "oidc", client_id=settings.oidc_client_id, client_secret=secret.get_secret_value() if secret else None,
        server_metadata_url=f"{settings.oidc_issuer}/.well-known/openid-configuration",
        client_kwargs={"scope": settings.oidc_scope, "code_challenge_method": "S256", "timeout": 10,
                       "token_endpoint_auth_method": "client_secret_basic" if secret else "none"},
    )  # fmt: skip


def role_of(claims: Mapping[str, Any], settings: Settings) -> str | None:
    """The role of who has these claims; None: he may not sign in."""
    groups = {str(group) for name in _GROUPS for group in _list(claims.get(name))}
    if groups & set(settings.oidc_admin_groups):
        return "admin"
    return "viewer" if groups & set(settings.oidc_viewer_groups) else None


def name_of(claims: Mapping[str, Any]) -> str:
    """What the timeline calls who has these claims."""
    return visible(next(str(claims[name]) for name in _NAMES if claims.get(name)))[:100]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value] if isinstance(value, str) else []


@blueprint.get("/sign-in/oidc")
def begin_oidc() -> Any:
    """Send the browser to the provider."""
    client, services = _client(), current_services()
    key = f"oidc:{group_of(request.remote_addr or '')}"
    if seconds := services.attempts.seconds_to_wait(key, most=MOST_STARTS):
        raise Problem(429, "too_many_attempts", f"try again in {seconds} s", headers={"Retry-After": str(seconds)})
    services.attempts.failed(key)
    session.clear()
    session["next"] = local_target(request.args.get("next", "/"))
    callback = f"{services.settings.base_url}/sign-in/callback"
    return _ask_provider(client, lambda: client.authorize_redirect(callback))


@blueprint.get("/sign-in/callback")
def end_oidc() -> Any:
    """Take the browser back from the provider."""
    settings, client = current_services().settings, _client()
    token = _ask_provider(client, client.authorize_access_token)
    claims: Mapping[str, Any] = token.get("userinfo") or {}
    if not claims.get("sub"):
        return _refused("The provider did not say who you are.")
    role, target = role_of(claims, settings), session.get("next", "/")
    if role is None:
        return _refused(f"{name_of(claims)} is in no group that may use octowait. Ask whoever runs it.")
    session.clear()
    session.update({PERSON: {"name": name_of(claims), "role": role}, "is_new": True})
    log.info("signed in", who=name_of(claims), role=role)
    return redirect(local_target(target), 303)


def _client() -> Any:
    client = client_of(current_services().settings)
    if client is None:
        raise Problem(404, "not_found", "no provider is configured: expected OCTOWAIT_OIDC_ISSUER")
    return client


def _ask_provider(client: Any, call: Callable[[], Any]) -> Any:
    """What *call*, which asks the provider, returns.

    Raises:
        Problem: 403 or 503; it says no, or what it says is not to be believed, or it does not answer.
    """
    from authlib.common.errors import AuthlibBaseError
    from joserfc.errors import JoseError

    settings = current_services().settings
    try:
        _check(client.load_server_metadata(), settings)
        return call()
    except (AuthlibBaseError, JoseError, KeyError, TypeError, ValueError, RuntimeError) as error:
        log.warning("sign-in through the provider failed", error=str(error)[:300])
        raise Problem(403, "forbidden", "the provider did not confirm who you are: sign in again") from error
    except OSError as error:
        log.warning("the provider does not answer", error=str(error)[:300])
        raise Problem(503, "no_provider", f"{settings.oidc_issuer} does not answer: sign in with a token") from error


def _check(metadata: dict[str, Any], settings: Settings) -> None:
    if str(metadata.get("issuer", "")).rstrip("/") != settings.oidc_issuer:
        raise ValueError(f"the provider calls itself {metadata.get('issuer')!r}: expected OCTOWAIT_OIDC_ISSUER")
    supported = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
    metadata["id_token_signing_alg_values_supported"] = [each for each in supported if each in ALGORITHMS]


def _refused(complaint: str) -> Any:
    session.clear()
    g.refused_because = complaint
    return render_template("sign_in.html", next="/", complaint=complaint), 403
