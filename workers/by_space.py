"""Requests by space: a space that the API key may not see does not stop the requests for the others."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

import structlog

from app.octopus.errors import OctopusDenied, OctopusError, OctopusMissing, OctopusUnreachable
from app.octopus.resources import ALL_SPACES
from workers.context import Context

log = structlog.get_logger()

_Answer = TypeVar("_Answer")


class BySpace:
    """The requests of one job, by space; None stands for all spaces, where that of a run is not known."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._has_answered = False
        self._trouble: OctopusError | None = None

    def why_hidden(self, space_id: str | None) -> str | None:
        """Why Octopus is not to be asked about the space now; None if it is."""
        return self._context.unseen.why_hidden(space_id or ALL_SPACES, self._context.board.now_ms())

    def ask(self, space_id: str | None, question: Callable[[], _Answer]) -> _Answer | None:
        """What Octopus says to *question*, which is about that space only; None if it says nothing, or is not asked.

        Raises:
            OctopusError: nobody would get an answer: the key is none, or Octopus is not there.
            StoreError: Redis does not answer.
        """
        if self.why_hidden(space_id):
            return None
        name = space_id or ALL_SPACES
        try:
            answer = question()
        except OctopusError as error:
            self.failed(error)
            if isinstance(error, OctopusDenied | OctopusMissing):
                self._hide(name, error)
            return None
        self._has_answered = True
        if self._context.unseen.show(name):
            log.info("Octopus answers for this space again", space=name)
        return answer

    def failed(self, error: OctopusError) -> None:
        """Go on to the next question after this answer.

        Raises:
            OctopusError: the next one would get no other.
        """
        if isinstance(error, OctopusUnreachable) or getattr(error, "status", None) == HTTPStatus.UNAUTHORIZED:
            raise error
        if not isinstance(error, OctopusDenied | OctopusMissing):
            self._trouble = error

    def finish(self) -> None:
        """The end of the job.

        Raises:
            OctopusError: Octopus had no answer to anything, and may have one later.
        """
        if self._trouble and not self._has_answered:
            raise self._trouble
        if self._trouble:
            log.warning("Octopus did not answer all questions, they are asked again", error=str(self._trouble))

    def _hide(self, name: str, error: OctopusError) -> None:
        if self._context.unseen.hide(name, why_of(error, name), self._context.board.now_ms()):
            log.error("the runs of a space cannot be looked after", space=name, error=str(error))


def why_of(error: OctopusError, what: str) -> str:
    """``Octopus answers 403 for Spaces-99``."""
    if isinstance(error, OctopusDenied | OctopusMissing):
        return f"Octopus answers {getattr(error, 'status', 404)} for {what}"
    return f"Octopus says nothing about {what} ({error})"[:300]
