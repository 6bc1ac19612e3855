"""Jobs without an answer of Octopus: no failures, since the scheduler enqueues each again at its next time."""

from __future__ import annotations

from typing import Any

import structlog
from rq.timeouts import JobTimeoutException

from app.octopus.errors import OctopusError
from app.octopus.transport import was_asking
from workers.context import current
from workers.vetted import VettedJob, name_of

log = structlog.get_logger()


class PatientJob(VettedJob):
    """A job that leaves neither a dead letter nor a traceback where Octopus did not answer, but one line of the log."""

    #: It ended without having done its work.
    was_unanswered = False

    def perform(self) -> Any:
        """Do it, or give up without an error."""
        try:
            return super().perform()
        except OctopusError as error:
            if error.permanent and not error.is_silence:
                raise
            self._note_unanswered(error.why, error=str(error))
        except JobTimeoutException as error:
            if not was_asking(error):
                raise
            # An answer that comes in drops outlasts every time-out between two of them.
            current.get().services.reach.failed("no answer in time")
            self._note_unanswered("no answer in time", error="the time of the job was over")

    def _note_unanswered(self, why: str, *, error: str) -> None:
        self.was_unanswered = True
        log.warning(f"{name_of(self)}: Octopus gave no answer, trying again at its next time", why=why, error=error)
