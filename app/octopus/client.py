"""A small client of the Octopus API: reads only, bounded in time, and to the configured address only."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from app.domain.errors import InvalidId
from app.domain.ids import checked_id, distinct_ids
from app.octopus import parse
from app.octopus.errors import (
    OctopusBusy,
    OctopusDenied,
    OctopusError,
    OctopusMissing,
    OctopusRejected,
    OctopusUnreachable,
    OctopusUnreadable,
)

#: Seconds to connect, and between two bytes of an answer.
TIMEOUT = (5.0, 20.0)

#: Times one request is sent.
ATTEMPTS = 4

#: Seconds before the second attempt, doubled for each further one; half of it is random.
BACKOFF_SECONDS = 1.0

#: Seconds one request may wait in all before further attempts; where Octopus asks for more, the caller tries later.
MAX_WAIT_SECONDS = 30.0

#: Ids in one request, so that its address stays far below the 2,048 characters some proxies allow.
IDS_A_PAGE = 50

#: Same-host redirects of one request, e.g. a reverse proxy that adds a slash.
MAX_REDIRECTS = 3

_RETRIED = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})


class OctopusClient:
    """Reads tasks, deployments, runbook runs and machines. Not for use by several threads at once.

    Every method raises `OctopusError`; its ``permanent`` says whether trying again can help.
    *space* is a space id; without one Octopus takes its default space.

    Args:
        url: Where Octopus is, perhaps with a path, e.g. ``https://octopus.example.com``.
        timeout: Seconds to connect, and between two bytes of an answer.
        sleep: What waits between attempts.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        timeout: tuple[float, float] = TIMEOUT,
        attempts: int = ATTEMPTS,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._url = url.rstrip("/")
        self._timeout = timeout
        self._attempts = attempts
        self._sleep = sleep
        self._session = requests.Session()
        self._session.headers.update(
            {"X-Octopus-ApiKey": api_key, "Accept": "application/json", "User-Agent": "octowait"}
        )

    def close(self) -> None:
        self._session.close()

    def task(self, task_id: str, *, space: str | None = None) -> parse.Task:
        """The server task as it stands."""
        return parse.parse_task(self._get(space, "tasks", task_id))

    def deployment(self, deployment_id: str, *, space: str | None = None) -> parse.Deployment:
        """The deployment as it stands."""
        return parse.parse_deployment(self._get(space, "deployments", deployment_id))

    def runbook_run(self, runbook_run_id: str, *, space: str | None = None) -> parse.RunbookRun:
        """The runbook run as it stands."""
        return parse.parse_runbook_run(self._get(space, "runbookRuns", runbook_run_id))

    def preview(
        self, release_id: str, environment_id: str, *, tenant_id: str | None = None, space: str | None = None
    ) -> tuple[parse.Machine, ...]:
        """The machines that the release's steps apply to in the environment, now."""
        tenant = (tenant_id,) if tenant_id else ()
        return parse.parse_preview(
            self._get(space, "releases", release_id, "deployments", "preview", environment_id, *tenant)
        )

    def machines(self, machine_ids: Collection[str], *, space: str | None = None) -> tuple[parse.Machine, ...]:
        """Those of *machine_ids* that exist, in no order. No ids: no request, since Octopus would list all."""
        wanted = distinct_ids(list(machine_ids))
        found: dict[str, parse.Machine] = {}
        for start in range(0, len(wanted), IDS_A_PAGE):
            ids = wanted[start : start + IDS_A_PAGE]
            for item in self._items(space, "machines", {"ids": ",".join(ids)}):
                machine = parse.parse_machine(item)
                found[machine.id.lower()] = machine
        asked = {machine_id.lower() for machine_id in wanted}
        return tuple(machine for key, machine in found.items() if key in asked)

    def name(self, kind: str, document_id: str, *, space: str | None = None) -> str | None:
        """What people call it, asked once without retries: it is only for show.

        Args:
            kind: ``projects``, ``environments``, ``tenants``, or ``releases`` for a version.
        """
        resource = self._get(space, kind, document_id, attempts=1)
        return parse.parse_version(resource) if kind == "releases" else parse.parse_name(resource)

    def _items(self, space: str | None, kind: str, query: Mapping[str, str]) -> Iterator[parse.Resource]:
        skip = 0
        while True:
            page = parse.parse_page(self._get(space, kind, query={**query, "skip": str(skip), "take": str(IDS_A_PAGE)}))
            yield from page.items
            skip += len(page.items)
            # An empty page that promises another would go on for ever.
            if not page.has_next or not page.items:
                return

    def _get(
        self, space: str | None, *path: str, query: Mapping[str, str] | None = None, attempts: int | None = None
    ) -> parse.Resource:
        what = "/".join(["/api", *(_checked(part) for part in ([space] if space else []) + list(path))])
        return _resource(self._with_retries(what, query or {}, attempts or self._attempts), what)

    def _with_retries(self, what: str, query: Mapping[str, str], attempts: int) -> requests.Response:
        waited = 0.0
        for attempt in range(attempts):
            try:
                return self._once(what, query)
            except OctopusError as error:
                pause = _pause(error, attempt)
                if error.permanent or attempt + 1 == attempts or waited + pause > MAX_WAIT_SECONDS:
                    raise
            self._sleep(pause)
            waited += pause
        raise AssertionError("attempts must be at least 1")

    def _once(self, what: str, query: Mapping[str, str]) -> requests.Response:
        address: str = self._url + what
        params: Mapping[str, str] | None = query
        for _ in range(MAX_REDIRECTS + 1):
            try:
                # requests would take the API key along to whatever host a redirect names.
                answer = self._session.get(address, params=params, timeout=self._timeout, allow_redirects=False)
            except requests.RequestException as error:
                raise OctopusUnreachable(f"GET {what}: no answer from {self._url}: {error}") from error
            if not answer.is_redirect:
                _check(answer, what)
                return answer
            address, params = urljoin(address, answer.headers["Location"]), None
            if _origin(address) != _origin(self._url):
                raise OctopusRejected(f"GET {what}: redirected to {_origin(address)}: expected to stay at {self._url}")
        raise OctopusRejected(f"GET {what}: redirected more than {MAX_REDIRECTS} times")


