"""What is kept of runs and machines agrees; where somebody has broken that, doctor says it and reconcile mends it."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest

from app.coordination.audit import MEMBERS_AT_ONCE, RESERVATIONS_AT_ONCE, Audit, Flaw
from app.coordination.board import Policy
from app.domain.access.identity import Identity, Limits
from app.domain.events import Effect
from app.domain.records import Filter
from app.domain.run import RunRequest
from app.domain.wording import CAUSES
from app.history.timeline import Timeline
from app.store.errors import StoreError
from app.store.schema import SCHEMA
from tests.conftest import Clock
from tests.integration.octopus_tells import Octopus as Teller
from tests.integration.reconciling import do, make_context, octopus
from tests.integration.test_scripts import text_of
from workers import reconcile

__all__ = ["make_context", "octopus"]

A, B, C, D, R = "Machines-1", "Machines-2", "Machines-3", "Machines-4", "Machines-5"
HOLDER, WAITER, CHILD, SEEN, STARTED, ENDED, LIMITED, UNTOLD = (f"ServerTasks-{number}" for number in range(1, 9))
STRANGER = "ServerTasks-99"

#: An order in a line before all others.
FIRST = "0" * 26


@pytest.fixture
def has_key():
    return True


@pytest.fixture
def board(make_board, has_key):
    """Everybody that there can be."""
    board = make_board(Policy(has_key=has_key, max_hold=timedelta(hours=9)))
    teller = Teller(board, Clock(board))
    process = {"project": {"id": "Projects-1"}, "environment": {"id": "Environments-1"}}
    board.join(RunRequest(HOLDER), {A})
    board.join(RunRequest(WAITER, timeout=timedelta(hours=1)), {A, B})
    teller.runs(SEEN, [{"id": C, "name": "web-03"}])
    board.join(RunRequest(CHILD, parked=True, on_behalf_of=SEEN), {A, C})
    board.join(RunRequest(ENDED, info=process), {D})
    board.release(ENDED)
    teller.tells(Effect.STARTED, STARTED, info=process)
    board.join(RunRequest(LIMITED, identity=Identity("web", Limits(max_waiting=3))), {A})
    board.join(RunRequest(UNTOLD, claim="c" * 32), {"Machines-8"})
    board.reserve(R, note="disk", by="ann", until_ms=board.now_ms() + 3_600_000)
    return board


@pytest.fixture
def audit(board):
    return Audit(board.script, board.client, board.keys)


@pytest.fixture
def everything(board):
    return lambda: {key: board.client.dump(key) for key in board.all_keys() if b":clock:" not in key}


def change(board, task, **fields):
    run = json.loads(board.client.hget(board.keys.runs, task.lower())) | fields
    left = {name: value for name, value in run.items() if value is not None}
    board.client.hset(board.keys.runs, task.lower(), json.dumps(left))


def add(key, *members):
    score = 0 if key in ("lines", "holders", "children", "owned") else 1
    return lambda board: board.client.zadd(board.keys.named(key), {"\0".join(members): score})


def take(key, *members):
    return lambda board: board.client.zrem(board.keys.named(key), "\0".join(members))


def line_of(board, task, machine):
    order = json.loads(board.client.hget(board.keys.runs, task.lower()))["order"]
    return f"{machine.lower()}\0{order}\0{task}"


def family_of(board, task):
    return format(json.loads(board.client.hget(board.keys.runs, task.lower()))["family"], "016d")


def both(*steps):
    return lambda board: [step(board) for step in steps]


#: What somebody breaks, and what is said of it.
BROKEN = {
    "holder that nobody knows": (
        lambda board: board.client.hdel(board.keys.runs, HOLDER.lower()),
        [Flaw("holder_without_run", HOLDER, (A,)), Flaw("stray_deadline", HOLDER, what="hold")],
    ),
    "holder that is over": (
        add("holders", D.lower(), "lease", ENDED), [Flaw("holder_is_over", ENDED, (D,))],
    ),
    "holder of another machine": (
        add("holders", D.lower(), "lease", HOLDER), [Flaw("stray_holder", HOLDER, (D,))],
    ),
    "holder that waits": (add("holders", D.lower(), "observed", WAITER), [Flaw("stray_holder", WAITER, (D,))]),
    "holder that has started": (add("holders", A.lower(), "observed", STARTED), [Flaw("stray_holder", STARTED, (A,))]),
    "lease without its hold": (take("holders", A.lower(), "lease", HOLDER), [Flaw("not_held", HOLDER, (A,))]),
    "observed run without its hold": (take("holders", C.lower(), "observed", SEEN), [Flaw("not_held", SEEN, (C,))]),
    "presumed run without its hold": (
        take("holders", D.lower(), "provisional", STARTED), [Flaw("not_held", STARTED, (D,))],
    ),
    "presumption of nobody": (
        add("holders", A.lower(), "provisional", STRANGER), [Flaw("holder_without_run", STRANGER, (A,))],
    ),
    "place of nobody": (add("lines", A.lower(), FIRST, STRANGER), [Flaw("stray_place", STRANGER, (A,))]),
    "place of one that holds": (add("lines", D.lower(), FIRST, HOLDER), [Flaw("stray_place", HOLDER, (D,))]),
    "place with another order": (add("lines", A.lower(), FIRST, WAITER), [Flaw("stray_place", WAITER, (A,))]),
    "waiter without a place": (
        lambda board: board.client.zrem(board.keys.lines, line_of(board, WAITER, B)),
        [Flaw("no_place", WAITER, (B,))],
    ),
    "waiter without an order": (lambda board: change(board, LIMITED, order=None), [Flaw("no_order", LIMITED, (A,))]),
    "blocks as one that holds": (
        lambda board: board.client.sadd(board.keys.blocking, HOLDER), [Flaw("stray_entry", HOLDER, what="blocking")],
    ),
    "blocks although parked": (
        lambda board: board.client.sadd(board.keys.blocking, CHILD), [Flaw("stray_entry", CHILD, what="blocking")],
    ),
    "does not block": (
        lambda board: board.client.srem(board.keys.blocking, WAITER), [Flaw("no_entry", WAITER, what="blocking")],
    ),
    "wants without waiting": (
        lambda board: board.client.hset(board.keys.wants, HOLDER, A), [Flaw("stray_entry", HOLDER, what="wants")],
    ),
    "delayed without waiting": (
        lambda board: board.client.hset(board.keys.delays, HOLDER, "9 9"), [Flaw("stray_entry", HOLDER, what="delays")],
    ),
    "wants nothing": (lambda board: board.client.hdel(board.keys.wants, WAITER),
                      [Flaw("no_entry", WAITER, what="wants")]),
    "wants something else": (lambda board: board.client.hset(board.keys.wants, WAITER, C),
                             [Flaw("no_entry", WAITER, what="wants")]),
    "child of nobody": (add("children", "0" * 15 + "7", STRANGER), [Flaw("stray_entry", STRANGER, what="children")]),
    "child of another family": (add("children", "0" * 15 + "7", CHILD), [Flaw("stray_entry", CHILD, what="children")]),
    "child that is in no list": (
        lambda board: board.client.zrem(board.keys.children, f"{family_of(board, CHILD)}\0{CHILD}"),
        [Flaw("no_entry", CHILD, what="children")],
    ),
    "counted without waiting": (add("owned", "web", HOLDER), [Flaw("stray_entry", HOLDER, what="owned")]),
    "not counted": (take("owned", "web", LIMITED), [Flaw("no_entry", LIMITED, what="owned")]),
    "not to be checked": (take("unchecked", LIMITED), [Flaw("no_entry", LIMITED, what="unchecked")]),
    "to be checked, and nobody": (add("unchecked", STRANGER), [Flaw("stray_entry", STRANGER, what="unchecked")]),
    "not to be resolved": (take("unresolved", STARTED), [Flaw("no_entry", STARTED, what="unresolved")]),
    "to be resolved, and nobody": (add("unresolved", STRANGER), [Flaw("stray_entry", STRANGER, what="unresolved")]),
    "to be resumed, and nobody": (add("resumes", STRANGER), [Flaw("stray_entry", STRANGER, what="resumes")]),
    "to be forgotten while it holds": (add("ended", HOLDER.lower()), [Flaw("stray_entry", HOLDER, what="ended")]),
    "never to be forgotten": (take("ended", ENDED.lower()), [Flaw("no_entry", ENDED, what="ended")]),
    "deadline of nobody": (add("deadlines", "life", STRANGER), [Flaw("stray_deadline", STRANGER, what="life")]),
    "lease that ends for silence": (add("deadlines", "life", HOLDER), [Flaw("stray_deadline", HOLDER, what="life")]),
    "time-out of one that holds": (
        add("deadlines", "timeout", HOLDER), [Flaw("stray_deadline", HOLDER, what="timeout")],
    ),
    "longest hold of one that waits": (
        add("deadlines", "hold", WAITER), [Flaw("stray_deadline", WAITER, what="hold")],
    ),
    "grace of one that waits": (add("deadlines", "grace", WAITER), [Flaw("stray_deadline", WAITER, what="grace")]),
    "end of a presumption that there is not": (
        add("deadlines", "provisional", HOLDER), [Flaw("stray_deadline", HOLDER, what="provisional")],
    ),
    "waiter that never dies": (take("deadlines", "life", WAITER), [Flaw("no_deadline", WAITER, what="life")]),
    "grant that is never taken back": (take("deadlines", "life", UNTOLD), [Flaw("no_deadline", UNTOLD, what="life")]),
    "no time-out": (take("deadlines", "timeout", WAITER), [Flaw("no_deadline", WAITER, what="timeout")]),
    "no longest hold": (take("deadlines", "hold", HOLDER), [Flaw("no_deadline", HOLDER, what="hold")]),
    "arrivals that were counted already": (
        lambda board: board.client.hset(board.keys.counters, "order", 3),
        [Flaw("counter_behind", LIMITED, what="order")],
    ),
    "families that were counted already": (
        lambda board: board.client.hset(board.keys.counters, "family", 0),
        [Flaw("counter_behind", task, what="family") for task in (SEEN, CHILD)],
    ),
    "tokens that were given already": (
        lambda board: board.client.hincrby(board.keys.counters, "token", -1),
        [Flaw("counter_behind", UNTOLD, what="token")],
    ),
    "machine that is not listed": (
        lambda board: board.client.hdel(board.keys.machines, B.lower()), [Flaw("unknown_machine", WAITER, (B,))],
    ),
    "reservation that nobody knows": (
        lambda board: board.client.hdel(board.keys.reservations, R.lower()),
        [Flaw("reservation_unknown", None, (R,)), Flaw("stray_deadline", None, (R,), "reservation")],
    ),
    "reservation that holds nothing": (
        take("holders", R.lower(), "reservation", ""), [Flaw("reservation_not_held", None, (R,))],
    ),
    "reservation without an end": (
        take("deadlines", "reservation", R.lower()), [Flaw("no_deadline", None, (R,), "reservation")],
    ),
    "end of no reservation": (
        add("deadlines", "reservation", A.lower()), [Flaw("stray_deadline", None, (A,), "reservation")],
    ),
    "holder without a task": (
        add("holders", A.lower(), "lease", ""), [Flaw("malformed", None, (), "holders: machines-1 NUL lease NUL ")],
    ),
    "place without an order": (
        add("lines", A.lower(), HOLDER), [Flaw("malformed", None, (), f"lines: machines-1 NUL {HOLDER}")],
    ),
    "another kind of deadline": (
        add("deadlines", "end", HOLDER), [Flaw("malformed", None, (), f"deadlines: end NUL {HOLDER}")],
    ),
    "child without a family": (add("children", "x", CHILD), [Flaw("malformed", None, (), f"children: x NUL {CHILD}")]),
    "owner without a task": (add("owned", "web", ""), [Flaw("malformed", None, (), "owned: web NUL ")]),
}  # fmt: skip


def note_foreign(board, key):
    board.client.hset(board.keys.counters, "foreign_key", key)


def by_words(flaws):
    return sorted(flaws, key=str)


def test_nothing_is_wrong_with_all_who_hold_and_wait(audit):
    assert audit.look() == audit.repair() == []


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_said_and_put_right(board, audit, everything, name):
    plant, flaws = BROKEN[name]
    plant(board)
    before = everything()

    assert by_words(audit.look()) == by_words(flaws)
    assert everything() == before
    repaired = audit.repair()

    # The counter of two runs is behind no more once it is set for one.
    assert repaired and set(repaired) <= set(flaws)
    assert audit.look() == []
    records = list(Timeline(board.client, board.keys).read(Filter(kind="repaired")))
    said = [Flaw(r.cause, r.task_id or r.detail.get("task"), r.machines, r.detail.get("what")) for r in records]
    assert by_words(said) == by_words(repaired)
    # All scripts go on.
    board.release(HOLDER, cause="forced")
    board.release(UNTOLD, cause="forced")
    board.sweep(serving=True)
    board.sweep()


# A waiter without an order breaks off what its own step asks, and nothing else.
@pytest.mark.parametrize("has_key", [True, False])
@pytest.mark.parametrize("name", sorted(BROKEN.keys() - {"waiter without an order"}))
def test_what_is_broken_breaks_no_script_off(board, name):
    """Without an API key nobody puts it right but people."""
    plant, _ = BROKEN[name]
    plant(board)

    board.release(HOLDER, cause="forced")
    board.release(UNTOLD, cause="forced")
    board.sweep(serving=True)
    for number, machines in enumerate(({A}, {B}, {A, B, C, D, R}, {"Machines-8"})):
        board.join(RunRequest(f"ServerTasks-{50 + number}"), machines)
    for task in (WAITER, LIMITED, CHILD, "ServerTasks-50"):
        board.poll(task)
    board.join(RunRequest("ServerTasks-60", on_behalf_of=SEEN), {A, C})
    board.release(SEEN, cause="forced")
    process = {"project": {"id": "Projects-1"}, "environment": {"id": "Environments-1"}}
    board.join(RunRequest("ServerTasks-70", info=process), {A})
    assert Teller(board, Clock(board)).tells(Effect.STARTED, "ServerTasks-71", info=process, number=71) == "unresolved"
    for task in (STARTED, "ServerTasks-71"):
        board.release(task, cause="forced")
    granted = [record.task_id for record in Timeline(board.client, board.keys).read(Filter(kind="granted"))]
    assert STRANGER not in granted and granted.count(HOLDER) == granted.count(ENDED) == 1


def test_every_flaw_has_words_and_is_planted():
    code = text_of("coordination", "audit") + text_of("coordination", "lib/flaws")
    calls = re.findall(r'\bflaw\((.*?), (?:task|"")', code)
    codes = {word for call in calls for word in re.findall(r'"(\w+)"', call)}

    # Of that there are tests beside those of other types, in test_wrong_types.py.
    assert codes == {flaw.code for _, flaws in BROKEN.values() for flaw in flaws} | {"foreign_key"}
    assert codes <= CAUSES.keys()


@pytest.mark.parametrize("name", ["holder that nobody knows", "holder that is over"])
def test_machine_stays_busy_until_octopus_has_said_that_its_task_is_over(board, audit, name):
    plant, (flaw, *_) = BROKEN[name]
    plant(board)

    audit.repair()

    place = board.place(flaw.task_id)
    assert (place.state, place.run.machines) == ("observed", flaw.machines)
    assert board.release(flaw.task_id, cause="reconciled") == "released"
    assert audit.look() == []


def test_who_waits_behind_a_place_of_nobody_is_granted_when_it_is_gone(board, audit):
    add("lines", "machines-6", FIRST, STRANGER)(board)
    assert board.join(RunRequest("ServerTasks-20"), {"Machines-6"}).is_waiting

    audit.repair()

    assert board.place("ServerTasks-20").is_granted
    assert audit.look() == []


def test_nothing_is_put_right_while_the_board_is_closed(board, audit, everything):
    BROKEN["holder that is over"][0](board)
    board.close(by="ann", reason="")
    before = everything()

    assert audit.repair() == []
    assert everything() == before


@pytest.mark.parametrize(
    "plant",
    [add("holders", A.lower(), "thawing", STRANGER), add("deadlines", "thaw", WAITER), BROKEN["child of nobody"][0]],
    ids=["holder", "deadline", "child"],
)
def test_what_a_later_octowait_keeps_besides_is_no_flaw(board, audit, everything, plant):
    """Both write for one release: what the later one keeps looks like what somebody has broken."""
    board.client.hset(board.keys.counters, "schema", SCHEMA + 1)
    plant(board)
    before = everything()

    assert audit.look() == audit.repair() == []
    assert everything() == before

    board.client.hset(board.keys.counters, "schema", SCHEMA)
    assert len(audit.look()) == 1


@pytest.mark.parametrize("pattern", ["index:run:*", "index:machine:*", "plan:*", "runs", "plan:none"])
def test_key_that_is_of_its_type_again_is_not_deleted(board, audit, everything, pattern):
    """Somebody has deleted what was there, and what octowait has written since is what its next starts go by."""
    prefix = board.keys.runs.removesuffix("runs")
    name = min(board.client.scan_iter(prefix + pattern), default=prefix + pattern)
    before = everything()
    note_foreign(board, name)

    assert audit.look() == audit.repair() == []

    assert everything() == before


def test_runs_of_the_past_are_looked_at_in_turn(board, audit, monkeypatch):
    monkeypatch.setattr("app.coordination.audit.PAST_A_PASS", 2)
    monkeypatch.setattr("app.coordination.audit.PAST_AT_ONCE", 2)
    for number in range(1000):
        task = f"servertasks-{10_000 + number}"
        board.client.hset(board.keys.runs, task, json.dumps({"id": task, "run": 1, "state": "released", "info": {}}))
        if number != 777:
            board.client.zadd(board.keys.ended, {task: 1})

    found = []
    for _ in range(2000):
        found += audit.repair()
        if found:
            break

    assert found == [Flaw("no_entry", "servertasks-10777", what="ended")]


def test_no_command_reads_all_members_of_many(board, audit, monkeypatch):
    """There can be a million, and nobody else is answered while they are read."""
    monkeypatch.setattr("app.coordination.audit.READ_AT_ONCE", 2)
    plants = ["holder of another machine", "waiter without a place", "child of nobody", "deadline of nobody"]
    for name in plants:
        BROKEN[name][0](board)
    before = board.client.info("commandstats")["cmdstat_zrange"]["calls"]

    assert by_words(audit.look()) == by_words([flaw for name in plants for flaw in BROKEN[name][1]])

    # There are eight holders, as many places, and more deadlines.
    assert board.client.info("commandstats")["cmdstat_zrange"]["calls"] - before > 12


def test_script_looks_at_a_share_at_once(board, audit, monkeypatch):
    calls = []
    script = audit._script
    monkeypatch.setattr(audit, "_script", lambda *args: calls.append(args) or script(*args))
    for number in range(MEMBERS_AT_ONCE):
        add("lines", A.lower(), FIRST, f"ServerTasks-{1000 + number}")(board)

    assert len(audit.look()) == MEMBERS_AT_ONCE

    assert len(calls) > 2


def test_script_looks_at_a_share_of_many_reservations(board, audit, monkeypatch):
    calls = []
    script = audit._script
    monkeypatch.setattr(audit, "_script", lambda *args: calls.append(args) or script(*args))
    for number in range(2 * RESERVATIONS_AT_ONCE):
        add("holders", f"machines-{1000 + number}", "reservation", "")(board)

    assert {flaw.code for flaw in audit.look()} == {"reservation_unknown"}

    machines = [json.loads(call[3]) for call in calls]
    # And the one that is known.
    assert sum(map(len, machines)) == 2 * RESERVATIONS_AT_ONCE + 1
    assert max(map(len, machines)) == RESERVATIONS_AT_ONCE


def test_reconcile_puts_right_what_keeps_all_scripts_from_their_work(board, make_context, octopus, capsys):
    """Before it does anything else: a waiter without an order is due to end, and no script gets past it."""
    change(board, LIMITED, order=None)
    add("deadlines", "life", LIMITED)(board)
    with pytest.raises(StoreError):
        board.place(WAITER)
    context = make_context(board)

    do(context, reconcile)

    assert board.place(WAITER).is_waiting
    assert f"put right: {LIMITED}, {A}: waits without an order" in capsys.readouterr().out
    # Not in every pass.
    add("unresolved", STRANGER)(board)
    do(context, reconcile)
    assert [flaw.task_id for flaw in context.board.audit.look()] == [STRANGER]
