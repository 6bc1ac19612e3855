"""The board against a model of the rules in lists and dicts, under whatever order of calls hypothesis thinks of."""

import os
import uuid
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings
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

from app.coordination.board import Board
from app.coordination.connection import connect
from app.coordination.snapshot import take
from app.domain.errors import HoldsOthers, NotWaiting, UnknownRun
from app.domain.events import Effect, Event
from app.domain.run import Run
from tests.conftest import Clock, opened

# Times of the model are seconds and move in steps of 20, so that no deadline falls on one.
STEP, TTL, TIMEOUT, RESERVED, TOLERANCE = 20, 50, 110, 30, 5

TASKS = [f"ServerTasks-{number}" for number in range(1, 8)]
MACHINES = ["Machines-1", "Machines-2", "Machines-3"]
FINISHED = ("released", "left", "expired", "timed_out", "ended")

tasks = st.sampled_from(TASKS)
machine_sets = st.sets(st.sampled_from(MACHINES), min_size=1)
priorities = st.integers(-1, 1)


class Model:
    """The rules, with nothing in it to make them fast."""

    def __init__(self):
        self.now = 0
        self.runs = {}
        self.reserved = {}
        self.seen = set()
        self.arrivals = 0
        self.grants = []

    def line(self, machine):
        waiting = [r for r in self.runs.values() if r["state"] == "waiting" and machine in r["machines"]]
        return [r["task"] for r in sorted(waiting, key=lambda r: (-r["priority"], r["arrival"]))]

    def holders(self, machine):
        kinds = {"granted": "lease", "observed": "observed"}
        held = {
            (kinds[r["state"]], r["task"])
            for r in self.runs.values()
            if r["state"] in kinds and machine in r["machines"]
        }
        return held | ({("reservation", None)} if machine in self.reserved else set())

    def may_start(self, run):
        return all(self.line(m)[0] == run["task"] and not self.holders(m) for m in run["machines"])

    def grant_whoever_may_start(self):
        ready = [r for r in self.runs.values() if r["state"] == "waiting" and self.may_start(r)]
        for run in ready:
            run.update(state="granted", life=self.now + TTL, timeout=None)
            self.grants.append(run["task"])

    def finish(self, run, state):
        run.update(state=state, life=None, timeout=None, ended_at=self.now)

    def advance(self, seconds):
        self.now += seconds
        for machine in [m for m, until in self.reserved.items() if until and until <= self.now]:
            del self.reserved[machine]
        for run in self.runs.values():
            due = [(run[what], what) for what in ("life", "timeout") if run.get(what) and run[what] <= self.now]
            if due:
                self.finish(run, "expired" if min(due)[1] == "life" else "timed_out")
        self.grant_whoever_may_start()

    def poll(self, task):
        run = self.runs.get(task)
        if run and run["state"] == "waiting":
            run["life"] = self.now + TTL
        if run and run["state"] == "granted":
            run["life"] = None

    def join(self, task, machines, priority, timeout):
        before = self.runs.get(task, {"state": "new"})
        if before["state"] in ("waiting", "granted"):
            if not machines <= before["machines"]:
                return "holds others"
            before["asked"] = self.now
            self.poll(task)
            return "known"
        self.arrivals += 1
        self.runs[task] = {
            "task": task, "state": "waiting", "machines": machines, "priority": priority, "arrival": self.arrivals,
            "life": self.now + TTL, "timeout": self.now + timeout if timeout else None, "asked": self.now,
            "started": before.get("started"), "owes_end": before["state"] == "released" and not before.get("ended"),
        }  # fmt: skip
        self.grant_whoever_may_start()
        if self.runs[task]["state"] == "granted":
            self.poll(task)
        return "joined"

    def release(self, task):
        run = self.runs.get(task)
        if run is None or run["state"] in FINISHED:
            return "nothing"
        was = run["state"]
        self.finish(run, {"waiting": "left", "granted": "released"}.get(was, "ended"))
        self.grant_whoever_may_start()
        return "left" if was == "waiting" else "released"

    def prioritize(self, task, priority):
        self.runs[task]["priority"] = priority
        self.grant_whoever_may_start()

    def reserve(self, machine, until):
        self.reserved[machine] = until

    def unreserve(self, machine):
        was = self.reserved.pop(machine, "none")
        self.grant_whoever_may_start()
        return was != "none"

    def started(self, task, occurred):
        run = self.runs.setdefault(task, {"task": task, "state": "new"})
        if run.get("ended") is not None:
            is_another = occurred > run["ended"]
        elif run["state"] in FINISHED:
            is_another = occurred > run["ended_at"] + TOLERANCE
        else:
            is_another = run["state"] == "new"
        if not is_another:
            run["started"] = max(run.get("started") or 0, occurred)
            return "applied"
        self.runs[task] = {"task": task, "state": "started", "machines": set(), "started": occurred}
        return "unresolved"

    def ended(self, task, occurred):
        run = self.runs.setdefault(task, {"task": task, "state": "new", "machines": set()})
        is_earlier = run.get("started") is not None and occurred < run["started"]
        if run["state"] in ("waiting", "granted"):
            if run["owes_end"]:
                is_earlier = is_earlier or occurred <= run["asked"] + TOLERANCE
            else:
                is_earlier = is_earlier or occurred < run["asked"] - TOLERANCE
        if is_earlier:
            run["owes_end"] = False
            return "ignored"
        run["ended"] = max(run.get("ended") or 0, occurred)
        if run["state"] == "new":
            self.finish(run, "ended")
        self.release(task)
        return "applied"

    def observe(self, task, machines):
        run = self.runs.get(task)
        if run is None or run["state"] != "started":
            return "late"
        run.update(state="observed", machines=machines)
        return "observed"


