"""The catch-up job: reads the events of Octopus that no webhook delivered."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import structlog

from app.domain.events import WEBHOOK_MS, Effect, Event, Unreadable, effect_of, parse_event
from app.jobs import CATCH_UP, RESOLVE
from app.octopus.client import OctopusClient
from app.octopus.errors import OctopusDenied, OctopusError, OctopusMissing
from workers.context import Context, current

log = structlog.get_logger()

#: Octopus shows an event some time after it says that it occurred, and its clock may be behind ours.
OVERLAP_MS = 120_000

#: What is read the first time: what ran before is found by the rebuild.
FIRST_MS = 600_000

#: The longest and the shortest stretch that is read at once. Its end is remembered, so an outage of days is read piece
#: by piece; a stretch that took more requests than there were is halved.
WINDOW_MS = 6 * 3_600_000
LEAST_WINDOW_MS = 60_000

#: How long one job goes on to the next stretch; the rest is another job's.
PASS_SECONDS = 60.0

#: How often is said that the events of a space are not read.
TOLD_EVERY = timedelta(days=1)


def run() -> None:
    """What RQ calls."""
    context = current.get()
    context.begin(CATCH_UP)
    if context.octopus and CatchUp(context, context.octopus).run():
        context.enqueue(CATCH_UP)


def changes_of(events: Sequence[Event]) -> list[list[Event]]:
    """The changes that *events* make, oldest first: each its own, but the ends of a task and the start behind them one.

    Between the two the machines of a task that runs again would be free. An end is told once or twice, as that of the
    deployment and as that of the task.
    """
    ends: dict[str, list[int]] = {}
    groups: dict[int, list[Event]] = {}
    for number, event in enumerate(events):
        subject = (event.task_id or "").lower()
        before = ends.pop(subject, []) if subject and event.effect is Effect.STARTED else []
        if before:
            groups[before[0]] = [*(groups.pop(n)[0] for n in before), event]
            continue
        groups[number] = [event]
        if subject and event.effect is Effect.ENDED:
            ends.setdefault(subject, []).append(number)
    return [groups[number] for number in sorted(groups)]


class CatchUp:
    """One pass from the last event that a pass has seen until now, by Octopus's clock."""

    def __init__(self, context: Context, octopus: OctopusClient) -> None:
        self._context = context
        self._board = context.board
        self._octopus = octopus
        self._progress = context.services.catch_up
        #: Events that no webhook had brought, those of them that none will bring any more, and how late the latest was.
        self.missed = self.lost = self.latest_ms = 0
        self._is_unresolved = False

    def run(self) -> bool:
        """Apply what was missed, oldest first; whether time ran out before the end.

        Raises:
            OctopusError: Octopus did not say; what was applied is not lost, and the rest is read next time.
            StoreError: Redis does not answer.
        """
        ends_at = time.monotonic() + PASS_SECONDS
        offset = self._board.octopus_offset()
        # As late as it can be there: what is read too early is read again.
        now_ms = self._board.now_ms() + offset.most_ms
        from_ms = self._progress.read_to_ms() or now_ms - FIRST_MS
        is_over = False
        try:
            while not is_over and time.monotonic() < ends_at:
                window_ms = self._progress.window_ms() or WINDOW_MS
                to_ms = min(from_ms + window_ms, now_ms + OVERLAP_MS)
                is_over = to_ms > now_ms
                # Until it has been read it counts as too long: the worker may be killed for it, too.
                self._progress.set_window(max(LEAST_WINDOW_MS, min(window_ms, to_ms - from_ms) // 2))
                newest_ms = self._read(from_ms - OVERLAP_MS, to_ms, is_last=is_over)
                from_ms = max(from_ms, newest_ms) if is_over else to_ms
                self._progress.set_read_to(from_ms)
                self._progress.set_window(min(WINDOW_MS, 2 * window_ms))
        finally:
            self._say()
        return not is_over

    def _read(self, from_ms: int, to_ms: int, *, is_last: bool) -> int:
        """Apply the events of one stretch; when the newest occurred, 0 if there was none.

        Ends that the next stretch has as well are left to it: it may have the starts that follow them.
        """
        newest_ms, ends_to_ms = 0, to_ms if is_last else to_ms - OVERLAP_MS
        for resources in self._resources(from_ms, to_ms):
            parsed = (self._parsed(resource) for resource in resources)
            events = [event for event in parsed if event]
            newest_ms = max([newest_ms, *(event.occurred_ms or 0 for event in events)])
            for change in changes_of(events):
                last = change[-1]
                if last.effect is not Effect.ENDED or (last.occurred_ms or 0) <= ends_to_ms:
                    self._apply(change)
        return newest_ms

    def _resources(self, from_ms: int, to_ms: int) -> Iterator[Iterable[Mapping[str, Any]]]:
        """The events of one stretch, of each space, oldest first: a run is in one only.

        Raises:
            OctopusError: of any space, unless it is one of several and hidden: then its events are not read.
        """
        spaces = self._context.settings.octopus_spaces
        for named in [[space] for space in spaces] or [[]]:
            try:
                resources = list(
                    self._octopus.events(from_ms=from_ms, to_ms=to_ms, categories=self._categories(), spaces=named)
                )
            except (OctopusDenied, OctopusMissing) as error:
                if len(spaces) < 2 or getattr(error, "status", None) == HTTPStatus.UNAUTHORIZED:
                    raise
                if self._context.claims.claim(f"events-of-{named[0]}", TOLD_EVERY):
                    log.error("catch up: the events of a space are not read", space=named[0], error=str(error))
                continue
            yield reversed(resources)

    def _parsed(self, resource: Mapping[str, Any]) -> Event | None:
        try:
            return parse_event(resource)
        except Unreadable as error:
            log.warning("catch up: an event cannot be read", error=str(error), event_id=str(resource.get("Id")))
            return None

    def _apply(self, events: Sequence[Event]) -> None:
        if len(events) > 1:
            outcomes = self._board.deliver_as_one(events, via="catch_up")
        else:
            outcomes = [self._board.deliver(event, via="catch_up") for event in events]
        for event, outcome in zip(events, outcomes, strict=True):
            self._count(event, self._link(event) if outcome == "unlinked" else outcome)

    def _count(self, event: Event, outcome: str) -> None:
        if outcome in ("applied", "unresolved"):
            now_ms = self._board.now_ms() + self._board.octopus_offset().least_ms
            late_ms = max(0, now_ms - (event.occurred_ms or 0))
            self.missed += 1
            if late_ms > WEBHOOK_MS + self._context.settings.clock_tolerance_seconds * 1000:
                self.lost += 1
            self.latest_ms = max(self.latest_ms, late_ms)
            self._is_unresolved |= outcome == "unresolved"

    def _link(self, event: Event) -> str:
        """Apply an event that names no server task: its deployment or runbook run does."""
        space = event.info.get("space_id")
        assert event.deployment_id
        try:
            if event.deployment_id.lower().startswith("runbookruns-"):
                task_id = self._octopus.runbook_run(event.deployment_id, space=space).task_id
            else:
                task_id = self._octopus.deployment(event.deployment_id, space=space).task_id
        except OctopusError as error:
            if not error.permanent or error.is_silence:
                raise
            # One that the key may not see must not keep all later events from being read.
            log.warning("catch up: nobody says which task an event is about", event_id=event.id, error=str(error))
            task_id = None
        if not task_id:
            return "unlinked"
        outcome = self._board.deliver(replace(event, task_id=task_id), via="catch_up")
        for delivery in self._context.services.dead_deliveries.all():
            if delivery.get("event") == event.id:
                self._context.services.dead_deliveries.forget(delivery["id"])
        return outcome

    def _categories(self) -> tuple[str, ...]:
        """The categories of this server that are about runs; they differ by version."""
        known = self._progress.categories()
        if known:
            return known
        categories = tuple(c.id for c in self._octopus.event_categories() if effect_of(c.id)[0] is not Effect.OTHER)
        self._progress.set_categories(categories)
        return categories

    def _say(self) -> None:
        if self.missed:
            self._board.note("caught_up", missed=self.missed, lost=self.lost, latest_ms=self.latest_ms)
        if self.lost:
            log.warning("catch up: webhooks had been lost", lost=self.lost, latest_ms=self.latest_ms)
        if self._is_unresolved:
            self._context.enqueue(RESOLVE)
