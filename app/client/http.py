"""octowait's own API over HTTP with a token."""

from __future__ import annotations

import codecs
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from app.client.api import CannotReach, Refused, address, refusal
from app.domain.addresses import without_passwords

#: Seconds for an answer, beyond what a call may block.
ANSWER_SECONDS = 20.0

#: Bytes of a stream that are taken at once, at most.
_PIECE = 1 << 16


class _SameOrigin(urllib.request.HTTPRedirectHandler):
    """Lets nobody send the token elsewhere: urllib takes it along to whatever address an answer names."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if _origin(newurl) != _origin(req.full_url) or req.get_method() != "GET":
            raise Refused(code, "redirected", f"{req.full_url} is redirected to {without_passwords(newurl)}: expected "
                          "the address of octowait itself, as --url or OCTOWAIT_URL")  # fmt: skip
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _origin(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    return parts.scheme.lower(), parts.netloc.lower()


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_SameOrigin)


@dataclass(frozen=True)
class HttpGate:
    """Over HTTP with a token."""

    url: str
    token: str

    def call(
        self, method: str, path: str, *, body: object = None, query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:  # fmt: skip
        with self._open(method, address(path, query), body, headers) as response:
            with self._whole():
                text = response.read()
        try:
            return json.loads(text)
        except ValueError as error:
            raise Refused(
                502, "no_json", f"{self.url} answered with something else than JSON: is it octowait?"
            ) from error

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
            return _opener().open(request, timeout=ANSWER_SECONDS + 60)
        except urllib.error.HTTPError as error:
            raise refusal(error.code, error.read()) from error
        except http.client.HTTPException as error:
            raise CannotReach(f"{self.url} does not answer as HTTP does ({error!r}): is octowait there?") from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise CannotReach(f"{self.url} does not answer ({reason}): is octowait running there?") from error
