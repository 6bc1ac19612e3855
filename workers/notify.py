"""The notify job: sends notifications through Apprise, once for each cause, with a link.

A notification that a target has accepted is settled at once; a worker that is killed before that sends it again.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog

from app.domain.records import Filter
from app.followers.notices import Notice, cause_of_wait, notice_of, notice_of_wait
from app.followers.outbox import OutboxEntry
from app.jobs import NOTIFY
from app.settings import PREFIX, BadSettings, Settings
from workers.context import Context, current

if TYPE_CHECKING:
    from apprise import Apprise

log = structlog.get_logger()

#: Records read at once.
CHUNK = 2_000

#: How long one job goes on to the next entry; the rest is another job's, so that urgent ones come in between.
PASS_SECONDS = 10.0

#: A loss of Redis takes along how far the timeline was read. Sooner than so long ago it is not the past.
RECENT = timedelta(hours=1)

#: How long an entry is this worker's: longer than a target is waited for.
CLAIM = timedelta(minutes=2)

#: Seconds that one target is waited for.
PATIENCE_SECONDS = 20.0

#: Pauses after the first failure and at most, doubled in between; and after how many tries an entry is dead.
PAUSES = (timedelta(seconds=10), timedelta(minutes=10))
MOST_TRIES = 8


def run() -> None:
    """What RQ calls."""
    context = current.get()
    context.begin(NOTIFY)
    if context.settings.notify_urls and Notifier(context).run():
        context.enqueue(NOTIFY)


def targets_of(settings: Settings) -> dict[str, tuple[str, Apprise]]:
    """The targets by what they are known by in Redis, which tells nothing of their addresses: a name, and who sends.

    Raises:
        BadSettings: Apprise does not know what an address means.
    """
    # Imported where it is called for: a worker that tells nobody is smaller.
    from apprise import Apprise, AppriseAsset

    asset, targets = AppriseAsset(app_id="octowait", app_desc="octowait", app_url=settings.base_url), {}
    for number, secret in enumerate(settings.notify_urls, start=1):
        address = secret.get_secret_value()
        scheme, sender = address.partition("://")[0], Apprise(asset=asset)
        if not sender.add(address):
            raise BadSettings(f"{PREFIX}NOTIFY_URLS: address {number} ({scheme}://…): expected one that Apprise knows")
        targets[hashlib.sha256(address.encode()).hexdigest()[:16]] = (f"target {number} ({scheme})", sender)
    return targets


class Notifier:
    """One pass: read new records, check for long waits, send the due entries."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._board = context.board
        self._timeline = context.services.timeline
        self._outbox = context.services.outbox
        self._targets = targets_of(context.settings)
        #: The targets that have not taken an entry in this pass.
        self._silent: set[str] = set()

    def run(self) -> bool:
        """Whether time ran out before everything that is due was tried.

        Raises:
            StoreError: Redis does not answer; nothing is lost.
        """
        ends_at = time.monotonic() + PASS_SECONDS
        place, since_ms = self._outbox.begin(self._first_place(), self._board.now_ms())
        while time.monotonic() < ends_at and (read_to := self._read(place)):
            place = read_to
        self._look_who_waits(since_ms)
        while entry := self._outbox.claim(self._board.now_ms(), CLAIM):
            self._send(entry)
            if time.monotonic() > ends_at:
                return True
        return False

    def _first_place(self) -> str:
        """Where one begins who has read nothing: at the end, or where the timeline does if that was a loss of Redis."""
        in_redis = self._context.services.recent
        recent_ms = self._board.now_ms() - RECENT // timedelta(milliseconds=1)
        first, _ = in_redis.page(Filter(), limit=1)
        is_loss = first and (first[0].kind, first[0].cause) == ("closed", "empty") and first[0].at_ms > recent_ms
        return "0-0" if is_loss else self._timeline.last_id()

    def _read(self, place: str) -> str | None:
        """Where the next records go on; None behind the last, or if somebody else has read these."""
        records = list(itertools.islice(self._timeline.read(Filter(), after=place), CHUNK))
        if not records:
            return None
        notices = [notice for record in records if (notice := notice_of(record))]
        return records[-1].id if self._put(notices, seen=place, to=records[-1].id) else None

    def _look_who_waits(self, since_ms: int) -> None:
        """Those who had waited for long before people wanted to be told are the past."""
        threshold_ms = self._context.settings.notify_wait_seconds * 1000
        now_ms = self._board.now_ms()
        runs = self._context.tracked.waiting_since(now_ms - threshold_ms, since_ms - threshold_ms)
        untold = self._outbox.unnotified([cause_of_wait(run) for run in runs])
        tasks = [run.id for run in runs if cause_of_wait(run) in untold]
        places = [place for task in tasks if (place := self._board.place(task)) and place.is_waiting]
        self._put([notice_of_wait(place) for place in places])

    def _put(self, notices: list[Notice], *, seen: str = "", to: str = "") -> bool:
        entries = [(notice.cause, notice.once_in, self._content(notice)) for notice in notices]
        return self._outbox.put(entries, self._targets, self._board.now_ms(), seen=seen, to=to)

    def _content(self, notice: Notice) -> dict[str, str]:
        link = f"{self._context.settings.base_url}{notice.path}"
        return {"title": f"octowait: {notice.title}", "body": f"{notice.body}\n{link}", "level": notice.level}

    def _send(self, entry: OutboxEntry) -> None:
        if entry.target not in self._targets or not entry.notice:
            self._outbox.settle(entry)  # An address that is no longer among the settings.
            return
        name, sender = self._targets[entry.target]
        title = entry.notice["title"]
        # A target that took one not would take none of the others either, and each would be waited for.
        was_asked = entry.target not in self._silent
        if was_asked and _notify(sender, entry.notice):
            self._outbox.settle(entry)
            log.info("notify: sent", notice=title, target=name)
        elif entry.tries < MOST_TRIES:
            self._silent.add(entry.target)
            # Behind the others, since what it does not take may be this one only.
            pause = min(PAUSES[0] * 2 ** (entry.tries - 1), PAUSES[1]) + was_asked * timedelta(seconds=1)
            self._outbox.postpone(entry, self._board.now_ms() + pause // timedelta(milliseconds=1))
            log.warning("notify: not taken, trying again", notice=title, target=name, tries=entry.tries)
        else:
            self._silent.add(entry.target)
            self._give_up(entry, f"{name} has not taken {title!r} in {entry.tries} tries")

    def _give_up(self, entry: OutboxEntry, error: str) -> None:
        log.error("notify: given up", error=error)
        self._context.services.dead_jobs.keep(job=NOTIFY.name, error=error)
        self._board.note("job_failed", job=NOTIFY.name, error=error)
        self._outbox.settle(entry)


def _notify(sender: Apprise, notice: dict[str, Any]) -> bool:
    try:
        return bool(
            sender.notify(
                title=notice["title"],
                body=notice["body"],
                notify_type=notice["level"],
                timeout=PATIENCE_SECONDS,
                # Names of projects and machines are no markup: an e-mail is sent as text, and others escape it.
                body_format="text",
            )
        )
    except (TypeError, ValueError, OSError) as error:
        log.warning("notify: the target could not be asked", error=type(error).__name__)
        return False
