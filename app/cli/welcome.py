"""The welcome of ``octowait up``: two commands to try, and the link to the dashboard, which stands last."""

from __future__ import annotations

from app.client.api import CannotReach, Refused
from app.client.http import HttpGate
from app.settings import Settings
from app.settings.generated import read_secrets, secrets_file


def welcome(settings: Settings) -> str:
    """What to try, and at its very end where the dashboard is: a terminal of 24 lines shows it."""
    assert settings.webhook_secret
    is_generated, tokens = _printed_tokens(settings)
    secret = settings.webhook_secret.get_secret_value() if is_generated else "<webhook secret>"
    url, step = settings.base_url, tokens.get("step", "<step token>")
    place = f"in {secrets_file(settings.data_dir)}" if is_generated else "as you have set them"
    redis = "as you have set it" if settings.redis_url else f"embedded, data in {settings.data_dir / 'redis'}"
    dashboard = dashboard_link(settings)
    once = "open the dashboard; its link signs in once, within ten minutes"
    ready = once if "#code=" in dashboard else "open the dashboard and sign in with a token of role viewer or admin"
    return f"""
Join the line of a machine, as a wait step would (change the task for a second one, which has
to wait; it leaves the line when it has not asked again for {settings.waiter_ttl_seconds} s):

    curl -i -X PUT {url}/api/waits/ServerTasks-1 -H 'Authorization: Bearer {step}' \\
         -H 'Content-Type: application/json' -d '{{"machines": ["Machines-7"]}}'

Tell of the end of that deployment, as an Octopus webhook would:

    curl -i {url}/webhooks/octopus -H '{settings.webhook_header}: {secret}' \\
         -d '{{"Payload": {{"Event": {{"Id": "Events-'$(date +%s)'", "Category": "DeploymentSucceeded",
              "Occurred": "'$(date -u +%Y-%m-%dT%H:%M:%SZ)'", "RelatedDocumentIds": ["ServerTasks-1"]}}}}}}'

Next: add the wait step to a project and point a subscription here; README.md says how.

  Secrets     {place}
  Redis       {redis}
  API         {url}/docs (sign in first)
  Dashboard   {dashboard}

octowait is ready: {ready}. Ctrl-C stops everything.
"""


def dashboard_link(settings: Settings) -> str:
    """The address of the dashboard; it signs in once, within ten minutes, where the tokens are generated ones.

    It has a code and no token: a browser keeps every address that it was at.
    """
    is_generated, tokens = _printed_tokens(settings)
    if is_generated and "admin" in tokens:
        try:
            code = HttpGate(f"http://{settings.bind}", tokens["admin"]).call("POST", "/api/sign-in-code")["code"]
            return f"{settings.base_url}/sign-in#code={code}"
        except (CannotReach, Refused):
            pass  # It is said where the tokens are.
    return f"{settings.base_url}/"


def _printed_tokens(settings: Settings) -> tuple[bool, dict[str, str]]:
    """Whether all secrets are generated ones, and the tokens by role as a terminal may show them."""
    assert settings.webhook_secret
    kept_here = (read_secrets(settings.data_dir) or {}).values()
    # Secrets that somebody chose are not for a terminal that somebody else may read.
    is_generated = settings.webhook_secret.get_secret_value() in kept_here and all(
        token.secret in "".join(kept_here) for token in settings.tokens
    )
    return is_generated, {t.role: t.secret if is_generated else f"<{t.role} token>" for t in settings.tokens}
