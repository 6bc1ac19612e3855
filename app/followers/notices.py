"""Notifications: which records of the timeline make one, and its text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from app.domain.durations import format_duration
from app.domain.phrases import clause, sentence, several
from app.domain.records import Record
from app.domain.run import RunState
from app.domain.status import RunStatus

#: A webhook comes 10 to 50 s after the event. What was found out sooner than this was not lost.
LATE_MS = 120_000

#: A job that fails every few seconds, for the same reason, is told of once in so long.
SAME_FAILURE = timedelta(days=1)


@dataclass(frozen=True)
class Notice:
    """A notification: sent once for its *cause* within *once_in*; *path* is the page that shows more."""

    cause: str
    title: str
    body: str
    path: str = "/"
    level: Literal["info", "warning", "failure"] = "warning"
    once_in: timedelta = timedelta(days=30)


def notice_of(record: Record) -> Notice | None:
    """The notice of a record; None for most."""
    make = _MAKERS.get(record.kind)
    return make(record) if make else None


def cause_of_wait(run: RunState) -> str:
    """The cause of the notification of a long wait."""
    return f"wait {run.id} {run.run} {run.requested_at_ms}"


def notice_of_wait(place: RunStatus) -> Notice:
    """The notice of a run that has waited for long, whatever the reason."""
    run, since = place.run, format_duration(place.now_ms - place.run.requested_at_ms)
    return Notice(
        cause_of_wait(run), f"{place.task_id} waits for long",
        f"{run.info.of(run.id)} has waited for {since}. {place.message}", f"/runs/{place.task_id}",
    )  # fmt: skip


def _overlapped(record: Record) -> Notice:
    other = record.detail.get("with")
    return Notice(
        f"overlap {record.task_id} {record.run} {other}", f"Two runs on {_machines(record)} at once",
        f"{record.task_id} was found on {_machines(record)} while {other} runs there; it had not asked octowait.",
        f"/runs/{record.task_id}", "failure",
    )  # fmt: skip


def _reserved(record: Record) -> Notice:
    who, note = record.detail.get("by"), record.detail.get("note")
    machine = _machines(record)
    return Notice(
        f"reserved {record.id}", f"{machine} is reserved", f"{who} has reserved {machine}: {sentence(note)}",
        f"/machines/{machine}", "info",
    )  # fmt: skip


def _ended(record: Record) -> Notice | None:
    """Of an end only what was forced, or found out so late that its webhook must have been lost."""
    where, late_ms = f"/runs/{record.task_id}", record.detail.get("late_ms", 0)
    if record.cause == "forced":
        did = "was taken out of its lines" if record.kind == "left" else f"was made to give back {_machines(record)}"
        who, reason = record.detail.get("by"), record.detail.get("reason")
        return Notice(
            f"forced {record.id}", f"{record.task_id} was ended by force",
            f"{record.task_id} {did} by {who}: {sentence(reason)}", where,
        )  # fmt: skip
    if record.cause == "reconciled" and late_ms > LATE_MS:
        return Notice(
            f"repair {record.id}", f"The end of {record.task_id} was found out late",
            f"{record.task_id} had ended {format_duration(late_ms)} before Octopus was asked; no webhook had told.",
            where,
        )  # fmt: skip
    return None


def _gap(record: Record) -> Notice:
    came, total = record.detail.get("came"), record.detail.get("total")
    return Notice(
        f"gap {record.detail.get('batch')}", "Webhooks are missing",
        f"Of a batch of {total} webhooks {came} came: Octopus drops the rest of a batch after one that "
        "failed. The events are read from Octopus now.",
    )  # fmt: skip


def _caught_up(record: Record) -> Notice | None:
    """Of what was read before its webhook came nobody needs to know."""
    lost, latest_ms = record.detail.get("lost", record.detail.get("missed")), int(record.detail.get("latest_ms", 0))
    if not lost:
        return None
    return Notice(
        f"repair {record.id}", "Webhooks had been lost",
        f"No webhook had brought {several(int(lost), 'event')}, read from Octopus now; the latest "
        f"{format_duration(latest_ms)} after it occurred.",
    )  # fmt: skip


def _closed(record: Record) -> Notice | None:
    if record.cause == "roll_call":
        return None  # For ten seconds at most.
    why = {
        "empty": "Redis was empty",
        "rolled_back": f"Redis came back older than what octowait has done: at least {_lost(record)} are lost",
        "unwitnessed": f"Redis is another server than before, and who served is not there to say what it must know "
        f"({', '.join(record.detail.get('missing') or ['nobody'])})",
    }.get(record.cause or "", f"{record.detail.get('by')} has asked for it")
    return Notice(
        f"closed {record.id}", "Nobody is granted",
        f"{why}: no machine is granted until Octopus has said who runs where.", level="failure",
    )  # fmt: skip


def _opened(record: Record) -> Notice | None:
    if record.cause == "roll_call":
        return None
    after = format_duration(int(record.detail.get("closed_ms", 0)))
    lost = ""
    if record.cause == "no_api_key" and record.detail.get("lost"):
        lost = (
            f" Redis had come back older, {_lost(record)} are lost, and without an API key nobody could be asked who "
            "works: look into Octopus whether two runs work on one machine."
        )
    return Notice(
        f"opened {record.id}", "Machines are granted again", f"Machines are granted again, after {after}.{lost}",
        level="failure" if lost else "info",
    )  # fmt: skip


def _lost(record: Record) -> str:
    return several(int(record.detail.get("lost", 1)), "change")


def _unreachable(record: Record) -> Notice:
    return Notice(
        f"unreachable {record.id}", "Octopus does not answer",
        f"octowait cannot ask Octopus: {clause(record.detail.get('why'))}. Nothing is ended for that; ends that "
        "neither a step nor a webhook tells are seen when it answers, and parked runs are resumed then.",
        "/health", "failure",
    )  # fmt: skip


def _reachable(record: Record) -> Notice:
    after = format_duration(int(record.detail.get("away_ms", 0)))
    return Notice(
        f"reachable {record.id}", "Octopus answers again", f"Octopus answers again, after {after}.", "/health", "info"
    )


def _job_failed(record: Record) -> Notice | None:
    job, error = str(record.detail.get("job")), str(record.detail.get("error"))
    if job == "notify":
        return None  # That nobody could be told of something is nothing that anybody could be told of.
    title = "A job was refused" if job == "refused" else f"The job {job} failed"
    return Notice(
        f"failed {job} {_fingerprint(error)}", title, f"{sentence(error)} 'octowait dead-letters' lists what failed.",
        level="failure", once_in=SAME_FAILURE,
    )  # fmt: skip


def _unanswered(record: Record) -> Notice | None:
    """Of a parked run whose turn has come, or will not come, and whose intervention is not octowait's to answer."""
    reason = record.detail.get("reason")
    if not record.detail.get("refused"):
        return None
    return Notice(
        f"unanswered {record.task_id} {record.run} {_fingerprint(str(reason))}", f"{record.task_id} stays paused",
        # No full stop: the reason may end with a line to paste.
        f"octowait cannot let {record.task_id} go on: {reason}", f"/runs/{record.task_id}",
    )  # fmt: skip


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _machines(record: Record) -> str:
    return ", ".join(record.machines) or "no machine"


_MAKERS: dict[str, Callable[[Record], Notice | None]] = {
    "overlapped": _overlapped, "reserved": _reserved, "released": _ended, "left": _ended, "ended": _ended, "gap": _gap,
    "caught_up": _caught_up, "closed": _closed, "opened": _opened, "job_failed": _job_failed,
    "not_resumed": _unanswered,
    "octopus_unreachable": _unreachable, "octopus_reachable": _reachable,
}  # fmt: skip
