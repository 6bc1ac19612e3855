"""All keys of one namespace: type, meaning, owner and lifetime. RQ's own keys, ``rq:*``, are not among them.

All share a hash tag, so that on Redis Cluster a namespace lives on one shard.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Key:
    """One key, or a prefix of keys if *name* ends with a colon.

    *type* is Redis's (``string``, ``list``, ``set``, ``zset``, ``hash``, ``stream``), or ``channel``, which is no key.
    *owner* is the module, or the folder of scripts, that writes it. *lifetime* says when it goes, or loses entries.
    """

    name: str
    type: str
    owner: str
    lifetime: str
    meaning: str

    @property
    def is_prefix(self) -> bool:
        return self.name.endswith(":")


_SCRIPTS = "app/coordination/lua"
_RETENTION = "entries go after the retention"

#: Those of the scripts of the board, in the order of ``lua/lib/keys.lua``, which says how their members are built.
SCRIPT_KEYS = (
    Key("runs", "hash", _SCRIPTS, _RETENTION, "task id -> run, JSON: the fields of `app.domain.run.RunState`"),
    Key("lines", "zset", _SCRIPTS, "entries go when the wait ends", "who waits for which machine, in order"),
    Key("holders", "zset", _SCRIPTS, "entries go when the machine is given back", "who makes which machine busy"),
    Key("deadlines", "zset", _SCRIPTS, "entries go when they are due or void", "what ends when"),
    Key("reservations", "hash", _SCRIPTS, "entries go when the reservation ends", "machine -> reservation, JSON"),
    Key("counters", "hash", _SCRIPTS, "for ever", "last numbers given; states of octowait, of Octopus"),
    Key("machines", "hash", _SCRIPTS, "fields go when no record is left of the machine", "machine -> {id, name}, JSON"),
    Key("events", "zset", _SCRIPTS, _RETENTION, "event id -> ms it was first seen; below 0: about no run, for a day"),
    Key("aliases", "hash", _SCRIPTS, _RETENTION, "deployment or runbook run id -> task id"),
    Key("unresolved", "zset", _SCRIPTS, "entries go when machines are known", "observed runs to ask Octopus about"),
    Key("ended", "zset", _SCRIPTS, _RETENTION, "task id -> ms it ended; what retention reads"),
    Key("timeline", "stream", _SCRIPTS, "entries go into the archive", "every change"),
    Key("index:", "list or stream", _SCRIPTS, "entries go into the archive",
        "record ids by run (lists), machine, project and environment (streams; of a machine two in one at times)"),
    Key("wake:", "list", _SCRIPTS, "at least a minute", "what a client blocks on that waits for its run"),
    Key("wakes", "channel", _SCRIPTS, "none", "the task id of each run that waits no longer"),
    Key("blocking", "set", _SCRIPTS, "entries go when the wait ends", "waiters whose step takes a task slot (rule 12)"),
    Key("children", "zset", _SCRIPTS, "entries go when the wait ends", "waiters that share a lease (rule 10)"),
    Key("resumes", "zset", _SCRIPTS, "entries go when answered", "parked runs to answer the intervention of -> ms"),
    Key("batches", "zset", _SCRIPTS, "entries go when the batch is over", "webhooks of a batch that came"),
    Key("plan:", "hash or string", _SCRIPTS, "renewed by each run", "what the last runs of a process used"),
    Key("ended_claims", "zset", _SCRIPTS, "entries go after a day", "executions of steps that are over -> ms"),
    Key("old_steps", "hash", _SCRIPTS, "entries go after 30 days", "projects whose step scripts are old, JSON"),
    Key("owned", "zset", _SCRIPTS, "entries go when the wait ends", "waiters of owners that may have so many only"),
    Key("changes", "stream", _SCRIPTS, "the last 100,000", "number of a change -> the word of who made it"),
    Key("epochs", "hash", _SCRIPTS, "the last 1000", "epoch that is over -> the highest number told of it"),
    Key("unchecked", "zset", _SCRIPTS, "entries go when checked or ended", "runs of steps to ask Octopus about"),
    Key("wants", "hash", _SCRIPTS, "entries go when the wait ends", "waiter -> its machines"),
    Key("processes", "zset", _SCRIPTS, "entries go in a roll call", "who serves -> ms it spoke last"),
    Key("quotas", "hash", _SCRIPTS, "two days after a limited join", "what owners with limits have added this day"),
    Key("delays", "hash", _SCRIPTS, "entries go when the wait ends", "waiter -> how long what is presumed delayed it"),
)  # fmt: skip

#: The jobs of `app.jobs`, each with a round.
_ROUNDS = ("resolve", "reconcile", "watch", "check", "resume", "rebuild", "catch_up", "archive", "notify", "learn")

#: Every key.
KEYS = (
    *SCRIPT_KEYS,
    Key("clock:", "string", "app/store/clock.py", "a day", "how the clocks compared, by boot of a machine"),
    Key("resolving:", "string", "app/coordination/claims.py", "as long as the claim", "a claim: it was done lately"),
    Key("resolve-failures:", "string", "app/coordination/claims.py", "a day", "how often in a row it failed"),
    Key("resolve-pass", "string", "app/coordination/claims.py", "seconds", "a pass over unresolved runs was begun"),
    Key("unnamed", "zset", "app/coordination/claims.py", "entries go after ten minutes", "runs to look names up for"),
    Key("asked", "zset", "app/coordination/tracked.py", "an hour", "tasks and spaces by when they took their turn"),
    Key("batches-over", "zset", "app/coordination/batches.py", "a day", "batches of webhooks that are over"),
    Key("unseen-runs", "hash", "app/coordination/unseen.py", "a day", "runs that Octopus will say nothing about"),
    Key("unseen-spaces", "hash", "app/coordination/unseen.py", "a day", "spaces that Octopus will say nothing about"),
    Key("kept", "stream", "app/coordination/dead_letters.py", "the last 1000", "deliveries that could not be applied"),
    Key("dead", "stream", "app/coordination/dead_letters.py", "the last 1000", "jobs that failed"),
    Key("session:", "string", "app/coordination/sessions.py", "12 hours", "a session of a person, JSON"),
    Key("sign-in-code:", "string", "app/coordination/sessions.py", "ten minutes", "a code that opens one session"),
    Key("refused", "stream", "app/coordination/refusals.py", "a day", "calls that were refused"),
    Key("sign-in:", "string", "app/coordination/attempts.py", "a minute", "failed attempts of an address"),
    Key("octopus-permits", "list", "app/coordination/budget.py", "two minutes", "when requests to Octopus went out"),
    Key("octopus-pause", "string", "app/coordination/budget.py", "the pause", "until when nobody may ask Octopus"),
    Key("octopus-pause-urgent", "string", "app/coordination/budget.py", "the pause", "the same for urgent callers"),
    Key("octopus-calls", "hash", "app/coordination/budget.py", "for ever", "requests to Octopus by kind"),
    Key("caught-up-to", "string", "app/coordination/catch_up.py", "for ever", "up to when events were read"),
    Key("caught-up-by", "string", "app/coordination/catch_up.py", "for ever", "ms of events that are read at once"),
    Key("event-categories", "string", "app/coordination/catch_up.py", "an hour", "categories about runs, JSON"),
    Key("scheduler", "string", "workers/schedule.py", "seconds", "the lock of the one scheduler"),
    Key("archiving", "string", "workers/archive.py", "minutes", "the lock of the one that archives"),
    *(Key(f"{job}-round", "string", "app/jobs.py", "for ever", "part of the id of its next job") for job in _ROUNDS),
    Key("archived", "string", "app/history/archive/retention.py", "for ever", "the newest day in the archive, JSON"),
    Key("past:head", "string", "app/followers/learner.py", "for ever", "where learning goes on, and the state there"),
    Key("past:checkpoints", "stream", "app/followers/learner.py", "the last 2000", "earlier states to replay from"),
    Key("past:durations", "hash", "app/followers/learner.py", "the last 3000 kinds", "kind of run -> how long it held"),
    Key("past:version", "string", "app/followers/learner.py", "for ever", "changes when durations do"),
    Key("past:accuracy", "hash", "app/followers/learner.py", "for ever", "how true ETAs were, counts by week"),
    Key("past:predictions", "hash", "app/history/estimates.py", "entries go when the wait ends", "ETAs by wait"),
    Key("measured", "hash", "app/followers/metric_values.py", "for ever", "metric values"),
    Key("measured-to", "string", "app/followers/metric_values.py", "for ever", "the last record that was counted"),
    Key("measured-freed", "hash", "app/followers/metric_values.py", "entries go on a grant", "machine -> free since"),
    Key("measured-born", "string", "app/followers/metric_values.py", "for ever", "since when is counted"),
    Key("blocked-requests", "hash", "app/followers/metric_values.py", "for ever", "blocked requests by process"),
    Key("notify-place", "string", "app/followers/outbox.py", "while people are told", "where reading goes on"),
    Key("notify-since", "string", "app/followers/outbox.py", "while people are told", "since when people are told"),
    Key("notify-due", "zset", "app/followers/outbox.py", "entries go when taken", "notice and target -> ms to try"),
    Key("notify-box", "hash", "app/followers/outbox.py", "entries go when taken", "notice id -> notice, JSON"),
    Key("notify-tries", "hash", "app/followers/outbox.py", "entries go when taken", "notice and target -> tries"),
    Key("notify-counter", "string", "app/followers/outbox.py", "for ever", "the last notice id"),
    Key("notify-told:", "string", "app/followers/outbox.py", "until told of again", "a cause that people were told of"),
)  # fmt: skip

_BY_NAME = {key.name: key for key in KEYS}

#: The names that each script of the board makes of `Keys.prefix`.
NAMES = tuple(key.name for key in SCRIPT_KEYS)


def listed(name: str) -> Key | None:
    """The entry of a key's full name, e.g. ``octowait:{default}:runs``; None if there is none."""
    match = re.fullmatch(r"octowait:\{.+?\}:(.+)", name, re.S)
    if not match:
        return None
    own = match[1]
    return _BY_NAME.get(own) or next((key for key in KEYS if key.is_prefix and own.startswith(key.name)), None)


@dataclass(frozen=True)
class Keys:
    """Key names, e.g. ``octowait:{default}:runs``: ``keys.runs``, or `named` for a name that is no Python name."""

    namespace: str

    def __getattr__(self, name: str) -> str:
        if name not in _BY_NAME:
            raise AttributeError(name)
        return self.named(name)

    @property
    def prefix(self) -> str:
        """What all keys begin with, e.g. ``octowait:{default}:``: scripts of the board get this as their only key."""
        return f"octowait:{{{self.namespace}}}:"

    def named(self, name: str, item: str = "") -> str:
        """The key of that name, or of *item* behind that prefix.

        Raises:
            KeyError: it is not listed.
        """
        key = _BY_NAME[name]
        if item and not key.is_prefix:
            raise KeyError(f"{name} is no prefix: nothing can follow it")
        return f"{self.prefix}{name}{item}"

    def wake(self, task_id: str) -> str:
        """The list a client can block on until the run waits no longer."""
        return self.named("wake:", task_id)

    def index(self, kind: str, value: str) -> str:
        """The index of a ``run`` (a list), ``machine``, ``project`` or ``environment`` (streams)."""
        return self.named("index:", f"{kind}:{value.lower()}")
