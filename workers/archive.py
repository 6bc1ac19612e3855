"""The archive job: moves old records of the timeline into the archive, and forgets machines that only these named."""

from __future__ import annotations

import time
from datetime import timedelta

from app.jobs import ARCHIVE
from workers.context import Context, current

#: One worker archives; how long after its death another may.
LEASE = timedelta(minutes=10)

#: How long one job goes on to the next day; the rest is another job's.
PASS_SECONDS = 60.0


def run() -> None:
    """What RQ calls."""
    context = current.get()
    context.begin(ARCHIVE)
    if archive_due(context):
        context.enqueue(ARCHIVE)
    else:
        # Their records are in the archive now.
        context.board.forget_machines()


def archive_due(context: Context, *, seconds: float = PASS_SECONDS) -> bool:
    """Archive day by day; whether time ran out before the last. Does nothing while another worker does it.

    Raises:
        ArchiveError: the files cannot be written, or are not what they must be.
        StoreError: Redis does not answer.
    """
    role = context.services.lock("archiving", LEASE)
    ends_at = time.monotonic() + seconds
    try:
        # What the lease is for is work done twice; nothing would be lost without it.
        while role.hold() and context.services.retention.step(context.board.now_ms()):
            if time.monotonic() > ends_at:
                return True
    finally:
        role.release()
    return False
