"""The checker finds each kind of violation that is planted, and nothing in a good history."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.settings import Settings
from tests.chaos.checker import check
from tests.chaos.evidence import CHECKS, HANDOFF_SHARE, LATE_REQUESTS, Evidence
from tests.chaos.experiment import Setup
from tests.chaos.history import OFFERED, Kind, Op
from tests.chaos.records import Record

ONE, TWO, THREE = "ServerTasks-1", "ServerTasks-2", "ServerTasks-3"


def op(at, kind, task, **facts):
    return Op(1000.0 + at, kind, task, **facts)


def record(at, kind, task="", *machines, cause="", **detail):
    return Record(1000 + at, kind, task, 1, machines, cause, detail)


# ONE works on a and b; TWO blocks until ONE gives them back; both at a.
OPS = [
    op(0, Kind.BEGINS, ONE, machines=("a", "b")),
    op(1, Kind.ASKED, ONE, verb="put"),
    op(3, Kind.TOLD, ONE, verb="join", word="granted", token=1, machines=("a", "b")),
    op(3, Kind.WORKS, ONE, token=1, machines=("a", "b")),
    op(4, Kind.BEGINS, TWO, machines=("a",)),
    op(4, Kind.ASKED, TWO, verb="put"),
    op(6, Kind.TOLD, TWO, verb="join", word="waiting", machines=("a",)),
    op(6, Kind.ASKED, TWO, verb="get"),
    op(20, Kind.STOPS, ONE),
    op(20, Kind.ASKED, ONE, verb="delete"),
    op(23, Kind.TOLD, TWO, verb="get", word="granted", token=2, machines=("a",)),
    op(23, Kind.WORKS, TWO, token=2, machines=("a",)),
    op(24, Kind.TOLD, ONE, verb="delete", word="released"),
    op(24, Kind.ENDS, ONE),
    op(30, Kind.STOPS, TWO),
    op(30, Kind.ASKED, TWO, verb="delete"),
    op(33, Kind.TOLD, TWO, verb="delete", word="released"),
    op(33, Kind.ENDS, TWO),
]

RECORDS = [
    record(-9, "closed", cause="empty"),
    record(-5, "opened", cause="rebuilt"),
    record(2, "joined", ONE, "a", "b"),
    record(2, "granted", ONE, "a", "b", token=1),
    record(5, "joined", TWO, "a"),
    record(22, "released", ONE, "a", "b", cause="step"),
    record(22, "granted", TWO, "a", token=2),
    record(32, "released", TWO, "a", cause="step"),
]

GOOD = Evidence(ops=OPS, epochs=[RECORDS])


def found(evidence):
    return set(check(evidence).by_check)


def with_records(*changes, ops=OPS, **facts):
    """GOOD with records at places: ``(4, record)`` puts one before the fourth, ``(4, None)`` takes that one out."""
    records = list(RECORDS)
    for place, new in sorted(changes, key=lambda change: (-change[0], change[1] is not None)):
        records[place : place + (new is None)] = [] if new is None else [new]
    return Evidence(ops=ops, epochs=[records], **facts)


def with_op(place, new):
    ops = list(OPS)
    ops[place : place + (new is None)] = [] if new is None else [new]
    return replace(GOOD, ops=ops)


def changed(place, **facts):
    return replace(GOOD, ops=[replace(o, **facts) if n == place else o for n, o in enumerate(OPS)])


def test_good_history_breaks_nothing():
    verdict = check(GOOD)

    assert verdict.violations == []
    assert (verdict.grants, verdict.records, verdict.zombies) == (2, 8, [])
    assert verdict.handoffs == [1.0]


PLANTED = {
    "exclusion": with_records((5, record(20, "granted", TWO, "a", token=2)), (6, None)),
    "observed": with_records((4, record(4, "observed", THREE, "a")), (8, record(40, "ended", THREE, "a"))),
    "provisional": with_records((4, record(4, "presumed", THREE, "a")), (8, record(40, "dropped", THREE, "a"))),
    "reservation": with_records((4, record(4, "reserved", "", "a")), (8, record(40, "unreserved", "", "a"))),
    "order": with_records(
        (4, record(4, "joined", THREE, "a")), (8, record(40, "granted", THREE, "a", token=3)),
        (8, record(40, "released", THREE, "a", cause="event")),
    ),
    "closed": with_records((1, None)),
    "all or none": with_records((3, record(2, "granted", ONE, "a", token=1)), (3, None)),
    "grant on release": with_records((6, record(22, "event", ONE))),
    "tokens": with_records((3, record(2, "granted", ONE, "a", "b", token=3)), (3, None)),
    "clients' exclusion": with_op(10, op(19, Kind.WORKS, THREE, machines=("a",))),
    "lease kept": with_records((5, record(15, "released", ONE, "a", "b", cause="event")), (5, None)),
    "collected": with_records((7, record(32, "expired", TWO, "a", cause="uncollected")), (7, None)),
    "the dead leave": with_records(
        (8, record(10, "joined", THREE, "c")), (9, record(20_000, "left", THREE, "c", cause="event")),
        ops=[*OPS, op(9, Kind.ASKED, THREE, verb="put"), op(11, Kind.GONE, THREE)],
    ),
    "life": with_records((5, record(10, "expired", TWO, "a", cause="silence"))),
    "rebuilt": with_records((4, record(10, "opened", cause="rebuilt")), (4, record(9, "released", ONE, "a", "b"))),
    "parked": with_op(8, op(10, Kind.PROCEEDS, TWO, word="Proceed")),
    "one record each": with_records((7, None)),
    "everything ends": with_records((7, None)),
    "model": with_records((6, record(22, "event", ONE))),
    "hand-off": changed(10, at_ms=9000.0),
    "late": Evidence(
        ops=[replace(o, word="claim") if o.kind is Kind.ASKED else o for o in OPS],
        epochs=[[*RECORDS, record(300, "joined", TWO, "a"), record(310, "ended", TWO, cause="event")]],
    ),
    "durations": with_records((7, record(32, "released", TWO, "a", cause="step", held_ms=-1)), (7, None)),
    "agreement": with_records((6, record(22, "repaired", ONE, "a", cause="not_held"))),
    "answers": replace(GOOD, surprises=["409"]),
}  # fmt: skip


def test_every_check_has_a_planted_violation():
    assert PLANTED.keys() == CHECKS.keys()


@pytest.mark.parametrize("name", CHECKS)
def test_checker_finds_what_is_planted(name):
    assert name in found(PLANTED[name])


#: TWO is a script: its own calls nobody saw.
SCRIPTED = [
    *(o for o in OPS if o.task == ONE or o.kind is Kind.BEGINS), op(5, Kind.ASKED, TWO, verb="script"),
    op(23, Kind.TOLD, TWO, verb="script", word="granted", token=2, machines=("a",)),
    op(23, Kind.WORKS, TWO, token=2, machines=("a",)), op(30, Kind.STOPS, TWO),
    op(33, Kind.TOLD, TWO, verb="delete", word="released"),
]  # fmt: skip

#: A request that came late was granted at once, and nobody heard of it.
LATE = replace(
    GOOD, ops=[*OPS, op(9, Kind.ASKED, THREE, verb="put"), op(9, Kind.GONE, THREE)],
    epochs=[[*RECORDS, record(40, "joined", THREE, "c"), record(40, "granted", THREE, "c", token=3, waited_ms=0),
             record(20_000, "released", THREE, "c", cause="event")]],
)  # fmt: skip

#: Redis comes back as it was when TWO had joined, and octowait knows it.
OLDER = replace(GOOD, epochs=[RECORDS[:-1], [
    record(28, "closed", cause="older"), record(29, "observed", TWO, "a"), record(29, "ended", ONE),
    record(29, "opened", cause="rebuilt"), record(32, "ended", TWO, cause="step"),
]], inherited=[[], RECORDS[:5]])  # fmt: skip

MORE = [
    ("one record each", replace(GOOD, ops=[*SCRIPTED, replace(SCRIPTED[-1], word="nothing")],
                                epochs=[[*RECORDS, record(40, "left", TWO, cause="step")]])),
    ("collected", with_records((8, record(35, "joined", THREE, "c")), (9, record(36, "granted", THREE, "c", token=3)),
                               (10, record(9000, "expired", THREE, "c", cause="uncollected")), has_key=True)),
    ("the dead leave", LATE),
    ("the dead leave", replace(LATE, exempt=[LATE_REQUESTS], ops=[
        *OPS, op(9, Kind.ASKED, THREE, verb="put", word="claim"), op(9, Kind.GONE, THREE)])),
    ("exclusion", replace(OLDER, epochs=[OLDER.epochs[0], [record(28, "granted", TWO, "a", token=3),
                                                           *OLDER.epochs[1]]])),
    ("tokens", replace(OLDER, epochs=[OLDER.epochs[0], [record(28, "released", ONE, "a", "b"),
                                                        record(28, "granted", TWO, "a", token=2)]])),
    ("late", Evidence(
        ops=[replace(o, word="claim") if o.kind is Kind.ASKED else o for o in OPS],
        epochs=[[*RECORDS, record(300, "joined", TWO, "a"), record(310, "left", TWO, cause="step")]],
    )),
    ("durations", with_records((7, record(32, "timed_out", TWO, "a")), (7, None))),
    ("tokens", changed(10, token=1)),
    ("tokens", replace(GOOD, epochs=[RECORDS[:4], [*RECORDS[:2], *RECORDS[2:4]]])),
    ("all or none", changed(2, machines=("a",))),
    ("one record each", changed(2, verb="put")),
    ("one record each", changed(12, word="nothing")),
    ("one record each", with_records((2, record(1, "released", THREE, "a")))),
    ("one record each", with_records((2, record(1, "granted", THREE, "a", token=0)))),
    ("grant on release", with_records((6, record(22, "event", ONE, event="Events-2", follows="Events-1")))),
    ("grant on release", with_records(
        (5, record(22, "event", ONE, event="Events-1")), (6, record(22, "event", THREE, event="Events-2")))),
    ("everything ends", replace(GOOD, stuck=["ServerTasks-7"])),
    ("everything ends", replace(GOOD, leftovers=["lines"])),
    ("order", with_records(
        (5, record(6, "joined", THREE, "a", priority=1)), (8, record(40, "granted", THREE, "a", token=3)),
        (8, record(40, "released", THREE, "a")))),
]  # fmt: skip


@pytest.mark.parametrize(("name", "evidence"), MORE)
def test_checker_finds_the_same_elsewhere(name, evidence):
    assert name in found(evidence)


FORGIVEN = {
    "events that are one change": with_records(
        (5, record(22, "event", ONE, event="Events-1")),
        (6, record(22, "event", ONE, event="Events-3", follows="Events-1"))),
    "a script tells of its end only": replace(GOOD, ops=SCRIPTED),
    "a late request, while that is known to go wrong": replace(LATE, exempt=[LATE_REQUESTS]),
    "a grant that nobody collects lasts as long as its task, where Octopus is asked": replace(LATE, has_key=True),
    "a client is killed while it confirms": replace(LATE, ops=[
        *OPS, op(30, Kind.ASKED, THREE, verb="put", word="claim"),
        op(41, Kind.TOLD, THREE, verb="join", word=OFFERED, token=3, machines=("c",)),
        op(41, Kind.ASKED, THREE, verb="confirm", word="claim"), op(42, Kind.GONE, THREE),
        op(30, Kind.BEGINS, THREE, machines=("c",)),
    ]),
    "Redis came back older, and was found out": OLDER,
    "a call whose answer was lost may have been carried out": replace(
        GOOD,
        ops=[*OPS, op(50, Kind.ASKED, THREE, verb="put"), op(52, Kind.BROKEN, THREE, verb="put"),
             op(53, Kind.ENDS, THREE)],
        epochs=[[*RECORDS, record(51, "joined", THREE, "c"), record(51, "granted", THREE, "c", token=3),
                 record(59, "released", THREE, "c", cause="reconciled")]],
    ),
    "an operator takes a machine from somebody who works": replace(
        GOOD, ops=[*OPS[:8], op(8, Kind.STOPS, ONE, word="forced"), *OPS[9:12], replace(OPS[12], word="nothing"),
                   *OPS[13:]],
        epochs=[[*RECORDS[:5], record(9, "released", ONE, "a", "b", cause="forced"), *RECORDS[6:]]],
    ),
    "a parent and its child work on one machine": replace(
        GOOD,
        ops=[*OPS[:8], op(7, Kind.BEGINS, THREE, machines=("b",), parent=ONE), op(8, Kind.ASKED, THREE, verb="put"),
             op(9, Kind.TOLD, THREE, verb="join", word="granted", token=2, machines=("b",)),
             op(9, Kind.WORKS, THREE, token=2, machines=("b",)), op(12, Kind.STOPS, THREE),
             *(replace(o, token=3) if o.token == 2 else o for o in OPS[8:])],
        epochs=[[*RECORDS[:5], record(8, "joined", THREE, "b", family=1, on_behalf_of=ONE),
                 record(8, "granted", THREE, "b", family=1, token=2),
                 record(14, "released", THREE, "b", cause="event"), RECORDS[5],
                 record(22, "granted", TWO, "a", token=3), RECORDS[7]]],
    ),
    "a hand-off is late while something is broken": replace(changed(10, at_ms=9000.0), disturbed=[(1000, 9000)]),
    "the dead stay while the board is closed": replace(
        GOOD, ops=[*OPS, op(41, Kind.ASKED, THREE, verb="put"), op(43, Kind.GONE, THREE)],
        epochs=[[*RECORDS, record(40, "closed", cause="operator"), record(42, "joined", THREE, "c"),
                 record(20_000, "expired", THREE, "c", cause="silence"), record(20_000, "opened", cause="operator")]],
    ),
    "a release is done twice, since Redis went away before it answered": replace(
        changed(12, word="nothing"), disturbed=[(0, 9000)]
    ),
    "a join is done twice, since Redis was emptied before it answered": replace(
        GOOD, epochs=[[record(1, "joined", ONE, "a", "b")], list(RECORDS)], disturbed=[(0, 9000)]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGIVEN)
def test_checker_forgives(name):
    assert check(FORGIVEN[name]).violations == []


@pytest.mark.parametrize("name", [name for name in FORGIVEN if "done twice" in name])
def test_nothing_is_done_twice_while_nothing_is_broken(name):
    checks = {violation.check for violation in check(replace(FORGIVEN[name], disturbed=[])).violations}

    assert "one record each" in checks


def test_lease_that_nobody_worked_on_is_a_zombie():
    [zombie] = check(FORGIVEN["a call whose answer was lost may have been carried out"]).zombies

    assert (zombie.task, zombie.seconds) == (THREE, 0.006)


def test_wake_that_is_lost_takes_longer_than_a_hand_off_may():
    """A poll that is not woken hears of its grant at its end, at the latest."""
    ttl = Setup().ttl
    settings = Settings.model_validate({"waiter_ttl_seconds": ttl})

    assert HANDOFF_SHARE * ttl < 0.8 * settings.longest_block_seconds
