"""HTTP answers of Octopus: the document asked for, or which error, and how long to hold back."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import requests

from app.octopus.errors import (
    OctopusBusy,
    OctopusDenied,
    OctopusMissing,
    OctopusPage,
    OctopusRejected,
    OctopusUnreadable,
)
from app.octopus.shapes import Resource, list_of, mapping_of, text

_RETRIED = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})

#: With one of these, ``Retry-After`` is about all requests rather than about this one.
_EVERYBODY = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})

#: Seconds that an answer may ask to be left alone, at most: a date in two days would leave machines free until then.
#: Where Octopus wants more, it says so again.
LONGEST_PAUSE_SECONDS = 600.0

#: The same for what somebody waits on.
LONGEST_URGENT_PAUSE_SECONDS = 60.0

#: ``Octopus-RateLimit: r=7;t=18``: requests that remain, and seconds until there are more.
_RATE_LIMIT = re.compile(r"\br=(\d{1,9})\b.*\bt=(\d{1,9})\b")


def check(answer: requests.Response, request: str, *, urgent: bool = False) -> None:
    """Nothing for a success of what *request* names, e.g. ``GET /api/tasks``; else its `OctopusError`.

    Args:
        urgent: Somebody waits for it, so that no pause is as long as others may be.
    """
    status = answer.status_code
    if answer.ok and (status == HTTPStatus.OK or answer.request.method != "GET"):
        return
    complaint = _complaint(answer)
    request = f"{request}: {status} {answer.reason}{': ' if complaint else ''}{complaint}"
    if status in _RETRIED or status >= 500:
        retry_after = bounded(seconds_of(answer.headers.get("Retry-After")), urgent=urgent)
        not_begun = status == HTTPStatus.TOO_MANY_REQUESTS
        raise OctopusBusy(request, status=status, retry_after=retry_after, not_begun=not_begun)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        may = "view" if answer.request.method == "GET" else "do"
        raise OctopusDenied(f"{request}: expected an API key that may {may} this", status=status)
    if status == HTTPStatus.NOT_FOUND:
        raise OctopusMissing(request)
    raise OctopusRejected(f"{request}: expected 200", status=status)


def resource(answer: requests.Response, request: str) -> Resource:
    """The JSON object in the answer.

    Raises:
        OctopusUnreadable: it is no JSON object.
    """
    document = json_of(answer, request)
    if not isinstance(document, dict):
        raise OctopusUnreadable(f"{request}: expected a JSON object, got {type(document).__name__}")
    return document


def json_of(answer: requests.Response, request: str) -> Any:
    """The JSON in the answer.

    Raises:
        OctopusUnreadable: it is none.
    """
    try:
        return answer.json()
    except (ValueError, RecursionError) as error:
        kind = OctopusUnreadable if is_of_octopus(answer) else OctopusPage
        raise kind(f"{request}: expected JSON, got {answer.text[:80]!r}") from error


def is_answer(answer: requests.Response) -> bool:
    """Whether it says that Octopus works and takes the key, even where it refuses what was asked."""
    status = answer.status_code
    is_failure = status >= 500 or status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.REQUEST_TIMEOUT)
    return not is_failure and is_of_octopus(answer)


def is_of_octopus(answer: requests.Response) -> bool:
    """Whether the API of Octopus can have answered this: JSON, or nothing to something that was done."""
    begins = answer.content.lstrip()[:1]
    return begins in (b"{", b"[") or (not begins and answer.ok and answer.request.method != "GET")


def date_of(answer: requests.Response) -> int | None:
    """The time that it says, in whole seconds, as milliseconds; None where it says none."""
    moment = _moment(answer.headers.get("Date", ""))
    return None if moment is None else round(moment.timestamp() * 1000)


def pause_of(answer: requests.Response) -> float:
    """Seconds for which nobody should ask anything more; 0 for none. `bounded` for those who are not urgent."""
    seconds = bounded(seconds_of(answer.headers.get("Retry-After"))) if answer.status_code in _EVERYBODY else None
    if seconds is not None:
        return seconds
    limit = _RATE_LIMIT.search(answer.headers.get("Octopus-RateLimit", ""))
    return bounded(float(limit[2])) or 0.0 if limit and int(limit[1]) == 0 else 0.0


def bounded(seconds: float | None, *, urgent: bool = False) -> float | None:
    """*seconds* that an answer asks for, as many of them as anybody is left to wait."""
    longest = LONGEST_URGENT_PAUSE_SECONDS if urgent else LONGEST_PAUSE_SECONDS
    return None if seconds is None else min(seconds, longest)


def seconds_of(retry_after: str | None) -> float | None:
    """Seconds from ``Retry-After``, which is a number of them or a date; None for anything else."""
    if not retry_after:
        return None
    if re.fullmatch(r"\s*[0-9]+\s*", retry_after, re.ASCII):
        return float(retry_after)
    moment = _moment(retry_after)
    return None if moment is None else max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _moment(text: str) -> datetime | None:
    """The time that a header says; None where it is none."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _complaint(answer: requests.Response) -> str:
    """What an error answer says was wrong, or nothing."""
    try:
        body = mapping_of(answer.json())
    except (ValueError, RecursionError):
        return ""
    errors = [entry for entry in list_of(body.get("Errors")) if isinstance(entry, str)]
    return " ".join(filter(None, [text(body, "ErrorMessage"), *errors]))[:300]
