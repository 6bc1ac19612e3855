"""A run: what it asks for, and all that is kept of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from app.domain.access.identity import Identity
from app.domain.run_info import RunInfo

#: The farthest a priority can be from 0; the order in a line has ten digits for it.
MAX_PRIORITY = 1_000_000


class State(StrEnum):
    """Where a run stands. The last four are known to the pages only: such a run has not asked to wait."""

    WAITING = "waiting"  #: in line
    GRANTED = "granted"  #: holds a lease
    RELEASED = "released"  #: granted -> gave its machines back, or its task ended
    LEFT = "left"  #: waiting -> gone by its own wish, or its task ended
    EXPIRED = "expired"  #: waiting or granted -> gone; no sign of life within its TTL
    TIMED_OUT = "timed_out"  #: waiting -> gone; waited as long as it had said it would
    REFUSED = "refused"  #: may not wait
    KNOWN = "known"  #: seen in events, not started
    STARTED = "started"  #: runs without a lease; its machines are not known yet
    OBSERVED = "observed"  #: runs without a lease on known machines
    ENDED = "ended"  #: an observed run that has ended


@dataclass(frozen=True)
class RunRequest:
    """What one execution of a server task asks of the gate. *info* is what people are shown, as `RunInfo.as_json`."""

    task_id: str
    info: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0
    timeout: timedelta | None = None
    parked: bool = False
    #: The task id of the run that started this one; if that holds, this one shares its lease.
    on_behalf_of: str | None = None
    #: What that run gave its children to prove it, if they have been given it; see `RunState.family_word`.
    parent_word: str | None = None
    #: It waited before all was lost, and is put back in line.
    rebuilt: Rebuilt | None = None
    #: The id that the execution of its step made for itself; None of a step that makes none.
    claim: str | None = None
    #: Whether its step is one of before claims, which says no version; None where no step asks.
    is_old_step: bool | None = None
    #: Whose token asks; None where no step does.
    identity: Identity | None = None
    #: Projects whose runs may be its parents where nobody knows the owner of these; ids in lower case.
    parent_projects: frozenset[str] = frozenset()
    #: A digest of the claim and the token, by which that stays good for the claim.
    credential: str | None = None
    #: What its step is told besides: a wish that was not granted.
    remark: str | None = None
    #: Of a run that has another owner: ``take`` it from that one, or ``share`` it.
    verdict: str | None = None


def parse_parent(text: str) -> tuple[str, str | None]:
    """The task id of a parent and its word for its family: ``ServerTasks-1.<word>``, or a task id alone."""
    match = re.fullmatch(r"(ServerTasks-[0-9]+)\.([A-Za-z0-9_-]{16,64})", text, re.IGNORECASE)
    return (match[1], match[2]) if match else (text, None)


@dataclass(frozen=True)
class Rebuilt:
    """What Octopus knows of a parked wait that was lost."""

    #: When its intervention was raised, by Octopus's clock.
    raised_ms: int
    #: Whether that says its time-out, priority and whom it runs for.
    has_terms: bool


@dataclass(frozen=True)
class Refusal:
    """Why a run may not wait: it closes a circle, or *blocking* waiters take task slots of *cap* less *reserve*."""

    #: The waits of the circle, as `app.domain.wording.circle_words` reads them.
    circle: tuple[Mapping[str, str], ...] = ()
    blocking: int | None = None
    cap: int | None = None
    reserve: int | None = None


@dataclass(frozen=True)
class RunState:
    """All that is kept of a run: the fields of its record in Redis, which ``lua/lib/runs.lua`` lists too.

    Times end in ``_ms``: milliseconds of the Redis server's clock, or of Octopus's where they end in ``_oct_ms``.
    """

    #: Its task id, as Octopus writes it.
    id: str
    #: Where it stands.
    state: State
    #: Which run of its task it is, from 1.
    run: int = 1
    #: Grows with every change, so that whoever decides on what he saw can tell that it has changed since.
    v: int = 0
    #: What people are shown.
    info: RunInfo = RunInfo()
    #: The ids of the machines it waits for, holds or uses.
    machines: tuple[str, ...] = ()
    #: The machines it is presumed to use while nobody knows (rule 19).
    presumed: tuple[str, ...] = ()
    #: The machines it will use once it has asked, or does not ask in time.
    planned: tuple[str, ...] = ()
    #: Higher goes first.
    priority: int = 0
    #: Its place in every line, as text that sorts: priority, then arrival.
    order: str = ""
    #: Its wait is a manual intervention, which uses no task slot (rule 11).
    parked: bool = False
    #: It waited before all was lost, and was put back in line.
    rebuilt: Rebuilt | None = None
    #: The task id of the run that started it (rule 10).
    on_behalf_of: str | None = None
    #: The number of the family with which it shares a lease.
    family: int | None = None
    #: Whether a child of its family has named it as the run that started it.
    is_parent: bool = False
    #: What its children say to prove that it started them; a secret of its step.
    family_word: str | None = None
    #: The id of the execution of a step that it belongs to, where that has one.
    claim: str | None = None
    #: The name of the token of who joined it, `EVERYBODY` of one without limits; None where no step asked.
    owner: str | None = None
    #: Another owner that may act for it, since nothing decides between the two.
    rival: str | None = None
    #: A digest of the claim and the token of its join.
    credential: str | None = None
    #: What its step is told besides: a wish that was not granted.
    remark: str | None = None
    #: The space of its task, as Octopus or an event says; None where neither has said it.
    true_space: str | None = None
    #: So its project.
    true_project: str | None = None
    #: The slugs of both, by ``space`` and ``project``, where identities are signed.
    true_slugs: Mapping[str, str] | None = None
    #: It counts among the waiting runs of its owner while it waits.
    is_counted: bool = False
    #: Octopus has not said yet whether its task is what its step says.
    unchecked: bool = False
    #: It may not name the run that it says has started it.
    disowned: bool = False
    #: That execution was told of the grant; what it asks from then on collects it.
    told: bool = False
    #: An API key was set when it began, so that its machines are found out.
    has_key: bool = False
    #: Without one: how long its machines are presumed busy.
    hold_ms: int | None = None
    #: How long it stays without a sign of life.
    ttl_ms: int = 0
    #: How long it may hold.
    max_hold_ms: int | None = None
    #: When it asked to wait; 0 where it has not.
    requested_at_ms: int = 0
    #: When it asked last; 0 where it has not.
    asked_at_ms: int = 0
    #: When its wait ends for its own time-out.
    timeout_at_ms: int | None = None
    #: For how long machines that were presumed busy have delayed it.
    delayed_ms: int = 0
    #: When it was granted.
    granted_at_ms: int | None = None
    #: The fencing token of its grant.
    token: int | None = None
    #: The number of the change in which it was granted.
    granted_change: int | None = None
    #: Enough replicas have the grant, so that it may be told; where none need it, nobody looks.
    copied: bool = False
    #: Its step has heard of the grant.
    collected: bool = False
    #: Its step has not come for the grant in its time; that stays until Octopus has said what the task does.
    in_doubt: bool = False
    #: Since when its machines are presumed busy.
    provisional_at_ms: int | None = None
    #: Since when it is seen to use its machines.
    observed_at_ms: int | None = None
    #: Until when it is expected to ask, with octowait's step or gate before it.
    expected_until_ms: int | None = None
    #: When its start was told, or before.
    start_seen_at_ms: int | None = None
    #: Its latest start.
    started_oct_ms: int | None = None
    #: That start is a resume; the start itself has not been told.
    is_resume_first: bool = False
    #: Its deployment was started before, under another task.
    again: bool = False
    #: It waits for a person in Octopus.
    paused: bool = False
    #: When its latest pause began.
    paused_oct_ms: int | None = None
    #: It has lost its machines to a pause.
    gave_way: bool = False
    #: Since when Octopus tries to cancel it.
    cancelling_at_ms: int | None = None
    #: Its wait is over, and its task may work all the same.
    lingers: bool = False
    #: Its step has said that it uses its machines no longer, after its wait was over.
    gave_back: bool = False
    #: Its intervention was answered with "Abort".
    is_aborted: bool = False
    #: When its wait or hold ended.
    ended_at_ms: int | None = None
    #: Its latest end.
    ended_oct_ms: int | None = None
    #: The latest end of an earlier run of its task.
    prior_end_oct_ms: int | None = None
    #: Its end in Octopus has been told.
    end_seen: bool = False
    #: The end of the run before it, which its step told, is still to come from Octopus.
    owes_end: bool = False
    #: The end that a webhook told of and Octopus has not confirmed: ``id`` of the event, ``occurred_ms``, ``outcome``.
    end_event: Mapping[str, Any] | None = None
    #: How its task ended: ``succeeded``, ``failed``, ``canceled``, ``timedout`` or ``abandoned``.
    outcome: str | None = None
    #: Why its wait or hold ended.
    cause: str | None = None
    #: What a person gave as the reason for it.
    reason: str | None = None
    #: The person.
    by: str | None = None
    #: Why it may not wait.
    refusal: Refusal | None = None
    #: The state in which it was before it joined again.
    after: str | None = None
    #: The state in which its wait ended, before it was seen to work on.
    wait_ended: str | None = None
    #: What else was known of that end, by the names of the fields here.
    wait_end: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class TaskEnd:
    """How a task ended, ``succeeded``, ``failed``, ``canceled`` or ``timedout``, and when by Octopus's clock."""

    outcome: str
    at_ms: int | None = None
