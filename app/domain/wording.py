"""Wording: states, causes, ends and blockers in words, the same in messages, on pages, in charts and in commands."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.domain.analysis.fronts import Reason, Stretch
from app.domain.phrases import clause

_TASK = re.compile(r"ServerTasks-\d+\Z", re.IGNORECASE)

#: A record of the timeline by its kind, and a row of a chart by what it shows.
KINDS = {
    "joined": "Joined the line", "granted": "Granted", "released": "Released", "left": "Left the line",
    "expired": "Expired", "timed_out": "Timed out", "refused": "Refused", "observed": "Seen running",
    "presumed": "Presumed to use", "dropped": "Presumed no longer", "expected": "About to ask",
    "claimless": "Ended without a claim", "disputed": "Disputed",
    "overlapped": "Overlapped", "ended": "Ended", "event": "Octopus event", "reserved": "Reserved",
    "unreserved": "Reservation ended", "prioritized": "Priority changed", "outage_ended": "octowait back",
    "clock_jumped": "Clock jumped", "repaired": "Put right",
    "closed": "Closed", "opened": "Open again", "resumed": "Intervention answered",
    "not_resumed": "Intervention not answered", "abandoned": "Abandoned by Octopus", "caught_up": "Caught up",
    "gap": "Webhooks missing", "job_failed": "Job failed", "archive_lost": "Archive begun anew",
    "octopus_unreachable": "Octopus does not answer", "octopus_reachable": "Octopus answers again",
    "reservation": "Reserved", "waiting": "Waits", "lost": "Unknown end",
}  # fmt: skip

#: The cause of a record in a cell of a table.
CAUSES = {
    "step": "its step", "event": "Octopus event", "reconciled": "reconciler", "forced": "operator",
    "operator": "operator", "max_hold": "longest hold", "paused": "pause", "uncollected": "not collected",
    "silence": "no sign of life", "timeout": "its time-out", "until": "its end time", "resolved": "machines found",
    "resumed": "resumed", "abandoned": "grace over", "task_cap": "task cap", "circle": "would wait for itself",
    "by_hand": "a person", "octowait": "octowait", "last_run": "as its project did last",
    "went_on": "may work on after its wait", "in_part": "perhaps more", "unknown": "nobody could tell",
    "silent": "it has not asked", "empty": "Redis was empty", "rebuilt": "rebuilt from Octopus",
    "no_api_key": "nobody to ask", "taken_over": "another owner", "owner": "two owners",
    "rolled_back": "Redis came back older",
    "withdrawn": "not collected before octowait closed",
    "disproved": "not what its step said", "no_machine": "no such machine",
    "roll_call": "another Redis server", "unwitnessed": "somebody who served is missing",
    "repaired": "put right, as the next record says",
    # What does not agree in Redis, of a run or a machine that stands before it.
    "holder_without_run": "held by a run of which nothing is known", "holder_is_over": "held by a run that is over",
    "stray_holder": "held by a run that has not got it", "not_held": "free, and a run has got it",
    "stray_place": "in a line without waiting there", "no_place": "not in a line where it waits",
    "no_order": "waits without an order", "stray_entry": "in a list where it does not belong",
    "no_entry": "not in a list where it belongs", "stray_deadline": "a deadline without cause",
    "no_deadline": "a deadline is missing", "counter_behind": "a counter is behind",
    "unknown_machine": "a machine that is not listed", "reservation_not_held": "free, and reserved",
    "reservation_unknown": "reserved, and nobody knows by whom", "malformed": "an entry that names nothing",
    "foreign_key": "a key of another type",
}  # fmt: skip

#: The cause of an end as a clause of its own: it stands after "until", after a comma and in brackets.
ENDS = {
    "step": "its release step ran",
    "event": "its task ended",
    "reconciled": "its task was found to have ended",
    "forced": "an operator released it",
    "max_hold": "the longest hold that is allowed was over",
    "paused": "it paused, and paused runs give way here",
    "uncollected": "its grant was not collected in time",
    "disproved": "Octopus says that its task is another one than its step has said",
    "taken_over": "the token of its project asked for it, and another one had",
    "withdrawn": "octowait closed before anybody collected its grant, so that it waits again",
    "abandoned": "Octopus had abandoned its task, and the time for its script to end was over",
}

#: Why nobody is granted, by the cause of the closing; the first one where that is not known.
CLOSED = {
    "empty": "octowait lost its memory",
    "rolled_back": "octowait's memory is older than what it has done",
    "operator": "an operator has closed octowait",
    "roll_call": "Redis is another server than before, and all who serve are asked whether it knows what they do",
    "unwitnessed": "Redis is another server than before, and somebody who served is not there to say what it must know",
}

#: Said in the log when a board opens that could ask nobody.
OPENED_UNASKED = (
    "Redis was empty, or may have come back older, and there is no Octopus API key: deployments that run now are "
    "unknown, and their machines are granted. Set OCTOWAIT_OCTOPUS_URL and OCTOWAIT_OCTOPUS_API_KEY to change that."
)

#: Why a claim that is over is told that it has left the line.
CLAIM_IS_OVER = "this execution of its step is over, or another one has asked since"

#: Why a wait that timed out is told that it has left the line, where its run was seen at work since then.
TIME_IS_OVER = "its time-out has passed"

#: What a run that does not wait says of its state.
STATES = {
    "released": "has given its machines back",
    "left": "has left the line",
    "expired": "was removed from the line: nothing was heard from it for too long. Ask again to join at the end",
    "timed_out": f"was removed from the line: {TIME_IS_OVER}",
    "refused": "may not wait",
    "known": "has not started: it is in Octopus's queue, or waits for an approval in Octopus",
    "started": "runs without a lease; its machines are not known yet",
    "observed": "runs without a lease",
    "ended": "has ended",
}

#: What a run was before it joined the line (again).
BEFORE = {
    "expired": "had been removed for silence", "timed_out": "had timed out", "left": "had left the line",
    "observed": "had been seen running", "released": "had released before", "ended": "had ended before",
    "started": "had started", "known": "known from events", "refused": "had been refused",
}  # fmt: skip

#: The same as a sentence, where a person has to know.
REJOINED = {
    "expired": "It had been removed from the line because nothing was heard from it; it joined again at the end.",
    "timed_out": "Its earlier wait had timed out; it joined again at the end.",
    "left": "It had left the line; it joined again at the end.",
    "observed": "It had been seen running on these machines; it gave them up and joined the line.",
}

#: How a run had its machines, by the kind of its hold.
HELD = {"lease": "held", "observed": "ran without a wait step", "provisional": "was presumed to use it"}

#: A blocker that is no run, by its reason.
BLOCKERS = {
    Reason.RESERVATION: "a reservation", Reason.REBUILDING: "a rebuild of octowait", Reason.NOBODY: "nobody known",
}  # fmt: skip

#: A link of the chain of those in a run's way.
LINKS = {
    "working": "Works", "paused": "Paused", "waiting": "Waits too", "reservation": "Reserved",
    "rebuilding": "Rebuilding",
}  # fmt: skip


@dataclass(frozen=True)
class Names:
    """What people call things, by lower-case id: ``ServerTasks-4700 (Api 2.0.1 to Production)``, ``web-01``.

    Args:
        urls: Where Octopus shows a task.
        projects: The project of a task, as people call it.
    """

    runs: Mapping[str, str] = field(default_factory=dict)
    machines: Mapping[str, str] = field(default_factory=dict)
    urls: Mapping[str, str] = field(default_factory=dict)
    projects: Mapping[str, str] = field(default_factory=dict)
    environments: Mapping[str, str] = field(default_factory=dict)

    def run(self, task_id: str) -> str:
        return self.runs.get(task_id.lower(), task_id)

    def label(self, task_id: str | None) -> str | None:
        """``Api 2.0.1 to Production``: a run's name without its task, if it has any."""
        return self.runs.get((task_id or "").lower(), "").partition(" (")[2][:-1] or None

    def machine(self, machine_id: str | None) -> str:
        return self.machines.get((machine_id or "").lower(), machine_id or "its machines")


