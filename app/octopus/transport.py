"""Requests to Octopus: bounded in time and number, and to the configured address only."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from traceback import walk_tb
from typing import Protocol
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
from urllib3.exceptions import NameResolutionError, NewConnectionError

from app.domain.addresses import without_passwords
from app.octopus import answers
from app.octopus.errors import OctopusBusy, OctopusError, OctopusPage, OctopusRejected, OctopusUnreachable
from app.octopus.shapes import Resource

#: Seconds to connect, and between two bytes of an answer.
TIMEOUT = (5.0, 20.0)

#: Times one request is sent.
ATTEMPTS = 4

#: Seconds before the second attempt, doubled for each further one; half of it is random.
BACKOFF_SECONDS = 1.0

#: Seconds one call may wait in all for its turn and before further attempts; where more is needed, the caller tries
#: later.
MAX_WAIT_SECONDS = 30.0

#: Same-host redirects of one request, e.g. a reverse proxy that adds a slash.
MAX_REDIRECTS = 3

#: What stands in no address (RFC 3986), and what one reader takes for something else than another.
_NOT_OF_ADDRESSES = re.compile(r"[\\\x00-\x20\x7f]")

#: Methods that have the same effect when they are repeated.
_REPEATABLE = frozenset({"GET", "PUT", "DELETE"})


class RequestBudget(Protocol):
    """Who lets requests go, for all processes together: `app.coordination.budget`."""

    def take(self, urgent: bool = False, kind: str = "other") -> float:
        """0.0 for a permit for one request, or the seconds to wait before asking for one again."""

    def pause(self, seconds: float) -> None:
        """Let nobody go for that long."""


class ReachObserver(Protocol):
    """Who remembers whether Octopus answers, for all processes together: `app.coordination.reach`."""

    def answered(self, *, date_ms: int | None = None, sent: float = 0.0, received: float = 0.0) -> None:
        """It did.

        Args:
            date_ms: The time that it says.
            sent: When its request was sent, and *received* when it was there, seconds of `time.monotonic`.
        """

    def failed(self, why: str, *, lasts: float = 0) -> None:
        """It did not, after all attempts.

        Args:
            why: A few words for people.
            lasts: Seconds that it said this would last, at least.
        """


@dataclass(frozen=True)
class RequestPolicy:
    """How a caller asks. *patience* in seconds, for the waits of one call in all; what is urgent has budget kept."""

    urgent: bool = False
    patience: float = MAX_WAIT_SECONDS


@dataclass(frozen=True)
class Call:
    """One request. *path* from ``/api`` on; *kind* is what it is counted under, e.g. ``tasks``."""

    method: str
    path: str
    kind: str
    query: Mapping[str, str] | None = None
    body: Resource | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Transport:
    """Sends calls. Not for use by several threads at once.

    Args:
        url: Where Octopus is, perhaps with a path, e.g. ``https://octopus.example.com``.
        timeout: Seconds to connect, and between two bytes of an answer.
        sleep: What waits between attempts.
        budget: Asked before every attempt.
        reach: Told whether Octopus answers.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        timeout: tuple[float, float] = TIMEOUT,
        attempts: int = ATTEMPTS,
        sleep: Callable[[float], object] = time.sleep,
        budget: RequestBudget | None = None,
        reach: ReachObserver | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.shown_url = without_passwords(self.url)
        self._timeout = timeout
        self._attempts = attempts
        self._sleep = sleep
        self._budget = budget
        self._reach = reach
        self._session = requests.Session()
        self._session.headers.update(
            {"X-Octopus-ApiKey": api_key, "Accept": "application/json", "User-Agent": "octowait"}
        )

    @property
    def origin(self) -> str:
        """The address without its path."""
        return _origin(self.url)

    def close(self) -> None:
        self._session.close()

    def send(self, call: Call, policy: RequestPolicy, *, attempts: int | None = None) -> requests.Response:
        """The answer, a success.

        Raises:
            OctopusError: it is none; ``permanent`` says whether trying again can help.
            StoreError: the budget could not be asked.
        """
        try:
            answer = self._send(call, policy, attempts)
        except OctopusError as error:
            if error.is_silence:
                self._fail(error)
            raise
        if not answers.is_of_octopus(answer):
            self._fail(OctopusPage(str(call)))
        return answer

    def _fail(self, error: OctopusError) -> None:
        if self._reach:
            self._reach.failed(error.why, lasts=getattr(error, "retry_after", None) or 0)

    def _send(self, call: Call, policy: RequestPolicy, attempts: int | None) -> requests.Response:
        waiting = _Waiting(self._sleep, policy.patience)
        most = attempts or self._attempts
        for attempt in range(most):
            try:
                return self._once(call, policy, waiting)
            except OctopusError as error:
                pause = _pause(error, attempt)
                if attempt + 1 == most or not _may_repeat(call, error) or not waiting.may(pause):
                    raise
            waiting.wait(pause)
        raise AssertionError("attempts must be at least 1")

    def _once(self, call: Call, policy: RequestPolicy, waiting: _Waiting) -> requests.Response:
        address: str = self.url + call.path
        params = call.query
        for _ in range(MAX_REDIRECTS + 1):
            self._await_turn(call, policy, waiting)
            answer = self._ask(call, address, params, waiting)
            if not answer.is_redirect:
                answers.check(answer, str(call), urgent=policy.urgent)
                return answer
            address, params = self._redirected(call, _joined(address, answer.headers["Location"])), None
        raise OctopusRejected(f"{call}: redirected more than {MAX_REDIRECTS} times")

    def _redirected(self, call: Call, address: str) -> str:
        """*address* where it is one of this server, put together anew.

        Two who read a malformed address, such as ``http://other\\@octopus/``, need not find the same host in it: what
        is sent goes to the host that was configured, whatever somebody makes of the rest.
        """
        if _NOT_OF_ADDRESSES.search(address) or _origin(address) != self.origin:
            raise OctopusRejected(f"{call}: redirected to {_origin(address)}: expected to stay at {self.shown_url}")
        if call.method != "GET":
            target = without_passwords(address)
            raise OctopusRejected(f"{call}: redirected to {target}: expected to write to the configured address")
        own, parts = urlsplit(self.url), urlsplit(address)
        return urlunsplit((own.scheme, own.netloc, parts.path or "/", parts.query, ""))

    def _await_turn(self, call: Call, policy: RequestPolicy, waiting: _Waiting) -> None:
        while self._budget and (pause := self._budget.take(policy.urgent, call.kind)) > 0:
            if not waiting.may(pause):
                raise OctopusBusy(f"{call}: held back to stay within the request budget", retry_after=pause)
            waiting.wait(pause)

    def _ask(self, call: Call, address: str, params: Mapping[str, str] | None, waiting: _Waiting) -> requests.Response:
        began = time.monotonic()
        try:
            # requests would take the API key along to whatever host a redirect names.
            answer = self._session.request(
                call.method, address, params=params, json=call.body, timeout=self._timeout, allow_redirects=False
            )
        except requests.RequestException as error:
            message = without_passwords(f"{call}: no answer from {self.url}: {error}")
            raise OctopusUnreachable(message, why=_reason_of(error), not_begun=_never_sent(error)) from error
        except ValueError as error:
            # requests reads where a redirect leads although it is not to follow it.
            raise OctopusRejected(f"{call}: redirected to what is no address") from error
        finally:
            waiting.spend(time.monotonic() - began)
        if self._reach and answers.is_answer(answer):
            self._reach.answered(date_ms=answers.date_of(answer), sent=began, received=time.monotonic())
        if self._budget and (pause := answers.pause_of(answer)) > 0:
            self._budget.pause(pause)
        return answer


