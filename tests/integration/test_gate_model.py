"""The board against a model of the rules in lists and dicts, under whatever order of calls hypothesis thinks of."""

import os
import uuid
from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app.coordination.audit import Audit
from app.coordination.board import Policy
from app.coordination.snapshot import SharedSnapshot, take
from app.domain.errors import ClosesCircle, HoldsOthers
from app.domain.events import Effect, Event
from app.domain.run import RunRequest
from app.store.connection import connect
from app.store.scripts import Scripts
from app.store.witness import speaking_for
from tests.conftest import Clock, opened
from tests.integration.gate_model import TTL, Model
from tests.integration.snapshots import assert_same
from tests.lua_names import with_values
from tests.open_board import OpenBoard

# Times of the model are seconds and move in steps of 20, so that no deadline falls on one.
STEP, TIMEOUT, RESERVED = 20, 110, 30

TASKS = [f"ServerTasks-{number}" for number in range(1, 7)]
MACHINES = ["Machines-1", "Machines-2", "Machines-3"]

tasks = st.sampled_from(TASKS)
machine_sets = st.sets(st.sampled_from(MACHINES), min_size=1)
priorities = st.integers(-1, 1)
claims = st.sampled_from([None, None, "a" * 32, "b" * 32, "c" * 32])


class Gate(RuleBasedStateMachine):
    url = ""
    events = Bundle("events")

    def __init__(self):
        super().__init__()
        self.client = connect(self.url)
        # What is only presumed of runs has tests of its own; here nobody has the patience for it.
        policy = Policy(provisional=timedelta())
        self.board = opened(OpenBoard(self.client, namespace=f"m{uuid.uuid4().hex[:12]}", policy=policy))
        self.clock = Clock(self.board)
        self.shared = SharedSnapshot(self.client, self.board.keys, lambda: self.board.script.offset_ms)
        self.audit = Audit(self.board.script, self.client, self.board.keys)
        self.model = Model()
        self.tokens = {}

    def teardown(self):
        self.client.close()

    @initialize()
    def begin(self):
        # One second in: an event of "now" never has the time 0.
        self.model.now = 1
        self.began_ms = self.clock.now_ms - 1000

    def next_call(self):
        """What follows is later than what was."""
        self.model.seq += 1
        return self.model

    @rule(task=tasks, machines=machine_sets, priority=priorities, timeout=st.sampled_from([None, None, TIMEOUT]),
          parked=st.sampled_from([False, False, True]), parent=st.one_of(st.none(), tasks), claim=claims)  # fmt: skip
    def join(self, task, machines, priority, timeout, parked, parent, claim):
        expected = self.next_call().join(task, set(machines), priority, timeout, parked, parent, claim)

        limit = timedelta(seconds=timeout) if timeout else None
        run = RunRequest(task, priority=priority, timeout=limit, parked=parked, on_behalf_of=parent, claim=claim)
        try:
            place = self.board.join(run, machines, ttl=timedelta(seconds=TTL))
            outcome = "left" if place.state == "left" else "joined" if place.is_new else "known"
            self.hear(task, place.state, place.is_new)
        except HoldsOthers:
            outcome = "holds others"

        assert outcome == expected

    def hear(self, task, state, is_new):
        """What its join answers a step; *is_new*: it waited and held nothing before."""
        run = self.model.runs[task]
        assert state in ("left", run["state"], self.model.end_of_wait(run))

    def known(self, *states):
        """The tasks that anything is known of; of runs in one of *states* only, if any are given."""
        return sorted(task for task, run in self.model.runs.items() if not states or run["state"] in states)

    @precondition(lambda self: self.known("waiting", "granted"))
    @rule(data=st.data(), blocks=st.booleans(), is_seeing=st.booleans())
    def poll(self, data, blocks, is_seeing):
        task = data.draw(st.sampled_from(self.known("waiting", "granted")))
        claim = data.draw(st.sampled_from([None, self.model.runs[task]["claim"]]))
        self.next_call().poll(task, claim, blocks, is_seeing=is_seeing)
        self.ask(task, claim, blocks, is_seeing)

    @rule(task=tasks, claim=claims, blocks=st.booleans(), is_seeing=st.booleans())
    def poll_late(self, task, claim, blocks, is_seeing):
        expected = self.next_call().poll(task, claim, blocks, is_seeing=is_seeing)
        place = self.ask(task, claim, blocks, is_seeing)
        assert (str(place.state) if place else "unknown") == expected

    def ask(self, task, claim, blocks, is_seeing):
        seen = self.board.script.witness.latest
        with speaking_for(*([replace(seen, is_told=True)] if is_seeing and seen else [])):
            return self.board.poll(task, claim=claim, blocks=blocks)

    @precondition(known)
    @rule(data=st.data(), claim=claims)
    def release(self, data, claim):
        task = data.draw(st.sampled_from(self.known()))
        assert self.board.release(task, claim=claim) == self.next_call().release(task, claim)

    @precondition(lambda self: self.known("waiting"))
    @rule(data=st.data(), priority=priorities)
    def prioritize(self, data, priority):
        task = data.draw(st.sampled_from(self.known("waiting")))
        expected = self.next_call().prioritize(task, priority)

        try:
            self.board.prioritize(task, priority, by="ann", reason="hotfix")
            outcome = "waiting"
        except ClosesCircle:
            outcome = "circle"

        assert outcome == expected

    @rule(machine=st.sampled_from(MACHINES), ends=st.booleans())
    def reserve(self, machine, ends):
        self.next_call().reserve(machine, self.model.now + RESERVED if ends else None)
        until_ms = self.clock.now_ms + RESERVED * 1000 if ends else None
        self.board.reserve(machine, note="disk", by="ann", until_ms=until_ms)

    @precondition(lambda self: self.model.reserved)
    @rule(machine=st.sampled_from(MACHINES))
    def unreserve(self, machine):
        assert self.board.unreserve(machine, by="ann") == self.next_call().unreserve(machine)

    @rule(target=events, task=tasks, effect=st.sampled_from([Effect.STARTED, Effect.STARTED, Effect.ENDED]))
    def something_occurs_in_octopus(self, task, effect):
        key = f"events-{uuid.uuid4().hex}"
        occurred_ms = self.began_ms + self.model.now * 1000
        return self.model.now, Event(key, key, f"Deployment{effect}", effect, occurred_ms, task, None)

    @rule(event=events)
    def deliver(self, event):
        occurred, delivered = event
        if delivered.key in self.model.seen:
            expected = "duplicate"
        elif delivered.effect is Effect.STARTED:
            expected = self.next_call().started(delivered.task_id, occurred)
        else:
            expected = self.next_call().ended(delivered.task_id, occurred)
        self.model.seen.add(delivered.key)

        assert self.board.deliver(delivered) == expected

    @precondition(lambda self: self.known("started"))
    @rule(data=st.data(), machines=machine_sets)
    def observe(self, data, machines):
        task = data.draw(st.sampled_from(self.known("started")))
        expected = self.next_call().observe(task, set(machines))

        assert self.board.observe(task, [{"id": m, "name": m} for m in machines], info={}) == expected

    def parked(self):
        return sorted(task for task, run in self.model.runs.items() if run["parked"])

    @precondition(parked)
    @rule(data=st.data(), result=st.sampled_from(["Proceed", "Abort"]))
    def answer(self, data, result):
        task = data.draw(st.sampled_from(self.parked()))

        assert self.board.answered(task, "by_hand", result=result) == self.next_call().answered(task, result)

    @precondition(parked)
    @rule(data=st.data())
    def remind(self, data):
        task = data.draw(st.sampled_from(self.parked()))

        assert self.board.remind(self.board.place(task)) == self.next_call().remind(task)

    @precondition(lambda self: len(self.known("waiting")) > 1)
    @rule()
    def close(self):
        assert self.board.close(by="ann") == self.next_call().close()

    @precondition(lambda self: not self.model.is_open)
    @rule()
    def open(self):
        assert self.board.open("operator", by="ann") == self.next_call().open()
        # It ends a share of what is due, and no dead waiter is granted before the sweep ends the others.
        self.sweep()

    @precondition(lambda self: not self.model.is_open)
    @rule(data=st.data(), paused=st.booleans())
    def recover(self, data, paused):
        task = data.draw(st.sampled_from(self.known()))
        assert self.board.recover(task, paused=paused) == self.next_call().recover(task, paused)

    def sweep(self):
        while self.board.sweep().more:
            pass

    @rule(steps=st.sampled_from([1, 1, 1, 3, 7]))
    def advance(self, steps):
        self.clock.advance(timedelta(seconds=steps * STEP))
        self.sweep()
        self.next_call().advance(steps * STEP)

    @invariant()
    def board_agrees_with_the_model(self):
        for task in TASKS:
            place, run = self.board.place(task), self.model.runs.get(task)
            assert (place.state if place else None) == (run["state"] if run else None), task
            if not place or run["state"] not in ("waiting", "granted", "observed"):
                continue
            assert {m.id for m in place.machines} == run["machines"]
            assert place.run.claim == run["claim"]
            if run["state"] != "observed":
                life = self.client.zscore(self.board.keys.deadlines, f"life\0{task}")
                assert (place.run.told, bool(life)) == (run["told"], bool(run["life"])), task
            for machine in place.machines:
                expected = self.shown(run, machine.id)
                assert (machine.place, list(machine.ahead), {(h.kind, h.task_id) for h in machine.holders}) == expected
        due = {member.decode() for member in self.client.zrange(self.board.keys.resumes, 0, -1)}
        assert due == self.model.resumes

    def shown(self, run, machine):
        """Its place at the machine, who is ahead there, and who holds it, as the run is shown them."""
        if run["state"] != "waiting":
            return 0, [], {held for held in self.model.holders(machine) if held[1] != run["task"]}
        rebuilding = set() if self.model.is_open else {("rebuilding", None)}
        if self.model.is_shared(run, machine):
            return 0, [], rebuilding
        line = self.model.line(machine)
        place = line.index(run["task"])
        return place + 1, line[:place], self.model.holders(machine) | rebuilding

    @invariant()
    def a_machine_has_the_leases_of_one_family_and_whoever_may_start_has_been_granted(self):
        snapshot = take(self.client, self.board.keys)
        busy = {m.id: [h for h in m.holders if h.kind != "rebuilding"] for m in snapshot.machines}
        heads = {m.id: m.line[0] for m in snapshot.machines if m.line}

        for held in busy.values():
            leases = [h for h in held if h.kind == "lease"]
            assert len(leases) <= 1 or (leases[0].family and len({h.family for h in leases}) == 1)
        for head in heads.values() if snapshot.closed_since_ms is None else ():
            wants = head.run.machines
            assert not all(heads[m].task_id == head.task_id and not busy[m] for m in wants), head.task_id

    @invariant()
    def all_that_is_kept_agrees(self):
        if self.model.seq % 4:
            return
        assert self.audit.look() == []

    @invariant()
    def the_shared_snapshot_follows_every_change(self):
        assert_same(self.shared.now(), take(self.client, self.board.keys))

    @invariant()
    def nobody_waits_for_itself(self):
        assert not [run["task"] for run in self.model.waiting() if self.model.is_deadlocked(run)]

    @invariant()
    def who_is_granted_is_alone_with_its_family_and_has_a_larger_token(self):
        granted = [place for place in map(self.board.place, TASKS) if place and place.is_granted]
        new = [place for place in granted if self.tokens.get(place.task_id) != place.fencing_token]
        largest = max(self.tokens.values(), default=0)

        for place in new:
            for held in (machine.holders for machine in place.machines if machine.holders):
                # What a child does is its parent's running work, which a reservation lets go on.
                families = {h.family for h in held if h.kind != "reservation"}
                assert families == {place.run.family} != {None}
            assert place.fencing_token > largest
        self.tokens.update({place.task_id: place.fencing_token for place in new})
        assert max(self.tokens.values(), default=0) < self.clock.now_ms + len(self.model.grants)


