"""octowait's own API as its commands call it: what a call answers and how it fails, however it gets there."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from app.client.in_process import DirectGate


class CannotReach(Exception):
    """octowait, or Redis under it, does not answer; trying again can help. *code* is that of the answer, if any."""

    def __init__(self, detail: str, code: str = "") -> None:
        super().__init__(detail)
        self.code = code


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


def in_process(gate: Gate) -> DirectGate | None:
    """*gate* where it is octowait in this process. Nobody has such a one who has not imported it, which takes long."""
    module = sys.modules.get("app.client.in_process")
    return gate if module and isinstance(gate, module.DirectGate) else None


def address(path: str, query: Mapping[str, object] | None) -> str:
    """*path* with what is set of *query*."""
    parameters = {name: value for name, value in (query or {}).items() if value is not None}
    return f"{quote(path)}?{urlencode(parameters)}" if parameters else quote(path)


def refusal(status: int, body: bytes) -> Exception:
    """The error that an answer with this status is."""
    try:
        problem = json.loads(body)
        code, detail = str(problem["code"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        code, detail = "http_error", f"HTTP status {status}"
    if status in (502, 503, 504):
        return CannotReach(detail, code)
    return Refused(status, code, detail)
