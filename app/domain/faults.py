"""Faults: what goes wrong without anybody having asked, as Health, ``status``, doctor and the log tell it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from app.domain.durations import format_duration, format_moment
from app.domain.phrases import several
from app.domain.status import Holder

#: A hold is a fault when it has lasted longer than any before by this share and this many ms: some are a little longer.
BEYOND_SHARE, BEYOND_MS = 0.1, 60_000

#: Who was turned away within so many ms is told of as a fault; so many of them.
LATELY_MS, MOST_TURNED_AWAY = 900_000, 5

#: How often a server syncs its file, the least first; ``none``: it need not have one.
FSYNC = ("none", "everysec", "always")

#: What a server that will not say how often it syncs its file does, unless somebody has set it otherwise.
FSYNC_BY_DEFAULT = "everysec"


@dataclass(frozen=True)
class Fault:
    """Something that needs a person.

    Args:
        code: One stable word.
        message: What is the matter, with the words that help, as a sentence.
        do: What to do about it, as a sentence.
        since_ms: Since when, where that is known.
    """

    code: str
    message: str
    do: str
    since_ms: int | None = None
    task_id: str | None = None


def is_beyond(held_ms: int, longest_ms: float) -> bool:
    """Whether a hold of that length is beyond the longest that there was before."""
    return held_ms > longest_ms * (1 + BEYOND_SHARE) + BEYOND_MS


class MachineLike(Protocol):
    """A machine with those who hold it and those who wait for it."""

    @property
    def name(self) -> str: ...
    @property
    def holders(self) -> Sequence[Holder]: ...
    @property
    def line(self) -> Sequence[object]: ...


def held_too_long(
    machines: Iterable[MachineLike], now_ms: int, longest_before: Callable[[Holder], float]
) -> list[Fault]:
    """The runs that have held a machine beyond all before them, one fault each, those with most waiters first."""
    worst: dict[str, tuple[int, Fault]] = {}
    known: dict[str, float] = {}  # One run can hold them all.
    runs = ((m, str(held.task_id), held) for m in machines for held in m.holders if held.kind in ("lease", "observed"))
    for machine, task, held in runs:
        waiting = len(machine.line)
        longest = known[task] = known.get(task) or longest_before(held)
        if is_beyond(now_ms - held.since_ms, longest) and waiting >= worst.get(task, (0,))[0]:
            fault = held_beyond_all(held, machine.name, now_ms=now_ms, longest_ms=round(longest), waiting=waiting)
            worst[task] = waiting, fault
    return [fault for _, fault in sorted(worst.values(), key=lambda pair: -pair[0])]


def held_beyond_all(held: Holder, machine: str, *, now_ms: int, longest_ms: int, waiting: int) -> Fault:
    """A run that holds for longer than any like it did before."""
    who = f"; {several(waiting, 'run')} {'waits' if waiting == 1 else 'wait'} there" if waiting else ""
    lasted, longest = format_duration(now_ms - held.since_ms), format_duration(longest_ms)
    return Fault(
        "held_beyond_all",
        f"{held.label} has held {machine} for {lasted}, longer than any run before it ({longest}){who}.",
        f"Look in Octopus whether it hangs; if it does: octowait force-release {held.task_id} --reason …",
        held.since_ms,
        held.task_id,
    )


def no_space(where: str, free: str, what: str) -> Fault:
    """A file system that is full, or nearly so."""
    return Fault("no_space", f"no space left in {where} ({free} free): {what}.", f"Free some space in {where}.")


def turned_away(who: str, address: str, why: str, *, count: int, first_ms: int) -> Fault:
    """Somebody who is refused again and again since his secret is none of octowait's."""
    times = f"401 from {address} since {format_moment(first_ms)} UTC, {several(count, 'time')}"
    if who == "webhook":
        return Fault(
            "refused_webhooks", f"{times}: the secret of the subscription is not OCTOWAIT_WEBHOOK_SECRET.",
            "Write it into Octopus with: octowait subscription ensure --rotate-secret", first_ms,
        )  # fmt: skip
    if "role step" in why:
        return Fault(
            "refused_steps", f"{times}: the Octowait.Token of a step is none of OCTOWAIT_TOKENS.",
            "Give the projects that deploy from there a token of role step as their variable Octowait.Token.", first_ms,
        )  # fmt: skip
    return Fault(
        "refused_calls", f"{times}, {who}: {why}.",
        "Mend the token of who should be let in; see who is at that address if nobody should.", first_ms,
    )  # fmt: skip


