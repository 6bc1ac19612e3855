"""How a command reaches octowait: over HTTP, or in this process on Redis with the very code that serves HTTP."""

from __future__ import annotations

import codecs
import getpass
import http.client
import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from pydantic import SecretStr

from app.services import Services, make_services
from app.settings import Settings, Token

#: Seconds for an answer, beyond what a call may block.
ANSWER_SECONDS = 20.0

#: Bytes of a stream that are taken at once, at most.
_PIECE = 1 << 16


class CannotReach(Exception):
    """octowait, or Redis under it, does not answer; trying again can help."""


class Refused(Exception):
    """octowait answered with a problem; the message is its detail."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code


class Gate(Protocol):
    """Calls of the HTTP contract, however they get there."""

    def call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The JSON of the answer.

        Raises:
            CannotReach: nobody answers, or Redis does not.
            Refused: any other error answer.
        """  # fmt: skip

    def lines(self, path: str, *, query: Mapping[str, object]) -> Iterator[str]:
        """An answer that streams, piece by piece; raises as `call` does, also where it breaks off."""


def address(path: str, query: Mapping[str, object] | None) -> str:
    """*path* with what is set of *query*."""
    wanted = {name: value for name, value in (query or {}).items() if value is not None}
    return f"{quote(path)}?{urlencode(wanted)}" if wanted else quote(path)


@dataclass(frozen=True)
class HttpGate:
    """Over HTTP with a token."""

    url: str
    token: str

    def call(
        self, method: str, path: str, *, body: object = None, query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:  # fmt: skip
        with self._open(method, address(path, query), body, headers) as response, self._whole():
            return json.load(response)

    def lines(self, path: str, *, query: Mapping[str, object]) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")()
        with self._open("GET", address(path, query), None, None) as response:
            # Line by line http.client takes a stream that breaks off between two pieces for one that has ended.
            while piece := self._piece(response):
                yield decoder.decode(piece)

    def _piece(self, response: http.client.HTTPResponse) -> bytes:
        with self._whole():
            piece = response.read1(_PIECE)
            if not piece and response.length:
                raise http.client.IncompleteRead(b"", response.length)
            return piece

    @contextmanager
    def _whole(self) -> Iterator[None]:
        try:
            yield
        except (http.client.HTTPException, OSError) as error:
            raise CannotReach(f"{self.url} broke off in the middle of its answer: what came is not all") from error

    def _open(self, method: str, path: str, body: object, headers: Mapping[str, str] | None) -> Any:
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url.rstrip("/") + path, data=data, method=method)
        request.add_header("Authorization", f"Bearer {self.token}")
        if data is not None:
            request.add_header("Content-Type", "application/json")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            return urllib.request.urlopen(request, timeout=ANSWER_SECONDS + 60)
        except urllib.error.HTTPError as error:
            raise _refusal(error.code, error.read()) from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise CannotReach(f"{self.url} does not answer ({reason}): is octowait running there?") from error


@dataclass(frozen=True)
class DirectGate:
    """In this process, on Redis: the application that serves HTTP, called without HTTP."""

    settings: Settings
    services: Services = field(init=False)
    _client: Any = field(init=False)
    _token: str = field(init=False)

    def __post_init__(self) -> None:
        from app.web import create_app

        token = Token("admin", getpass.getuser(), secrets.token_urlsafe(24))
        update: dict[str, Any] = {"tokens": (token,)}
        if not self.settings.webhook_secret:
            update["webhook_secret"] = SecretStr(secrets.token_urlsafe(24))
        services = make_services(self.settings.model_copy(update=update))
        object.__setattr__(self, "services", services)
        object.__setattr__(self, "_client", create_app(services).test_client())
        object.__setattr__(self, "_token", token.secret)

    def call(
        self, method: str, path: str, *, body: object = None, query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:  # fmt: skip
        secret = self.services.settings.webhook_secret
        assert secret
        sent = {
            "Authorization": f"Bearer {self._token}",
            self.services.settings.webhook_header: secret.get_secret_value(),
        }
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        if data is not None:
            sent["Content-Type"] = "application/json"
        response = self._client.open(address(path, query), method=method, data=data, headers=sent)
        if response.status_code >= 400:
            raise _refusal(response.status_code, response.data)
        return response.json

    def lines(self, path: str, *, query: Mapping[str, object]) -> Iterator[str]:
        response = self._client.get(
            address(path, query), headers={"Authorization": f"Bearer {self._token}"}, buffered=False
        )
        if response.status_code >= 400:
            raise _refusal(response.status_code, response.data)
        for chunk in response.iter_encoded():
            yield chunk.decode()


def _refusal(status: int, body: bytes) -> Exception:
    try:
        problem = json.loads(body)
        code, detail = str(problem["code"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        code, detail = "http_error", f"HTTP status {status}"
    if status in (502, 503, 504):
        return CannotReach(detail)
    return Refused(status, code, detail)
