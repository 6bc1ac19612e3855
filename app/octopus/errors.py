"""The errors of the Octopus API.

OctopusError             ``permanent`` says whether trying again can help
├── OctopusUnreachable   no connection, or no answer in time
├── OctopusBusy          408, 429 or 5xx, also after some retries
├── OctopusDenied        401 or 403: the API key is wrong or may not see this
├── OctopusMissing       404: no such thing, or the API key may not know of it
├── OctopusRejected      any other answer that is not the thing asked for, such as a redirect to another host
└── OctopusUnreadable    an answer without what it must have
"""

from __future__ import annotations


class OctopusError(Exception):
    """Octopus did not give what was asked for; the message says what that was."""

    #: Whether the same request will fail again.
    permanent = True


class OctopusUnreachable(OctopusError):
    """There was no connection, or no answer in time."""

    permanent = False


class OctopusBusy(OctopusError):
    """Octopus answered 408, 429 or 5xx. *retry_after* is in seconds, where Octopus said so."""

    permanent = False

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OctopusDenied(OctopusError):
    """The API key is wrong, or may not see this."""


class OctopusMissing(OctopusError):
    """There is no such thing, or the API key may not know of it."""


class OctopusRejected(OctopusError):
    """The answer is not the thing asked for."""


class OctopusUnreadable(OctopusError):
    """The answer lacks something that it must have."""
