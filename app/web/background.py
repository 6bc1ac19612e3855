"""What a web process does besides answering; whatever fails, it goes on."""

from __future__ import annotations

from contextlib import suppress

import gevent
import structlog
from gevent.event import Event

from app.services import Services
from app.store.errors import StoreError
from app.store.scripts import Scripts
from app.web.refusals import RefusalLog

log = structlog.get_logger()

#: Seconds between two sweeps of one process: a dead waiter blocks others for at most its TTL plus this.
SWEEP_SECONDS = 1.0

#: The scripts that answer others, the ones that are needed first in front; and the seconds between two of them.
PREPARED, PREPARE_SECONDS = ("poll_many", "poll", "release", "carry_on", "join", "deliver_many"), 0.02


def prepare(scripts: Scripts) -> None:
    """Have scripts ready before somebody waits for them: behind the first hand-off, or ten thousand woken steps."""
    for name in PREPARED:
        for _ in scripts.prepare(name):
            gevent.sleep(PREPARE_SECONDS)


def copy(services: Services, task_id: str) -> None:
    try:
        services.board.look(task_id)
    except StoreError as error:
        log.warning("a grant was not copied: its step asks again", task=task_id, error=str(error))


def carry_on(scripts: Scripts, left: Event) -> None:
    """Do what scripts have *left* and what is due, each time that it is set; the sweep sets it again after an error."""
    while True:
        left.wait()
        left.clear()
        try:
            while scripts.carry_on():
                pass
        except StoreError:
            pass
        except Exception as error:
            _say_in_any_case("left work broke off", error)


def sweep(services: Services, refusal_log: RefusalLog, left: Event) -> None:
    """Sweep every second; *left* is set where there is more to do, so that only one greenlet of a process does it."""
    while True:
        try:
            swept = services.board.sweep(serving=True)
            services.react_to_sweep(swept)
            services.board.script.witness.keep()
            services.metric_buffer.flush(blocked=len(services.wakes))
            services.shared_snapshot.forget_if_idle()
            refusal_log.say_if_due()
            if swept.more:
                left.set()
        except Exception as error:
            # Without a sweep nobody expires, and others take that for an outage of octowait.
            _say_in_any_case("sweep failed, trying again", error)
        gevent.sleep(SWEEP_SECONDS)


def _say_in_any_case(event: str, error: Exception) -> None:
    """Log it if that can be: where nobody reads the log, or the disk is full, the work goes on."""
    with suppress(Exception):
        if isinstance(error, StoreError):
            log.warning(event, error=str(error))
        else:
            log.error(event, exc_info=error)
