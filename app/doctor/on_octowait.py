"""Checks of octowait itself: its processes, its Redis, and what it could not do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from app.client.api import CannotReach
from app.doctor.context import DoctorContext
from app.doctor.findings import Finding, error, ok, unknown, warning
from app.domain.durations import format_duration
from app.domain.faults import Fault, shortcomings
from app.domain.phrases import clause, sentence, several
from app.domain.wording import capitalized
from app.settings.values import STRONG
from app.store.persistence import Condition

#: The oldest Redis that has every command the scripts use.
OLDEST_REDIS = (6, 2)

#: What is the matter with Redis and has a check of its own.
OWN_CHECKS = ("redis_fsync", "redis_eviction", "redis_replicas")

#: Seconds that the steps ask a poll to block.
STEP_BLOCK_SECONDS = 50

#: What to do where octowait answers and is not ready, by the code of its answer.
NOT_READY = {
    "no_worker": "Start 'octowait worker', or see in its log why it does not work.",
    "rebuilding": "It opens by itself once that is known; 'octowait rebuild --open' grants at once.",
    "store_unavailable": "Start Redis, or mend OCTOWAIT_REDIS_URL.",
}

#: Findings of one kind that are told one by one.
MOST_TOLD = 10


def reachable(context: DoctorContext) -> Iterator[Finding]:
    """Somebody answers, with Redis and a worker behind it."""
    try:
        context.gate.call("GET", "/healthz")
    except CannotReach as problem:
        yield error("octowait_unreachable", sentence(problem), "Start octowait, or say with --url where it is.")
        return
    try:
        context.gate.call("GET", "/readyz")
    except CannotReach as problem:
        yield error(
            "octowait_not_ready",
            f"octowait is not ready: {sentence(problem)}",
            NOT_READY.get(problem.code, "Start what is missing: 'octowait worker', 'octowait scheduler', or Redis."),
        )
    else:
        yield ok("octowait_ready", "octowait answers, Redis answers it, and a worker has been seen.")


def process_of(url: str) -> str:
    """Whose rights the user of an address needs: those of the process that is in its name, else of all, the worker's.

    That is ``octowait-web`` and the like, as docs/how-to/production.md calls them.
    """
    user = urlsplit(url).username or ""
    return next((process for process in ("web", "scheduler") if process in user), "worker")


def redis_refusals(context: DoctorContext) -> Iterator[Finding]:
    """Redis lets octowait do what it has to."""
    assert context.condition
    lacks = [fault for fault in _lacks(context, context.condition()) if fault.code not in OWN_CHECKS]
    for fault in lacks:
        yield error(fault.code, fault.message, fault.do)
    if not lacks:
        yield ok("redis_refusals", "Redis refuses nothing that octowait has to do there.")


def redis_version(context: DoctorContext) -> Iterator[Finding]:
    """The server knows the commands that octowait uses."""
    assert context.condition
    condition = context.condition()
    version = condition.version
    if condition.refusals and not version:
        return  # It may not be asked, which `redis_refusals` says.
    parts = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if parts < OLDEST_REDIS:
        yield error(
            "redis_version", f"Redis {version or '(no version)'} is too old.", "Use Redis 6.2 or newer, or Valkey."
        )
    else:
        yield ok("redis_version", f"Redis {version} has what octowait needs.")


def redis_persistence(context: DoctorContext) -> Iterator[Finding]:
    """What was acknowledged is still there after a crash of Redis."""
    assert context.condition
    persistence, least = context.condition(), context.settings.min_fsync
    lacks = [fault for fault in _lacks(context, persistence) if fault.code == "redis_fsync"]
    if lacks:
        yield error(
            "redis_persistence" if not persistence.append_only else "redis_fsync", lacks[0].message, lacks[0].do
        )
    elif not persistence.append_only:
        has = "only snapshots" if persistence.snapshots else "nothing at all"
        yield warning(
            "redis_persistence",
            f"Redis keeps {has}: after a crash, holders are forgotten. OCTOWAIT_MIN_FSYNC={least} accepts that.",
            "Set 'appendonly yes' and 'appendfsync always' on the Redis server.",
        )
    elif persistence.fsync is None:
        yield unknown(
            "redis_fsync",
            "Redis has an append-only file, and does not say how often it is synced.",
            "Ask who runs it for 'appendfsync always'.",
        )
    elif persistence.fsync != "always":
        yield warning(
            "redis_fsync",
            f"Redis syncs its file '{persistence.fsync}': a crash can forget an acknowledged grant. "
            f"OCTOWAIT_MIN_FSYNC={least} accepts that.",
            "Set 'appendfsync always' on the Redis server.",
        )
    else:
        yield ok("redis_persistence", "Redis syncs every write to its append-only file.")


def redis_eviction(context: DoctorContext) -> Iterator[Finding]:
    """Redis forgets nothing to make room."""
    assert context.condition
    persistence = context.condition()
    lacks = [fault for fault in _lacks(context, persistence) if fault.code == "redis_eviction"]
    for fault in lacks:
        yield error(fault.code, fault.message, fault.do)
    if not lacks and persistence.maxmemory and persistence.eviction != "noeviction":
        yield warning(
            "redis_eviction",
            f"Redis evicts keys ('{persistence.eviction}') when it is full, which OCTOWAIT_ALLOW_EVICTION accepts.",
            "Set 'maxmemory-policy noeviction' on the Redis server.",
        )
    elif not lacks:
        yield ok("redis_eviction", "Redis evicts nothing.")


def _lacks(context: DoctorContext, condition: Condition) -> list[Fault]:
    return shortcomings(condition, **context.settings.durability)


def kept_deliveries(context: DoctorContext) -> Iterator[Finding]:
    """Every event that came could be applied."""
    deliveries = context.gate.call("GET", "/api/kept")["kept"]
    if deliveries:
        number = several(len(deliveries), "delivery", "deliveries")
        yield warning(
            "kept_deliveries",
            f"{number} could not be applied; the last: {clause(deliveries[0]['reason'])}.",
            "Look at them with 'octowait kept', post them again with 'octowait replay'.",
        )
    else:
        yield ok("kept_deliveries", "Every delivery could be applied.")


def weak_secrets(context: DoctorContext) -> Iterator[Finding]:
    """No secret is so short that somebody could guess it."""
    for name in context.settings.weak_secrets:
        yield error(
            "weak_secret",
            f"{name[0].upper()}{name[1:]} has fewer than {STRONG} characters: somebody could guess it.",
            "Take another one: openssl rand -hex 24.",
        )


def refused_calls(context: DoctorContext) -> Iterator[Finding]:
    """Nobody was refused who should have been let in, and nobody tries who should not."""
    refusals = context.gate.call("GET", "/api/refusals")["refusals"]
    if not refusals:
        yield ok("refused_calls", "No call was refused in the last day.")
    for each in refusals[:MOST_TOLD]:
        calls, were = several(each["count"], "call"), "was" if each["count"] == 1 else "were"
        yield warning(
            "refused_calls",
            f"{calls} of {each['who']} from {each['address']} {were} refused in the last day: {each['why']}.",
            "Mend the secret of who should be let in; see who is at that address if nobody should.",
        )


def unresolved_runs(context: DoctorContext) -> Iterator[Finding]:
    """Octopus says of every run which machines it uses."""
    unresolved = context.board["unresolved"]
    if unresolved:
        runs = several(len(unresolved), "run")
        yield warning(
            "unresolved_runs",
            f"{runs} on machines that nobody knows, which count as free: {_some(unresolved)}.",
            "See the worker's log for why, and give their projects a wait step.",
        )
    else:
        yield ok("unresolved_runs", "The machines of every run are known.")


def unseen_runs(context: DoctorContext) -> Iterator[Finding]:
    """The end of every run that holds or waits would be seen in Octopus."""
    for task_id, why in list(context.unseen.items())[:MOST_TOLD]:
        yield error(
            "unseen_run",
            f"{task_id} cannot be looked after: {clause(why)}.",
            "Give octowait's user a role with TaskView there, or see whether there is such a task; where there is "
            f"none, or it has ended: octowait force-release {task_id} --reason 'it has ended'.",
        )
    if not context.unseen:
        yield ok("unseen_runs", "Octopus says of every run that holds or waits whether it has ended.")


def old_steps(context: DoctorContext) -> Iterator[Finding]:
    """The steps of every project are of now."""
    old = [step["project"] or step["project_id"] for step in context.board.get("old_steps", ())]
    if old:
        yield warning(
            "old_steps",
            f"{len(old)} projects use step scripts of before claims: {_some(old)}. A late call of theirs cannot be "
            "told from one about the run of now, and may end that.",
            "Update the step templates ('octowait templates upload', then 'Update' in each project) or the scripts, "
            "and make new releases: a release keeps the steps that it was made with.",
        )
    else:
        yield ok("old_steps", "No project has asked for a place with an old step script lately.")


def polls(context: DoctorContext) -> Iterator[Finding]:
    """Steps that wait block for as long as they ask to."""
    longest = context.settings.longest_block_seconds
    if longest < STEP_BLOCK_SECONDS:
        yield warning(
            "short_polls",
            f"OCTOWAIT_WAITER_TTL_SECONDS is {context.settings.waiter_ttl_seconds}, so polls of waiting steps are "
            f"shortened from {STEP_BLOCK_SECONDS} to {longest:g} s: half of it less 5 s.",
            "Set it to 110 or more (120 is the default), unless a dead waiter has to leave its line sooner.",
        )
    else:
        yield ok("polls", f"Polls of waiting steps last {STEP_BLOCK_SECONDS} s.")


def failed_jobs(context: DoctorContext) -> Iterator[Finding]:
    """No job failed for good."""
    letters = context.dead_letters()
    if letters:
        last = letters[0]
        latest = f"the last: {last.get('job', 'a job')}, {last.get('error', 'no reason')}"
        yield warning(
            "dead_letters",
            f"{several(len(letters), 'job')} failed; {clause(latest)}.",
            "Mend the cause; the work is asked for again by itself.",
        )
    else:
        yield ok("dead_letters", "No job has failed.")


def octopus_answers(context: DoctorContext) -> Iterator[Finding]:
    """The processes of octowait are answered by Octopus."""
    silence = context.board.get("octopus_unreachable")
    if silence:
        lasted = format_duration(context.board["now_ms"] - silence["since_ms"])
        yield error(
            "octopus_silent",
            f"octowait has had no answer of Octopus for {lasted}: {clause(silence['why'])}. It has asked "
            f"{several(silence['failures'], 'time')}.",
            "Check OCTOWAIT_OCTOPUS_URL, the network, the certificate and the API key where octowait's worker runs.",
        )


def faults(context: DoctorContext) -> Iterator[Finding]:
    """Nothing goes wrong that octowait notices itself: a full disk, a run held beyond all others, a certificate."""
    # Who was refused is looked at by `refused_calls`, and Redis, where its address is known here, by checks of its own.
    apart = ("refused", *OWN_CHECKS) if context.condition else ("refused",)
    noticed = [fault for fault in context.board.get("faults", []) if not fault["code"].startswith(apart)]
    for fault in noticed[:MOST_TOLD]:
        # Nothing is broken yet while a certificate is about to end.
        tell = warning if fault["code"] == "certificate_ends" else error
        yield tell(fault["code"], capitalized(fault["message"]), fault["do"])
    if not noticed:
        yield ok("faults", "There is space on the disks, and no run holds for longer than all before it.")


def longest_wait(context: DoctorContext) -> Iterator[Finding]:
    """Nobody waits for somebody who waits for a person to notice."""
    longest = max(context.waits, key=lambda wait: int(wait["waited_ms"]), default=None)
    if longest is None:
        yield ok("waits", "Nobody waits.")
        return
    count = f"{len(context.waits)} run{' waits' if len(context.waits) == 1 else 's wait'}"
    yield ok("waits", f"{count}, the longest for {format_duration(longest['waited_ms'])}: {longest['message']}")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MOST_TOLD} more" if len(names) > MOST_TOLD else ""
    return ", ".join(names[:MOST_TOLD]) + more