def capitalized(text: str) -> str:
    """*text* with its first letter large, and its other letters as they are."""
    return text[:1].upper() + text[1:]


def kind(name: str) -> str:
    """The kind of a record or of a row of a chart; of one that is not known here its own name."""
    return KINDS.get(name) or capitalized(name.replace("_", " "))


def holding(kind: str, *, is_paused: bool) -> str:
    """The verb between a holder and its machine, to be followed by how long: ``has held``."""
    if kind == "provisional":
        return "has started and is presumed to use"
    return "is paused on" if is_paused else "has held"


def blocker(part: Stretch, names: Names) -> str:
    """Who was in the way in a stretch of a wait: ``ServerTasks-4700 (Api 2.0.1 to Production) held web-01``."""
    where = names.machine(part.machine_id)
    match part.reason:
        case Reason.HOLDER:
            return f"{names.run(part.task_id or '')} held {where}"
        case Reason.AHEAD:
            return f"{names.run(part.task_id or '')} stood before it at {where} and waited for another machine"
        case Reason.RESERVATION:
            return f"{where} was reserved ({clause(part.note or 'nobody said what for')})"
        case Reason.REBUILDING:
            return "octowait granted nothing until it knew again who runs where"
    return "it is not on record who was in its way"


def closed_words(cause: str | None) -> str:
    """Why nobody is granted, by the cause of the closing."""
    return CLOSED.get(cause or "", CLOSED["empty"])


def never_named(task_id: str) -> str:
    """That nobody has heard of a run; and what was expected, where that is no id of a task."""
    expected = "" if _TASK.match(task_id) else "; expected the id of a server task, such as ServerTasks-4711"
    return f"{task_id[:100]} is unknown: no step and no event ever named it{expected}"


def circle_words(circle: Sequence[Mapping[str, str]]) -> str:
    """``ServerTasks-3 waits for Machines-2, held by ServerTasks-2, which waits for its child ServerTasks-3``."""
    text = circle[0]["from"]
    for number, edge in enumerate(circle):
        text += ", which waits for " if number else " waits for "
        if edge["how"] == "child":
            text += f"its child {edge['to']}"
        else:
            text += f"{edge['machine']}, {'held by' if edge['how'] == 'holder' else 'behind'} {edge['to']}"
    return text