def was_asking(error: BaseException) -> bool:
    """Whether *error*, which may be of somebody who ends what takes too long, was raised during a request."""
    return any(frame.f_code is Transport._ask.__code__ for frame, _ in walk_tb(error.__traceback__))


class _Waiting:
    """What one call has waited, between its attempts and for their answers, and may wait still."""

    def __init__(self, sleep: Callable[[float], object], patience: float) -> None:
        self._sleep = sleep
        self._left = patience

    def may(self, seconds: float) -> bool:
        return seconds <= self._left

    def wait(self, seconds: float) -> None:
        self._sleep(seconds)
        self._left -= seconds

    def spend(self, seconds: float) -> None:
        self._left -= seconds


def _may_repeat(call: Call, error: OctopusError) -> bool:
    return not error.permanent and (call.method in _REPEATABLE or error.not_begun)


def _never_sent(error: requests.RequestException) -> bool:
    """Whether there was not even a connection."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    cause = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(cause, NewConnectionError)


def _reason_of(error: requests.RequestException) -> str:
    """Why there was no answer, in a few words without any address."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not accepted"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy gives no connection"
    cause = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(cause, NameResolutionError):
        return "its name does not resolve"
    return "no connection" if isinstance(cause, NewConnectionError) else "the connection broke"


def _joined(address: str, location: str) -> str:
    try:
        return urljoin(address, location)
    except ValueError:
        return ""


def _origin(address: str) -> str:
    try:
        parts = urlsplit(address)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return "(not an address)"
    return f"{parts.scheme}://{parts.hostname}:{port}"


def _pause(error: OctopusError, attempt: int) -> float:
    backoff = BACKOFF_SECONDS * 2**attempt * random.uniform(0.5, 1.0)
    retry_after = error.retry_after if isinstance(error, OctopusBusy) else None
    # A little more than asked, or all that were told the same would come back at the same moment.
    return backoff if retry_after is None else retry_after + random.uniform(0, 0.5)
