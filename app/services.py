"""Makes the connections and the objects that use them; everything else is handed what it needs.

RQ and requests are imported where they are called for: a web process that never asks for them is a third smaller.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import structlog

from app.coordination.board import Board, Policy
from app.coordination.connection import connect
from app.coordination.errors import StoreError
from app.coordination.feed import Feed
from app.coordination.foresight import Foresight
from app.coordination.past import Past
from app.coordination.snapshot import Snapshot, take
from app.coordination.timeline import Timeline
from app.coordination.wakes import Wakes
from app.domain.place import Place
from app.settings import Settings

log = structlog.get_logger()


@dataclass(frozen=True)
class Services:
    """What a process works with. Connects when first used."""

    settings: Settings
    board: Board
    timeline: Timeline
    wakes: Wakes
    feed: Feed
    past: Past
    foresight: Foresight

    def close(self) -> None:
        """Let everybody who blocks in this process go; their clients ask again, of another process."""
        self.wakes.close()
        self.feed.close()

    def snapshot(self) -> Snapshot:
        """Everything at this moment."""
        return take(self.board.client, self.board.keys, offset_ms=self.board.script.offset_ms)

    @property
    def knows_octopus(self) -> bool:
        """Whether Octopus can be asked."""
        return bool(self.settings.octopus_url and self.settings.octopus_api_key)

    def request_resolve(self) -> None:
        """Have a worker find out the machines of observed runs; they stay marked if nobody can be asked for it."""
        if self.knows_octopus:
            from app.jobs import enqueue_resolve

            try:
                enqueue_resolve(self.board.client, self.settings)
            except StoreError as error:
                # The event is stored and its run is marked: the scheduler asks for the same every few seconds.
                log.warning("resolve was not enqueued", error=str(error))

    def has_worker(self) -> bool:
        """Whether a worker has reported lately."""
        from app.jobs import workers_seen

        return workers_seen(self.board.client, self.settings)

    def is_running_in_octopus(self, place: Place) -> bool:
        """Whether Octopus says that the run's task runs. False when it cannot be asked: then the operator decides."""
        if not self.knows_octopus:
            return False
        from app.octopus.ask import task_is_running

        return task_is_running(self.settings, place.task_id, place.run.get("info", {}).get("space_id"))


def policy_of(settings: Settings) -> Policy:
    """The gate's policy as the settings say."""
    return Policy(
        waiter_ttl=settings.waiter_ttl,
        max_hold=timedelta(seconds=settings.max_hold_seconds) if settings.max_hold_seconds else None,
        paused_holds=settings.paused_holds,
        clock_tolerance=timedelta(seconds=settings.clock_tolerance_seconds),
        retention=timedelta(days=settings.timeline_retention_days),
    )


def make_services(settings: Settings) -> Services:
    """The services of one process on ``settings.redis_url``.

    Raises:
        BadStoreAddress: the URL is not one of Redis.
    """
    # Few connections whatever the number of waiters: commands share three, wakes and followers have one each.
    client = connect(settings.redis_url, max_connections=3)
    blocking = connect(settings.redis_url, blocking=True)
    board = Board(client, namespace=settings.namespace, policy=policy_of(settings), blocking=blocking)
    timeline = Timeline(client, board.keys)
    return Services(
        settings, board, timeline, Wakes(blocking, board.keys), Feed(timeline, blocking), Past(client, board.keys),
        Foresight(client, board.keys, board.place),
    )  # fmt: skip