class Gate(RuleBasedStateMachine):
    url = ""
    events = Bundle("events")

    def __init__(self):
        super().__init__()
        self.client = connect(self.url)
        self.board = opened(Board(self.client, namespace=f"m{uuid.uuid4().hex[:12]}"))
        self.clock = Clock(self.board)
        self.model = Model()
        self.tokens = {}
        self.first_token = int(self.client.hget(self.board.keys.counters, "token")) + 1

    def teardown(self):
        self.client.close()

    @initialize()
    def begin(self):
        # One second in: an event of "now" never has the time 0.
        self.model.now = 1
        self.began_ms = self.clock.now_ms - 1000

    @rule(task=tasks, machines=machine_sets, priority=priorities, timeout=st.sampled_from([None, None, TIMEOUT]))
    def join(self, task, machines, priority, timeout):
        expected = self.model.join(task, set(machines), priority, timeout)

        limit = timedelta(seconds=timeout) if timeout else None
        try:
            place = self.board.join(Run(task, priority=priority, timeout=limit), machines, ttl=timedelta(seconds=TTL))
            outcome = "joined" if place.is_new else "known"
        except HoldsOthers:
            outcome = "holds others"

        assert outcome == expected

    @rule(task=tasks)
    def poll(self, task):
        self.model.poll(task)
        self.board.poll(task)

    @rule(task=tasks)
    def release(self, task):
        assert self.board.release(task) == self.model.release(task)

    @rule(task=tasks, priority=priorities)
    def prioritize(self, task, priority):
        run = self.model.runs.get(task)
        try:
            self.board.prioritize(task, priority, by="ann", reason="hotfix")
            outcome = "waiting"
        except NotWaiting:
            outcome = "not waiting"
        except UnknownRun:
            outcome = "unknown"

        assert outcome == ("unknown" if not run else "waiting" if run["state"] == "waiting" else "not waiting")
        if outcome == "waiting":
            self.model.prioritize(task, priority)

    @rule(machine=st.sampled_from(MACHINES), ends=st.booleans())
    def reserve(self, machine, ends):
        self.model.reserve(machine, self.model.now + RESERVED if ends else None)
        until_ms = self.clock.now_ms + RESERVED * 1000 if ends else None
        self.board.reserve(machine, note="disk", by="ann", until_ms=until_ms)

    @precondition(lambda self: self.model.reserved)
    @rule(machine=st.sampled_from(MACHINES))
    def unreserve(self, machine):
        assert self.board.unreserve(machine, by="ann") == self.model.unreserve(machine)

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
            expected = self.model.started(delivered.task_id, occurred)
        else:
            expected = self.model.ended(delivered.task_id, occurred)
        self.model.seen.add(delivered.key)

        assert self.board.deliver(delivered) == expected

    @rule(task=tasks, machines=machine_sets)
    def observe(self, task, machines):
        expected = self.model.observe(task, set(machines))

        assert self.board.observe(task, [{"id": m, "name": m} for m in machines], info={}) == expected

    @rule(steps=st.sampled_from([1, 1, 1, 3, 7]))
    def advance(self, steps):
        self.clock.advance(timedelta(seconds=steps * STEP))
        self.board.sweep()
        self.model.advance(steps * STEP)

    @invariant()
    def board_agrees_with_the_model(self):
        for task in TASKS:
            place, run = self.board.place(task), self.model.runs.get(task)
            assert (place.state if place else None) == (run["state"] if run else None), task
            if not place or run["state"] not in ("waiting", "granted", "observed"):
                continue
            assert {m.id for m in place.machines} == run["machines"]
            for machine in place.machines:
                line = self.model.line(machine.id)
                assert machine.place == (line.index(task) + 1 if run["state"] == "waiting" else 0)
                assert list(machine.ahead) == line[: max(0, machine.place - 1)]
                shown = {(held.kind, held.task_id) for held in machine.holders}
                assert shown == {held for held in self.model.holders(machine.id) if held[1] != task}

    @invariant()
    def a_machine_has_one_lease_and_whoever_may_start_has_been_granted(self):
        snapshot = take(self.client, self.board.keys)
        busy = {m.id: [h for h in m.holders] for m in snapshot.machines}
        heads = {m.id: m.line[0] for m in snapshot.machines if m.line}

        assert all(sum(h.kind == "lease" for h in held) <= 1 for held in busy.values())
        for head in heads.values():
            wants = head.record["machines"]
            assert not all(heads[m].task_id == head.task_id and not busy[m] for m in wants), head.task_id

    @invariant()
    def who_is_granted_is_alone_and_has_a_larger_token(self):
        granted = [place for place in map(self.board.place, TASKS) if place and place.is_granted]
        new = [place for place in granted if self.tokens.get(place.task_id) != place.fencing_token]
        largest = max(self.tokens.values(), default=0)

        for place in new:
            assert not [machine for machine in place.machines if machine.holders]
            assert place.fencing_token > largest
        self.tokens.update({place.task_id: place.fencing_token for place in new})
        assert max(self.tokens.values(), default=0) < self.first_token + len(self.model.grants)


@pytest.mark.timeout(300)
def test_board_does_what_the_rules_say(redis_url):
    machine = type("GateOnRedis", (Gate,), {"url": redis_url})

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=int(os.environ.get("MODEL_EXAMPLES", "80")),
            stateful_step_count=40,
            deadline=None,
            derandomize=os.environ.get("CI") == "true",
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
