"""The learn job: updates the durations of runs, on which the ETAs of waiters rest, from the timeline."""

from __future__ import annotations

import time

from app.jobs import LEARN
from workers.context import current

#: How long one job goes on; the rest is another job's, so that urgent ones come in between.
PASS_SECONDS = 5.0


def run() -> None:
    """What RQ calls."""
    context = current.get()
    context.begin(LEARN)
    learner = context.services.learner
    ends_at = time.monotonic() + PASS_SECONDS
    while learner.learn():
        if time.monotonic() > ends_at:
            context.enqueue(LEARN)
            return