class Changed(Scripts):
    """Scripts with other sizes in their texts."""

    def __init__(self, board, sizes):
        super().__init__(board.client, board.keys)
        self.sizes = sizes

    def text(self, name, *, with_expiry):
        text = super().text(name, with_expiry=with_expiry)
        for old, new in self.sizes.items():
            # Others need not have the part.
            with suppress(LookupError) if name != "join" else nullcontext():
                text = with_values(text, old, new)
        return text


class SlicedGate(Gate):
    """A script leaves nearly all that follows from a change to others."""

    sizes = {"SLICE, SHARE = 3000, 1500": "SLICE, SHARE = 1, 1"}

    def __init__(self):
        super().__init__()
        self.board.script = Changed(self.board, self.sizes)

    def hear(self, task, state, is_new):
        if state == "waiting" and is_new:
            # Its grant or refusal, if there is one by now, was left to a script behind the answer.
            self.model.go_on_waiting(task)
        else:
            super().hear(task, state, is_new)


class BulkGate(SlicedGate):
    """Two machines count as many, of which all are looked at at once."""

    sizes = {"FEW = 8": "FEW = 0", "BULK = 500": "BULK = 2"}


class SlicedBulkGate(SlicedGate):
    sizes = SlicedGate.sizes | BulkGate.sizes


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("gate", "share"), [(Gate, 0.5), (SlicedGate, 0.1), (BulkGate, 0.2), (SlicedBulkGate, 0.2)])
def test_board_does_what_the_rules_say(redis_url, gate, share):
    machine = type("GateOnRedis", (gate,), {"url": redis_url})

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=int(share * int(os.environ.get("MODEL_EXAMPLES", "80"))),
            stateful_step_count=40,
            deadline=None,
            derandomize=os.environ.get("CI") == "true",
            suppress_health_check=list(HealthCheck),
            database=None,
            # To shrink a failure takes minutes; forty steps can be read.
            phases=[Phase.generate],
        ),
    )
