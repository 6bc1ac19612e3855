"""The blueprint of the pages: headers, authorization, errors, template filters, API document, sign-in and sign-out."""

from __future__ import annotations

import gzip
import re
import time
from typing import Any
from urllib.parse import urlsplit

from flask import (
    Blueprint,
    Response,
    current_app,
    g,
    make_response,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask.blueprints import BlueprintSetupState
from markupsafe import Markup, escape
from werkzeug.exceptions import HTTPException, NotFound

from app.domain import wording
from app.domain.durations import format_duration, format_moment
from app.domain.ids import ID_PATTERN
from app.domain.phrases import clause, sentence
from app.web.api.routing import current_services
from app.web.auth import ALLOWS, caller
from app.web.charts.legend import MEANINGS
from app.web.errors import Problem, problem_of
from app.web.hosts import own_hosts
from app.web.pages.forms import form_token
from app.web.peers import group_of
from app.web.tokens import Tokens, digest

blueprint = Blueprint("pages", __name__)

#: Bytes from which a page is compressed: 500 machines are 800 KB of much the same.
COMPRESSED_FROM = 4096

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "Cookie, Authorization, Accept-Encoding",
}

# A browser drops tabs and line ends from an address and reads a backslash as a slash: "/\t/evil.com" is not local.
_LOCAL_PATH = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*\Z")


@blueprint.before_request
def _begin() -> None:
    g.page_began = time.perf_counter()


@blueprint.before_request
def _require_viewer() -> Any:
    if request.endpoint in ("pages.sign_in", "pages.sign_out", "pages.begin_oidc", "pages.end_oidc"):
        return None
    token = caller()
    if token and token.role in ALLOWS["viewer"]:
        g.caller = token
        return None
    if "fragment" in request.args:
        raise Problem(401, "unauthorized", "expected a session of a viewer: sign in again")
    return redirect(url_for("pages.sign_in", next=request.full_path.rstrip("?")), 303)


@blueprint.before_request
def _refuse_other_sites() -> None:
    """Forms are sent by our own pages only. Clients that are no browsers send neither header."""
    if request.method != "POST":
        return
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    settings = current_services().settings
    if site not in (None, "same-origin") or (
        origin is not None and urlsplit(origin).netloc not in own_hosts(settings, request.host)
    ):
        raise Problem(403, "cross_site", "this form was sent by another site: expected one of octowait's own pages")


@blueprint.after_request
def _harden(response: Response) -> Response:
    response.headers.update(HEADERS)
    if "page_began" in g:
        # pages.js asks less often for what costs more.
        took_ms = (time.perf_counter() - g.page_began) * 1000
        response.headers["Server-Timing"] = f"page;dur={took_ms:.1f}"
    if request.accept_encodings["gzip"] and response.content_length and response.content_length > COMPRESSED_FROM:
        response.set_data(gzip.compress(response.get_data(), 3))
        response.headers["Content-Encoding"] = "gzip"
    return response


@blueprint.errorhandler(Exception)
def _error_page(error: Exception) -> Any:
    if isinstance(error, HTTPException) and (error.code or 0) < 400:
        return error.get_response()
    problem = problem_of(error)
    return render_template("error.html", problem=problem), problem.status, problem.headers


@blueprint.app_errorhandler(404)
def _unknown_address(error: NotFound) -> Any:
    """People get a page; programs, and everything under ``/api/``, a problem."""
    accepted = request.accept_mimetypes
    if request.path.startswith(("/api/", "/webhooks/")) or accepted["text/html"] <= accepted["application/json"]:
        return problem_of(error).response()
    return _harden(make_response(_error_page(Problem(404, "not_found", f"there is no page {request.path[:100]}"))))


@blueprint.get("/docs")
def docs() -> Any:
    """The OpenAPI document as a page."""
    return render_template("docs.html", api=current_app.extensions["octowait.document"]())


@blueprint.route("/sign-in", methods=["GET", "POST"])
def sign_in() -> Any:
    target = local_target(request.values.get("next", "/"))
    if request.method == "GET":
        return render_template("sign_in.html", next=target, complaint=None)
    services = current_services()
    attempts, address = services.attempts, group_of(request.remote_addr or "")
    if wait := attempts.seconds_to_wait(address):
        complaint = g.refused_because = f"Too many attempts from your address. Try again in {wait} s."
        return render_template("sign_in.html", next=target, complaint=complaint), 429, {"Retry-After": str(wait)}
    tokens: Tokens = current_app.extensions["octowait.tokens"]
    code = request.form.get("code", "").strip()
    secret = request.form.get("token", "").strip()
    token_digest = services.sessions.take_code(code) if code else digest(secret)
    token = tokens.find_digest(token_digest) if token_digest else None
    if token and token.role in ALLOWS["viewer"]:
        session.clear()
        session.update(token=token_digest, is_new=True)
        return redirect(target, 303)
    attempts.failed(address)
    if token:
        complaint = f"That token has the role {token.role}. The pages need one of role viewer or admin."
    elif code:
        complaint = "That link has been used, or is older than ten minutes. Sign in with a token."
    else:
        complaint = "No such token. Look for a letter that was lost when it was copied."
    g.refused_because = complaint
    return render_template("sign_in.html", next=target, complaint=complaint), 403


@blueprint.post("/sign-out")
def sign_out() -> Any:
    session.clear()
    return redirect(url_for("pages.sign_in"), 303)


def local_target(path: object) -> str:
    """*path* if it is one of our own pages, where a browser may be sent; else the dashboard."""
    return path if isinstance(path, str) and _LOCAL_PATH.match(path) else "/"


def matching_id(text: str | None) -> str | None:
    """The id that *text* is, or None."""
    return text if text and re.match(ID_PATTERN, text) else None


@blueprint.context_processor
def _for_forms() -> dict[str, Any]:
    return {"form_token": form_token, "has_provider": bool(current_services().settings.oidc_issuer)}


@blueprint.record_once
def _give_wording(state: BlueprintSetupState) -> None:
    state.app.jinja_env.globals["wording"] = wording
    # What is not known is left out, and never called None.
    state.app.jinja_env.finalize = lambda value: "" if value is None else value
    state.app.jinja_env.globals["meanings"] = MEANINGS


@blueprint.app_template_filter("duration")
def _duration(milliseconds: int | None) -> str:
    return format_duration(milliseconds or 0)


@blueprint.app_template_filter("utc")
def _utc(milliseconds: int) -> str:
    """``2026-11-23 11:35:03``, in UTC; the script shows it in the reader's time zone."""
    return format_moment(milliseconds)


blueprint.add_app_template_filter(clause)
blueprint.add_app_template_filter(sentence)


@blueprint.app_template_filter("web_address")
def _web_address(url: str | None) -> str | None:
    """*url* if a link may lead there: payloads are not to bring in ``javascript:``."""
    return url if url and re.match(r"https?://", url, re.IGNORECASE) else None


@blueprint.app_template_filter("marked")
def _marked(text: str) -> Markup:
    """The marks of our docstrings: ``code`` between backticks, emphasis between asterisks."""
    escaped = re.sub(r"`+([^`]+)`+", r"<code>\1</code>", str(escape(text)))
    return Markup(re.sub(r"\*(\w+)\*", r"<em>\1</em>", escaped))
