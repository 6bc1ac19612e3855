"""Headers of a step: what its script says of itself in a call of ``/api/waits/{task}``.

Scripts of before 2 send none of them, and what their calls mean does not change.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.web.errors import Problem

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Of a claim id, as the server takes it; the step scripts send 32 lower-case hex digits.
CLAIM_PATTERN = r"[A-Za-z0-9_-]{16,64}"

CLAIM_HEADER, SEEN_HEADER, VERSION_HEADER = "X-Octowait-Claim", "X-Octowait-Seen", "X-Octowait-Version"

#: Where a request has what was read here: several ask for it.
_READ = "octowait.step_headers"

#: How much of what is only passed on is kept.
_MOST = 200


@dataclass(frozen=True)
class StepHeaders:
    """Who calls, as far as it says so.

    Args:
        claim: The id of this execution of the step.
        seen: What an answer told it last of what octowait knows; `app.web.testimony` reads it.
        version: Of the script; None of those that say none, and come from before 2.
    """

    claim: str | None = None
    seen: str | None = None
    version: str | None = None

    @property
    def is_new(self) -> bool:
        """Whether the script knows of answers in three lines."""
        return bool(self.claim or self.version)


def step_headers(environ: WSGIEnvironment) -> StepHeaders:
    """The headers of a request.

    Raises:
        Problem: 422, the claim is none.
    """
    if read := environ.get(_READ):
        headers: StepHeaders = read
        return headers
    claim = environ.get("HTTP_X_OCTOWAIT_CLAIM")
    if claim is not None and not re.fullmatch(CLAIM_PATTERN, claim):
        raise Problem(
            422, "invalid_claim",
            f"header {CLAIM_HEADER}: expected 16 to 64 letters, digits, '_' or '-', one for each execution of a step",
        )  # fmt: skip
    headers = environ[_READ] = StepHeaders(claim, _text(environ, SEEN_HEADER), _text(environ, VERSION_HEADER))
    return headers


def execution_of(environ: WSGIEnvironment) -> tuple[str, str] | None:
    """The task and the claim of a call about a wait; None of a call that is about none, or says no claim."""
    match = re.fullmatch(r"/api/waits/([^/]{1,100})", environ.get("PATH_INFO", ""))
    claim = environ.get("HTTP_X_OCTOWAIT_CLAIM", "")
    return (match[1], claim) if match and re.fullmatch(CLAIM_PATTERN, claim) else None


def _text(environ: WSGIEnvironment, header: str) -> str | None:
    given: str = environ.get("HTTP_" + header.upper().replace("-", "_"), "")
    return given[:_MOST] or None
