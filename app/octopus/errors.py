"""The errors of the Octopus API.

OctopusError             ``permanent`` says whether trying again can help
├── OctopusUnreachable   no connection, or no answer in time
├── OctopusBusy          408, 429 or 5xx, also after some retries; or our own budget of requests is spent
├── OctopusDenied        401 or 403: the API key is wrong or may not do this
├── OctopusMissing       404: no such thing, or the API key may not know of it
├── OctopusRejected      any other answer that is not the thing asked for, such as a redirect to another host
│   └── OctopusUnaskable an id that is none: nothing can be asked about it
└── OctopusUnreadable    an answer without what it must have
    └── OctopusPage      a page for people, of a proxy or of a server in maintenance
"""

from __future__ import annotations

from http import HTTPStatus


class OctopusError(Exception):
    """Octopus did not give what was asked for; the message says what that was."""

    #: Whether the same request will fail again.
    permanent = True

    #: Whether Octopus certainly did nothing of what was asked.
    not_begun = False

    #: Whether nobody answered that could be asked anything else: no connection, a server that fails, a key not taken.
    is_silence = False

    #: The reason in a few words for people, with no address and nothing that Octopus said.
    why = "an answer that octowait does not understand"


class OctopusUnreachable(OctopusError):
    """There was no connection, or no answer in time."""

    permanent = False
    is_silence = True

    def __init__(self, message: str, *, why: str = "no connection", not_begun: bool = False) -> None:
        super().__init__(message)
        self.why = why
        self.not_begun = not_begun


class OctopusBusy(OctopusError):
    """Octopus answered 408, 429 or 5xx, or may not be asked yet: then *status* is None.

    *retry_after* is in seconds, where it is known.
    """

    permanent = False

    def __init__(
        self, message: str, *, status: int | None = None, retry_after: float | None = None, not_begun: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.not_begun = not_begun
        self.is_silence = status is not None and status != HTTPStatus.TOO_MANY_REQUESTS
        self.why = _phrase(status) if status else "octowait may not ask it now"


class OctopusDenied(OctopusError):
    """The API key is wrong (401), or may not do this (403)."""

    def __init__(self, message: str, *, status: int = 403) -> None:
        super().__init__(message)
        self.status = status
        self.is_silence = status == HTTPStatus.UNAUTHORIZED
        self.why = "401: the API key is not accepted" if self.is_silence else "403: the API key may not see this"

    @property
    def is_about_key(self) -> bool:
        """Whether the API key itself is not accepted, whatever is asked."""
        return self.status == 401


class OctopusMissing(OctopusError):
    """There is no such thing, or the API key may not know of it."""

    why = "404: there is no such thing, or the API key may not see it"


class OctopusRejected(OctopusError):
    """The answer is not the thing asked for. *status* is that of the answer; None where a redirect led astray."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status

    @property
    def is_about_body(self) -> bool:
        """Whether the server could not take what was sent: 400, 415 or 422."""
        return self.status in (400, 415, 422)


class OctopusUnaskable(OctopusRejected):
    """An id is none: there is nothing that could be asked about it."""


class OctopusUnreadable(OctopusError):
    """The answer lacks something that it must have."""


class OctopusPage(OctopusUnreadable):
    """The answer is a page for people, of a proxy or of a server in maintenance."""

    permanent = False
    is_silence = True
    why = "a page for people instead of an answer of the API"


def _phrase(status: int) -> str:
    """``503 Service Unavailable``."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
