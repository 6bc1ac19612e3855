"""What must hold after a run of the chaos, and what does not: a pure function of what was seen.

Each check has a name; `tests.chaos.evidence.CHECKS` says what each is about. `tests/chaos/test_checker.py` plants a
violation for every one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from tests.chaos.accept import accept
from tests.chaos.evidence import (
    DEAD_SHARE,
    HANDOFF_SHARE,
    LATE_REQUESTS,
    LIFE_SHARE,
    SLACK_MS,
    Evidence,
    Verdict,
    Violation,
    Zombie,
)
from tests.chaos.facts import Facts, has_claim, has_family, is_collected_late, is_of, was_killed_confirming
from tests.chaos.history import OFFERED, Kind, Op
from tests.chaos.records import Record
from tests.chaos.timeline import Reader


def check(evidence: Evidence) -> Verdict:
    """Everything that is wrong in *evidence*."""
    facts = Facts(evidence)
    verdict = Verdict(
        grants=sum(op.kind is Kind.WORKS for op in evidence.ops), records=sum(len(e) for e in evidence.epochs)
    )
    found: list[Iterator[tuple[str, str]]] = [
        _timeline(evidence), _model(evidence), _clients_exclusion(evidence.ops), _answers(facts), _tokens(facts),
        _leases(facts), _expiries(facts), _dead(facts), _rebuilds(facts), _parked(facts), _counts(facts),
        _ends(evidence), _handoffs(facts, verdict), _durations(facts),
        _late(facts),
    ]  # fmt: skip
    verdict.violations = [Violation(name, words) for part in found for name, words in part]
    verdict.zombies = list(_zombies(facts))
    return verdict


def _timeline(evidence: Evidence) -> Iterator[tuple[str, str]]:
    token = 0
    for number, (before, epoch) in enumerate(evidence.lineages()):
        reader = _reader_of(before)
        reader.token = max(token, reader.token)
        # The first may begin in the middle: with a board that has been opened.
        for record in epoch:
            yield from reader.read(record)
        if number == len(evidence.epochs) - 1:
            yield from reader.finish()
        token = reader.token


def _reader_of(records: Sequence[Record]) -> Reader:
    """One that knows what came of them, and that they were judged before."""
    reader = Reader()
    for record in records:
        for _ in reader.read(record):
            pass
    return reader


def _model(evidence: Evidence) -> Iterator[tuple[str, str]]:
    token = 0
    for before, epoch in evidence.lineages():
        yield from (("model", words) for words in accept(epoch, before, token))
        token = max((int(r.detail["token"]) for r in epoch if r.kind == "granted"), default=token)


def _clients_exclusion(ops: Sequence[Op]) -> Iterator[tuple[str, str]]:
    """In the order of the history: all clients share one."""
    works: dict[str, dict[str, Op]] = defaultdict(dict)
    parents: dict[str, str] = {}
    for op in ops:
        if op.kind is Kind.BEGINS and op.parent:
            parents[op.task] = op.parent
        elif op.kind is Kind.WORKS:
            for machine in op.machines:
                for other in works[machine].values():
                    if parents.get(op.task, op.task) != parents.get(other.task, other.task):
                        yield "clients' exclusion", f"{machine}: {op} while {other} works"
                works[machine][op.task] = op
        elif op.kind is Kind.STOPS:
            for there in works.values():
                there.pop(op.task, None)


def _answers(facts: Facts) -> Iterator[tuple[str, str]]:
    planned = {(op.task, op.turn): op.machines for op in facts.evidence.ops if op.kind is Kind.BEGINS}
    for op in facts.evidence.ops:
        if op.kind is Kind.TOLD and op.machines and set(op.machines) != set(planned.get((op.task, op.turn), ())):
            yield "all or none", f"it asked for {planned.get((op.task, op.turn))}: {op}"
    for words in facts.evidence.surprises:
        yield "answers", words


def _tokens(facts: Facts) -> Iterator[tuple[str, str]]:
    recorded = {r.detail.get("token"): r for r in facts.all_records() if r.kind == "granted"}
    owners: dict[int, str] = {}
    on_machine: dict[str, int] = {}
    for op in facts.evidence.ops:
        if op.token is None:
            continue
        if owners.setdefault(op.token, op.task) != op.task:
            yield "tokens", f"{owners[op.token]} had it before: {op}"
        record = recorded.get(op.token)
        if op.kind is Kind.TOLD and (record is None or record.task != op.task):
            yield "one record each", f"no record of the grant that it was told of: {op}"
        for machine in op.machines if op.kind is Kind.WORKS else ():
            # A family's members start in any order.
            if op.token < on_machine.get(machine, 0) and not has_family(facts, op.task):
                yield "tokens", f"{machine} had {on_machine[machine]} before: {op}"
            on_machine[machine] = max(op.token, on_machine.get(machine, 0))


def _leases(facts: Facts) -> Iterator[tuple[str, str]]:
    """Times of records are whole milliseconds, cut off."""
    for task, stretches in facts.work.items():
        ends = [r for r in facts.records[task] if r.kind in ("released", "ended", "expired", "left", "timed_out")]
        for since, until in stretches:
            for record in ends:
                if since < record.at_ms and record.at_ms + record.late_ms + 1 < until and record.cause != "forced":
                    yield "lease kept", f"its client worked until {until:.0f}: {record}"


def _expiries(facts: Facts) -> Iterator[tuple[str, str]]:
    # A server that was stopped may have noted a sign of life some time before it answered.
    margin_ms = LIFE_SHARE * facts.evidence.ttl_ms
    for task, records in facts.records.items():
        for record in records:
            if record.kind != "expired":
                continue
            told = [op for op in facts.ops[task] if op.kind is Kind.TOLD and op.at_ms < record.at_ms]
            granted = [op for op in told if op.word == "granted" and is_of(facts, op, record)]
            ended = [op for op in facts.ops[task] if op.kind is Kind.ENDS and op.at_ms < record.at_ms]
            if record.cause == "uncollected" and granted:
                yield "collected", f"{record} although {granted[-1]}"
            elif record.cause == "uncollected" and facts.evidence.has_key and not ended:
                yield "collected", f"{record} although Octopus says that its task works"
            elif record.cause == "silence" and told and told[-1].at_ms > record.at_ms + record.late_ms - margin_ms:
                yield "life", f"{record} although {told[-1]}"


def _dead(facts: Facts) -> Iterator[tuple[str, str]]:
    """Of clients that were killed before they were told of a grant, the waits and leases that went on for too long."""
    patience_ms = (1 + DEAD_SHARE) * facts.evidence.ttl_ms
    closures = list(_closures(facts))
    for task, ops in facts.ops.items():
        gone = next((op for op in ops if op.kind is Kind.GONE), None)
        if not gone or facts.work[task] or was_killed_confirming(ops, gone):
            continue
        since = 0.0
        for record in facts.records[task]:
            if is_collected_late(record) and LATE_REQUESTS in facts.evidence.exempt and not has_claim(ops):
                since = 0.0
            elif record.kind == "granted" and facts.evidence.has_key:
                # It lasts until Octopus has said that its task is over.
                since = 0.0
            elif record.kind in ("joined", "granted"):
                since = max(record.at_ms + record.late_ms, gone.at_ms)
            elif record.kind in ("left", "expired", "released") and since:
                # A closed board ends nobody.
                was_closed = any(begin <= record.at_ms and since <= end for begin, end in closures)
                is_late = record.at_ms > since + patience_ms
                if is_late and not was_closed and not facts.is_disturbed(since, record.at_ms):
                    yield "the dead leave", f"its client was killed, and nothing came of it for long: {record}"
                since = 0.0


def _closures(facts: Facts) -> Iterator[tuple[float, float]]:
    """From when to when the board was closed, ms."""
    since: float | None = None
    for record in facts.all_records():
        if record.kind == "closed":
            since = record.at_ms if since is None else since
        elif record.kind == "opened" and since is not None:
            yield since, record.at_ms
            since = None
    if since is not None:
        yield since, float("inf")


def _rebuilds(facts: Facts) -> Iterator[tuple[str, str]]:
    for before, epoch in facts.evidence.lineages():
        reader = _reader_of(before)
        for record in epoch:
            if record.kind == "opened" and record.cause == "rebuilt":
                for task, stretches in facts.work.items():
                    is_at_work = any(
                        since < record.at_ms and record.at_ms + record.late_ms + 1 < until for since, until in stretches
                    )
                    if is_at_work and task not in reader.lines.held:
                        yield "rebuilt", f"{task} works and holds nothing: {record}"
            for _ in reader.read(record):
                pass


def _parked(facts: Facts) -> Iterator[tuple[str, str]]:
    for op in facts.evidence.ops:
        if op.kind is Kind.PROCEEDS and op.word == "Proceed":
            began = [o.at_ms for o in facts.ops[op.task] if o.kind is Kind.BEGINS and o.turn == op.turn][0]
            granted = [
                r for r in facts.records[op.task] if r.kind == "granted" and began <= r.at_ms + 1 <= op.at_ms + 1
            ]
            if not granted:
                yield "parked", f"it had no machines: {op}"


def _counts(facts: Facts) -> Iterator[tuple[str, str]]:
    """What each client was told happened, against the records of its task. A call that broke may have been done."""
    for task, ops in facts.ops.items():
        if not task:
            continue
        # A wait that was lost is put back in line by a worker, a grant that nobody collected by a closed board.
        records = Counter(r.kind for r in facts.records[task] if not r.detail.keys() & {"rebuilt", "withdrawn"})
        by_step = sum(
            r.kind in ("released", "left", "ended", "dropped") and r.cause == "step" for r in facts.records[task]
        )
        told = Counter(op.word for op in ops if op.kind is Kind.TOLD and op.verb == "delete")
        joins = sum(op.kind is Kind.TOLD and op.verb == "join" for op in ops)
        broken = Counter(op.verb for op in ops if op.kind is Kind.BROKEN)
        asked = Counter(op.verb for op in ops if op.kind is Kind.ASKED)
        answered = Counter({"join": "put"}.get(op.verb, op.verb) for op in ops if op.kind is Kind.TOLD)
        # A client that was killed hears of no end of its call.
        maybe = asked["put"] - answered["put"]
        twice = _done_twice(facts, ops)
        if asked["script"]:
            yield from _script_counts(facts, task, told, records, by_step)
            continue
        if not joins <= records["joined"] <= joins + maybe + twice["join"]:
            yield "one record each", f"{task}: {joins} answers said it joined (and {maybe} are lost), {records}"
        done = told["released"] + told["left"]
        if not done <= by_step <= done + broken["delete"] + twice["delete"]:
            yield "one record each", f"{task}: {done} answers said it was released, {by_step} records"


def _done_twice(facts: Facts, ops: Sequence[Op]) -> Counter[str]:
    """Calls that octowait may have carried out twice: Redis went away before it answered, and was asked again. Then a
    release finds nothing to release, and a join a Redis that has been emptied.
    """
    asked_ms: dict[str, float] = {}
    twice: Counter[str] = Counter()
    for op in ops:
        if op.kind is Kind.ASKED:
            asked_ms[op.verb] = op.at_ms
        elif op.kind is Kind.TOLD and (op.verb == "join" or op.word == "nothing"):
            since = asked_ms.get("put" if op.verb == "join" else op.verb, op.at_ms)
            twice[op.verb] += facts.is_disturbed(since, op.at_ms)
    return twice


def _script_counts(
    facts: Facts, task: str, told: Counter[str], records: Counter[str], by_step: int
) -> Iterator[tuple[str, str]]:  # fmt: skip
    """A script tells of its end only; what it asked for twice on the way nobody sees."""
    withdrawn = sum("withdrawn" in record.detail for record in facts.records[task])
    if records["granted"] > records["joined"] + withdrawn:
        yield "one record each", f"{task}: {records}"
    done = told["released"] + told["left"]
    # Asked again since an answer was lost, it hears that there is nothing to release.
    if not done <= by_step <= 1:
        yield "one record each", f"{task}: its script was told {dict(told)}, and {by_step} records are of that"


def _ends(evidence: Evidence) -> Iterator[tuple[str, str]]:
    for run in evidence.stuck:
        yield "everything ends", f"{run} did not end"
    for key in evidence.leftovers:
        yield "everything ends", f"the key {key} is still there"


def _handoffs(facts: Facts, verdict: Verdict) -> Iterator[tuple[str, str]]:
    granted = {r.detail.get("token"): r for r in facts.all_records() if r.kind == "granted"}
    for ops in facts.ops.values():
        asked: Op | None = None
        for op in ops:
            if op.kind is Kind.ASKED:
                asked = op
            elif op.kind is Kind.TOLD and op.word in ("granted", OFFERED) and op.verb == "get" and asked:
                record = granted.get(op.token)
                # It blocked already when it was granted.
                if (
                    record
                    and not record.late_ms
                    and asked.at_ms < record.at_ms
                    and not facts.is_disturbed(record.at_ms, op.at_ms)
                ):
                    took = op.at_ms - record.at_ms
                    verdict.handoffs.append(took)
                    if took > HANDOFF_SHARE * facts.evidence.ttl_ms:
                        yield "hand-off", f"{took:.0f} ms after its grant: {op}"


def _durations(facts: Facts) -> Iterator[tuple[str, str]]:
    for records in facts.records.values():
        joined: Record | None = None
        for record in records:
            if any(isinstance(value, (int, float)) and value < 0 and name.endswith("_ms")
                   for name, value in record.detail.items()):  # fmt: skip
                yield "durations", f"less than nothing: {record}"
            if record.kind == "joined":
                joined = record
            elif record.kind == "timed_out" and joined:
                lasted_ms = record.at_ms + record.late_ms - joined.at_ms
                if lasted_ms + SLACK_MS < facts.evidence.timeout_ms:
                    yield "durations", f"timed out after {lasted_ms:.0f} ms: {record}"


def _late(facts: Facts) -> Iterator[tuple[str, str]]:
    """Of clients with claims: what came of a call that was carried out after the one that ended its claim."""
    for task, ops in facts.ops.items():
        if not has_claim(ops):
            continue
        # A claim is over when its release was answered; the next one begins when its first request is sent.
        over = [op.at_ms for op in ops if op.kind is Kind.TOLD and op.verb == "delete"]
        for record in facts.records[task]:
            ended = [at for at in over if at + SLACK_MS < record.at_ms]
            if (
                record.kind == "joined"
                and ended
                and not record.late_ms
                and not record.detail.keys() & {"rebuilt", "withdrawn"}
            ):
                asked = any(op.kind is Kind.ASKED and op.verb == "put" and ended[-1] <= op.at_ms <= record.at_ms + 1
                            for op in ops)  # fmt: skip
                if not asked:
                    yield "late", f"its claim is over: {record}"
        turns = {op.turn for op in ops if op.kind is Kind.ASKED and op.verb == "delete"}
        by_step = sum(r.kind in ("released", "left", "ended") and r.cause == "step" for r in facts.records[task])
        if by_step > len(turns):
            yield "late", f"{task}: {len(turns)} claims, of which {by_step} releases were carried out"


def _zombies(facts: Facts) -> Iterator[Zombie]:
    """Leases that nobody worked on, from the moment when their task had ended or their client had been killed."""
    for task, records in facts.records.items():
        ops = facts.ops.get(task, ())
        since: Record | None = None
        for record in records:
            if record.kind == "granted":
                since = record
            elif since and record.kind in ("released", "expired"):
                worked = any(s < record.at_ms + 1 and u > since.at_ms for s, u in facts.work.get(task, ()))
                gone = [op.at_ms for op in ops if op.kind in (Kind.GONE, Kind.ENDS) and op.at_ms < record.at_ms]
                if gone and not worked:
                    yield Zombie(task, max(since.at_ms, gone[-1]), record.at_ms, is_collected_late(since))
                since = None
