"""The job that learns from the timeline how long runs hold their machines, for the ETAs of those who wait."""

from __future__ import annotations

import time

from app.followers.learner import Learner
from app.jobs import LEARN, enqueue
from workers.context import current

#: How long one job goes on; the rest is another job's, so that urgent ones come in between.
PASS_SECONDS = 5.0


def run() -> None:
    """What RQ calls."""
    context = current.get()
    context.begin(LEARN)
    learner = Learner(context.board.client, context.board.keys)
    ends_at = time.monotonic() + PASS_SECONDS
    while learner.learn():
        if time.monotonic() > ends_at:
            enqueue(context.board.client, context.settings, LEARN)
            return
