"""Forms: their fields, and their protection against requests forged by another site.

The session's cookie is not sent with another site's posts (SameSite), `pages` refuses those that say where they come
from, and each form carries a token of its session that no other site can read.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from flask import g, request, session

from app.web.errors import Problem
from app.web.pages.ranges import span_ms

#: The field of a form, and of a session, that carries the token.
TOKEN = "form_token"


@dataclass(frozen=True)
class Draft:
    """A form that was sent and could not be accepted: which, what was in it, and what was wrong."""

    form: str
    complaint: str
    fields: Mapping[str, str] = field(default_factory=dict)
    needs_confirm: bool = False
    status: int = 422


def form_token() -> str:
    """The token that the forms of this session carry."""
    if TOKEN not in session:
        session[TOKEN] = secrets.token_urlsafe(16)
    return str(session[TOKEN])


def require_form() -> None:
    """Let nobody but an admin's own form change anything.

    Raises:
        Problem: 403.
    """
    if g.caller.role != "admin":
        raise Problem(403, "forbidden", f"token {g.caller.name} has role {g.caller.role}: expected role admin")
    # A request with a token in its header comes from a program: no browser adds that by itself.
    sent = request.form.get(TOKEN, "")
    if "Authorization" not in request.headers and not hmac.compare_digest(sent.encode(), form_token().encode()):
        raise Problem(
            403, "cross_site", "this form is not of your session: go back, reload the page, and send it again"
        )


def required(name: str, what: str) -> str:
    """The field *name* of the form.

    Raises:
        ValueError: it is empty or too long; the message is for the person.
    """
    text = request.form.get(name, "").strip()
    if not text:
        raise ValueError(f"Say {what}: it stays in the timeline.")
    if len(text) > 1000:
        raise ValueError(f"At most 1,000 characters for {what}.")
    return text


def moment(text: str, now_ms: int) -> int | None:
    """The time in *text*, ms: ``2h`` from now, or ``2026-11-23 18:00`` (UTC by default); None for nothing.

    Raises:
        ValueError: it is neither, or has passed; the message is for the person.
    """
    text = text.strip()
    if not text:
        return None
    span = span_ms(re.sub(r"\s", "", text.lower()))
    if span:
        return now_ms + span
    try:
        parsed = datetime.fromisoformat(text)
        at_ms = round((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise ValueError("Write how long, such as 30m, 2h or 1d, or until when, such as 2026-11-23 18:00.") from error
    if at_ms <= now_ms:
        raise ValueError("That has passed already.")
    return at_ms


def leave_notice(text: str) -> None:
    """Have the next page say *text*, once."""
    session["notice"] = text


def take_notice() -> str | None:
    notice = session.pop("notice", None)
    return str(notice) if notice else None