class RefusalLike(Protocol):
    """Calls of one caller that were refused."""

    @property
    def who(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def why(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def first_ms(self) -> int: ...
    @property
    def last_ms(self) -> int: ...


def turned_away_lately(refusals: Iterable[RefusalLike], now_ms: int) -> list[Fault]:
    """Those whose secret was none of ours, lately."""
    lately = (each for each in refusals if now_ms - each.last_ms < LATELY_MS)
    return [
        turned_away(each.who, each.address, each.why, count=each.count, first_ms=each.first_ms)
        for each in lately
        if each.why.startswith("expected")
    ][:MOST_TURNED_AWAY]


def certificate_ends(ends_ms: int | None, now_ms: int, told_before: timedelta) -> list[Fault]:
    """A certificate of PUBLIC_URL that is about to end, or has; none where its end is far, or not known."""
    if ends_ms is None or ends_ms - now_ms > told_before // timedelta(milliseconds=1):
        return []
    left_ms = ends_ms - now_ms
    if left_ms > 0:
        code, when = "certificate_ends", f"ends in {format_duration(left_ms)}"
    else:
        code, when = "certificate_ended", f"ended {format_duration(-left_ms)} ago"
    return [
        Fault(
            code,
            f"The certificate of OCTOWAIT_PUBLIC_URL {when}, on {format_moment(ends_ms)} UTC: steps refuse it then.",
            "Renew it in time, from an authority that the workers trust already: a step in a release that was made "
            "earlier cannot be told of another.",
        )
    ]


def synced_too_seldom(what: str, least: str) -> Fault:
    """A Redis that may lose what it has acknowledged. *what* ends a sentence that begins with "Redis"."""
    loss = "no grant that was told may be lost" if least == "always" else "a loss has to be noticed"
    return Fault(
        "redis_fsync",
        f"Redis {what}, and OCTOWAIT_MIN_FSYNC={least} says that {loss}: after a crash of Redis a machine could be "
        "granted while another run works there.",
        f"Set 'appendonly yes' and 'appendfsync {least}' on the Redis server, or accept it with another "
        "OCTOWAIT_MIN_FSYNC (none, everysec, always).",
    )


def too_few_replicas(count: int, least: int) -> Fault:
    """A Redis with fewer replicas than have to have a grant."""
    has = (
        f"{several(count, 'replica')} that {'copies' if count == 1 else 'copy'}" if count else "no replica that copies"
    )
    return Fault(
        "redis_replicas",
        f"Redis has {has} what it writes, and OCTOWAIT_REDIS_REPLICAS={least}: nobody is told of a grant.",
        "Bring the replicas back, or look at the log of the Redis server for why they do not copy.",
    )


def evicts_keys(policy: str) -> Fault:
    """A Redis that forgets keys when it is full."""
    return Fault(
        "redis_eviction",
        f"Redis evicts keys ('{policy}') when it is full: machines would count as free while runs work there.",
        "Set 'maxmemory-policy noeviction' on the Redis server, or accept it with OCTOWAIT_ALLOW_EVICTION=true.",
    )


def redis_cannot_write(why: str) -> Fault:
    """A Redis that refuses changes since it cannot keep them."""
    return Fault(
        "redis_cannot_write",
        f"Redis cannot write its files ({why}) and refuses every change: nobody is granted, no end is seen.",
        "Most often no space is left on the disk of the Redis server: free some, then look at its log.",
    )


def redis_refuses(kind: str, what: Sequence[str]) -> Fault:
    """A Redis that answers, and refuses what octowait has to do there.

    Args:
        kind: As `app.store.rehearsal.StoreRefusal` has it.
        what: The rules that are missing, or what the server says.
    """
    if kind == "right":
        return Fault(
            "redis_rights",
            f"Redis does not let its user do all that octowait has to: {' '.join(what)} is missing.",
            f"Give the user of OCTOWAIT_REDIS_URL that right: ACL SETUSER … {' '.join(what)} "
            "(docs/how-to/production.md lists the rights of each process).",
        )
    if kind == "full":
        return Fault(
            "redis_full",
            "Redis is full and refuses every change: nobody is granted, no end is seen.",
            "Give the Redis server more memory ('maxmemory'), or see what else is kept there: octowait evicts nothing.",
        )
    if kind == "read_only":
        return Fault(
            "redis_read_only",
            "Redis is a replica and refuses every change: nobody is granted, no end is seen.",
            "Point OCTOWAIT_REDIS_URL at the primary, or at Sentinel, which knows it after each fail-over.",
        )
    if kind == "cannot_write":
        return redis_cannot_write(what[0])
    return Fault(
        "redis_refuses",
        f"Redis refuses changes ({what[0].rstrip('.')}): nobody is granted, no end is seen.",
        "Do what the Redis server says, and look at its log.",
    )


class StoreRefusalLike(Protocol):
    """What a server refuses, as `app.store.rehearsal.StoreRefusal` has it."""

    @property
    def kind(self) -> str: ...
    @property
    def what(self) -> str: ...


class ServerLike(Protocol):
    """What a server says of itself, as `app.store.persistence.Condition` has it."""

    @property
    def append_only(self) -> bool: ...
    @property
    def fsync(self) -> str | None: ...
    @property
    def snapshots(self) -> bool: ...
    @property
    def maxmemory(self) -> int: ...
    @property
    def eviction(self) -> str: ...
    @property
    def replicas(self) -> Sequence[object]: ...
    @property
    def refusals(self) -> Sequence[StoreRefusalLike]: ...
    @property
    def needed_release(self) -> str | None: ...


def shortcomings(server: ServerLike, *, min_fsync: str, allows_eviction: bool, replicas: int = 0) -> list[Fault]:
    """What the server refuses, and lacks of what octowait may count on, the worst first: all that Health, ``/readyz``,
    the start of a process and doctor say of a Redis that answers.

    Args:
        min_fsync: One of `FSYNC`. A server that does not say how often it syncs its file counts as `FSYNC_BY_DEFAULT`.
        allows_eviction: Whether it may forget keys when it is full.
        replicas: How many must have a grant before anybody is told of it.
    """
    has = FSYNC_BY_DEFAULT if server.fsync is None else server.fsync
    if not server.append_only or has not in FSYNC:
        has = "none"  # Redis calls it "no".
    kinds = dict.fromkeys(refusal.kind for refusal in server.refusals)
    faults = [redis_refuses(kind, [each.what for each in server.refusals if each.kind == kind]) for kind in kinds]
    if server.needed_release:
        message = "The data in Redis are of a newer octowait, and this one changes nothing."
        faults.insert(0, Fault("newer_data", message, f"Take octowait {server.needed_release} here, or a later one."))
    if FSYNC.index(has) < FSYNC.index(min_fsync):
        faults.append(synced_too_seldom(_syncing(server), min_fsync))
    if len(server.replicas) < replicas:
        faults.append(too_few_replicas(len(server.replicas), replicas))
    if server.maxmemory and server.eviction != "noeviction" and not allows_eviction:
        faults.append(evicts_keys(server.eviction))
    return faults


def _syncing(server: ServerLike) -> str:
    """What it does of its own accord, as the end of a sentence that begins with "Redis"."""
    if not server.append_only:
        return "keeps only snapshots" if server.snapshots else "keeps nothing on a disk"
    if server.fsync is None:
        return "does not say how often it syncs its file"
    return f"syncs its file '{server.fsync}'"
