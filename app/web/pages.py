"""What all pages share, the dashboard, the document of the API, signing in and out."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from datetime import UTC, datetime
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
from markupsafe import Markup, escape
from werkzeug.exceptions import HTTPException, NotFound

from app.coordination.snapshot import Snapshot
from app.domain.durations import words
from app.domain.ids import ID_PATTERN
from app.web.auth import ALLOWS, Tokens, caller, digest
from app.web.contract import document, services
from app.web.forms import form_token
from app.web.problems import Problem, problem_of
from app.web.views import machine_json

blueprint = Blueprint("pages", __name__)

#: Waiters of one machine that the dashboard shows.
LINE_ON_DASHBOARD = 20

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
def _require_viewer() -> Any:
    if request.endpoint in ("pages.sign_in", "pages.sign_out"):
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
    # Behind a proxy we may be called by another name than the one that people use.
    own = {request.host, urlsplit(services().settings.public_url or request.host_url).netloc}
    if site not in (None, "same-origin") or (origin is not None and urlsplit(origin).netloc not in own):
        raise Problem(403, "cross_site", "this form was sent by another site: expected one of octowait's own pages")


@blueprint.after_request
def _harden(response: Response) -> Response:
    response.headers.update(HEADERS)
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


@blueprint.get("/")
def dashboard() -> Any:
    """Every machine. ``fragment=1`` answers the live part alone, ``fragment=some`` that of the given machines.

    With ``seen``, the id of a timeline record: 204 if nothing happened since.
    """
    gate = services()
    # Before the snapshot: what happens in between is then looked at again and not missed.
    last_id = gate.timeline.last_id()
    if request.args.get("seen") == last_id:
        return "", 204
    snapshot = gate.snapshot()
    some = request.args.get("fragment") == "some"
    wanted = {machine_id.lower() for machine_id in request.args.getlist("machine")}
    shown = [m for m in snapshot.machines if not some or m.id.lower() in wanted]
    return render_template(
        "_dashboard.html" if "fragment" in request.args else "dashboard.html",
        machines=[machine_json(machine) for machine in shown],
        is_part=some,
        last_id=last_id,
        now_ms=snapshot.now_ms,
        summary=_summary(snapshot),
        closed_since_ms=snapshot.closed_since_ms,
        most=LINE_ON_DASHBOARD,
        query=request.args.get("q", "")[:200],
        show=request.args.get("show", "all"),
        base_url=gate.settings.public_url or request.host_url.rstrip("/"),
        webhook_header=gate.settings.webhook_header,
    )


@blueprint.get("/docs")
def docs() -> Any:
    """The OpenAPI document as a page."""
    server = services().settings.public_url or request.host_url.rstrip("/")
    return render_template("docs.html", api=document(current_app.extensions["octowait.operations"], server=server))


@blueprint.route("/sign-in", methods=["GET", "POST"])
def sign_in() -> Any:
    target = request.values.get("next", "/")
    target = target if _LOCAL_PATH.match(target) else "/"
    complaint = None
    if request.method == "POST":
        tokens: Tokens = current_app.extensions["octowait.tokens"]
        secret = request.form.get("token", "").strip()
        token = tokens.find(secret)
        if token and token.role in ALLOWS["viewer"]:
            session.clear()
            session["token"] = digest(secret)
            return redirect(target, 303)
        complaint = (
            f"That token has the role {token.role}. The pages need one of role viewer or admin."
            if token
            else "No such token. Look for a letter that was lost when it was copied."
        )
    return render_template("sign_in.html", next=target, complaint=complaint), 403 if complaint else 200


@blueprint.post("/sign-out")
def sign_out() -> Any:
    session.clear()
    return redirect(url_for("pages.sign_in"), 303)


def matching_id(text: str | None) -> str | None:
    """*text* if it can be an id."""
    return text if text and re.match(ID_PATTERN, text) else None


def _summary(snapshot: Snapshot) -> dict[str, Any]:
    """What the top of the dashboard counts."""
    statuses = Counter(machine.status for machine in snapshot.machines)
    waiters = (waiter for machine in snapshot.machines for waiter in machine.line)
    longest = min(waiters, key=lambda waiter: waiter.record["requested_at_ms"], default=None)
    return {
        "busy": statuses["busy"],
        "reserved": statuses["reserved"],
        "idle": statuses["idle"],
        "waiting": len(snapshot.waiting),
        "longest": longest and {"task_id": longest.task_id, "since_ms": longest.record["requested_at_ms"]},
        "unresolved": snapshot.unresolved,
    }


@blueprint.context_processor
def _for_forms() -> dict[str, Any]:
    return {"form_token": form_token}


@blueprint.app_template_filter("words")
def _words(milliseconds: int | None) -> str:
    return words(milliseconds or 0)


@blueprint.app_template_filter("utc")
def _utc(milliseconds: int) -> str:
    """``2026-11-23 11:35:03``, in UTC; the script shows it in the reader's time zone."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return str(milliseconds)


@blueprint.app_template_filter("web_address")
def _web_address(url: str | None) -> str | None:
    """*url* if a link may lead there: payloads are not to bring in ``javascript:``."""
    return url if url and re.match(r"https?://", url, re.IGNORECASE) else None


@blueprint.app_template_filter("marked")
def _marked(text: str) -> Markup:
    """The marks of our docstrings: ``code`` between backticks, emphasis between asterisks."""
    escaped = re.sub(r"`+([^`]+)`+", r"<code>\1</code>", str(escape(text)))
    return Markup(re.sub(r"\*(\w+)\*", r"<em>\1</em>", escaped))


@blueprint.app_template_test("matching")
def _is_matching(machine: dict[str, Any], query: str, show: str) -> bool:
    """Whether the dashboard shows *machine* for what was searched; `pages.js` does the same."""
    is_shown = {
        "waiting": bool(machine["line"]),
        "busy": machine["status"] != "idle",
        "idle": machine["status"] == "idle",
    }
    if not is_shown.get(show, True):
        return False
    runs = [*machine["holders"], *machine["line"]]
    texts = [machine["name"], machine["id"]]
    texts += [run.get(k) or "" for run in runs for k in ("task_id", "project", "release", "environment", "note", "by")]
    found = " ".join(texts).lower()
    return all(word in found for word in query.lower().split())