def _checked(part: str) -> str:
    """*part* of a path: an id with a slash or dots would be another address."""
    try:
        return checked_id(part, "document")
    except InvalidId as error:
        raise OctopusRejected(str(error)) from error


def _origin(address: str) -> str:
    try:
        parts = urlsplit(address)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return "(not an address)"
    return f"{parts.scheme}://{parts.hostname}:{port}"


def _check(answer: requests.Response, what: str) -> None:
    status = answer.status_code
    said = f"GET {what}: {status} {answer.reason}"
    if status == HTTPStatus.OK:
        return
    if status in _RETRIED or status >= 500:
        raise OctopusBusy(said, retry_after=_retry_after(answer.headers.get("Retry-After")))
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise OctopusDenied(f"{said}: expected an API key that may view this")
    if status == HTTPStatus.NOT_FOUND:
        raise OctopusMissing(said)
    raise OctopusRejected(f"{said}: expected 200")


def _retry_after(value: str | None) -> float | None:
    """Seconds from ``Retry-After``, which is a number of them or a date."""
    if not value:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _pause(error: OctopusError, attempt: int) -> float:
    backoff = BACKOFF_SECONDS * 2**attempt * random.uniform(0.5, 1.0)
    asked = error.retry_after if isinstance(error, OctopusBusy) else None
    # A little more than asked, or all that were told the same would come back at the same moment.
    return backoff if asked is None else asked + random.uniform(0, 0.5)


def _resource(answer: requests.Response, what: str) -> parse.Resource:
    try:
        resource: Any = answer.json()
    except ValueError as error:
        raise OctopusUnreadable(f"GET {what}: expected JSON, got {answer.text[:80]!r}") from error
    if not isinstance(resource, dict):
        raise OctopusUnreadable(f"GET {what}: expected a JSON object, got {type(resource).__name__}")
    return resource
