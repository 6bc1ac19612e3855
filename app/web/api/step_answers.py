"""Answers to steps as bytes go out: text for scripts that read lines, JSON for others."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from werkzeug.wrappers import Request

from app.domain.status import RunStatus
from app.domain.wording import STATES
from app.queries.views import step_answer
from app.services import Services
from app.web.api.schemas.waits import ReleaseOutcome
from app.web.api.step_sizes import step_message, step_model
from app.web.polls.long_poll import Reply
from app.web.printed import printable
from app.web.step_headers import StepHeaders, step_headers

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

TEXT, JSON = "text/plain; charset=utf-8", "application/json"

#: What the step scripts say that they take, and what they are answered.
_KINDS = {"text/plain": TEXT, "application/json": JSON}

#: The pairs of the third line of a text.
_FACTS = ("claim", "seen", "news", "family", "details")


def answer_to_step(
    services: Services, place: RunStatus, step: StepHeaders, *, as_text: bool, is_new: bool, base_url: str
) -> tuple[str, str]:  # fmt: skip
    """The answer about a wait to its step, and its content type.

    Args:
        is_new: The script knows of answers in three lines.
        base_url: Where octowait's pages are, as far as the step knows.
    """
    answer = step_answer(services, place, claim=step.claim, base_url=base_url)
    if not as_text:
        return step_model(answer).model_dump_json(ensure_ascii=True) + "\n", JSON
    number = place.fencing_token if place.is_granted else place.place
    facts = {name: getattr(answer, name) for name in _FACTS} if is_new else {}
    return lines_of(f"{place.state} {number or 0}", step_message(answer), facts), TEXT


def answer_to_release(task_id: str, outcome: str, claim: str | None, kind: str) -> str:
    """The answer about a release to its step; *kind*: its content type."""
    if kind == TEXT:
        message = f"{task_id} {STATES.get(outcome, 'held nothing')}."
        return lines_of(f"{outcome} 0", message, {"claim": claim})
    answer = ReleaseOutcome.model_validate({"outcome": outcome, "claim": claim})
    return answer.model_dump_json(ensure_ascii=True) + "\n"


def kind_of(environ: WSGIEnvironment) -> str | None:
    """The content type of the answer to a step script; None where somebody else asks."""
    return _KINDS.get(environ.get("HTTP_ACCEPT", ""))


def lines_of(first: str, message: str, facts: Mapping[str, str | None]) -> str:
    """Two lines, and where there are *facts*, whose words have no blank in them, a third one."""
    lines = [first, message]
    if pairs := [f"{name} {word}" for name, word in facts.items() if word]:
        lines.append(" ".join(pairs))
    return "\n".join(lines) + "\n"


@lru_cache(maxsize=100)
def _host_url(scheme: str, host: str | None, name: str, port: str) -> str:
    """As Flask has it of a request."""
    given = {"HTTP_HOST": host} if host is not None else {}
    return Request({"wsgi.url_scheme": scheme, "SERVER_NAME": name, "SERVER_PORT": port, **given}).host_url


def reply_to_poll(services: Services, place: RunStatus, environ: WSGIEnvironment) -> Reply | None:
    """The answer to a poll as the view gives it, at a fifth of its cost; None where that is to be asked.

    A poll of the step scripts is as plain as can be: what differs, or is to be logged, is left to the view.
    """
    kind = kind_of(environ)
    if kind is None or services.settings.log_level == "debug":
        return None
    step = step_headers(environ)
    base_url = services.settings.public_url or _host_url(
        environ["wsgi.url_scheme"], environ.get("HTTP_HOST"), environ["SERVER_NAME"], environ["SERVER_PORT"]
    )
    text, _ = answer_to_step(
        services, place, step, as_text=kind == TEXT, is_new=step.is_new, base_url=base_url
    )  # fmt: skip
    return Reply(kind, printable(text.encode(), is_text=kind == TEXT))
