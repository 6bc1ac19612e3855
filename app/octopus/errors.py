"""The errors of the Octopus API.

OctopusError             ``permanent`` says whether trying again can help
├── OctopusUnreachable   no connection, or no answer in time
├── OctopusBusy          408, 429 or 5xx, also after some retries; or our own budget of requests is spent
├── OctopusDenied        401 or 403: the API key is wrong or may not do this
├── OctopusMissing       404: no such thing, or the API key may not know of it
├── OctopusRejected      any other answer that is not the thing asked for, such as a redirect to another host
│   └── OctopusUnaskable an id that is none: nothing can be asked about it
└── OctopusUnreadable    an answer without what it must have
"""

from __future__ import annotations


class OctopusError(Exception):
    """Octopus did not give what was asked for; the message says what that was."""

    #: Whether the same request will fail again.
    permanent = True

    #: Whether Octopus certainly did nothing of what was asked.
    not_begun = False


class OctopusUnreachable(OctopusError):
    """There was no connection, or no answer in time."""

    permanent = False

    def __init__(self, message: str, *, not_begun: bool = False) -> None:
        super().__init__(message)
        self.not_begun = not_begun


class OctopusBusy(OctopusError):
    """Octopus answered 408, 429 or 5xx, or may not be asked yet. *retry_after* is in seconds, where it is known."""

    permanent = False

    def __init__(self, message: str, *, retry_after: float | None = None, not_begun: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.not_begun = not_begun


class OctopusDenied(OctopusError):
    """The API key is wrong (401), or may not do this (403)."""

    def __init__(self, message: str, *, status: int = 403) -> None:
        super().__init__(message)
        self.status = status

    @property
    def is_about_key(self) -> bool:
        """Whether the API key itself is not accepted, whatever is asked."""
        return self.status == 401


class OctopusMissing(OctopusError):
    """There is no such thing, or the API key may not know of it."""


class OctopusRejected(OctopusError):
    """The answer is not the thing asked for."""


class OctopusUnaskable(OctopusRejected):
    """An id is none: there is nothing that could be asked about it."""


class OctopusUnreadable(OctopusError):
    """The answer lacks something that it must have."""
