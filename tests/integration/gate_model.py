"""The rules of the gate in lists and dicts, with nothing in it to make them fast; what the board is held to.

Times are seconds. *seq* counts calls, since two of them can be of one second.
"""

from __future__ import annotations

from typing import Any

TTL, TOLERANCE = 50, 5

FINISHED = ("released", "left", "expired", "timed_out", "refused", "ended")
#: Waits that are over while the task may work on; without an API key, and without patience, nobody can know it.
WENT_ON = ("left", "expired", "timed_out", "refused")
HOLDING = {"granted": "lease", "observed": "observed"}

#: Ends of a parked run that its task does not know of.
UNTOLD = ("timeout", "circle")

RunState = dict[str, Any]


class Model:
    def __init__(self) -> None:
        self.now = self.seq = self.arrivals = self.families = 0
        self.runs: dict[str, RunState] = {}
        self.reserved: dict[str, int | None] = {}
        self.seen: set[str] = set()
        self.grants: list[str] = []
        #: Executions of steps that are over, or that another one has followed: (task, claim).
        self.over: set[tuple[str, str | None]] = set()
        #: Parked runs whose intervention is to be answered.
        self.resumes: set[str] = set()
        self.is_open = True
        self.closed_at = 0
        self.asking: str | None = None

    # Who is where

    def waiting(self) -> list[RunState]:
        return [run for run in self.runs.values() if run["state"] == "waiting"]

    def children(self, family: int) -> list[str]:
        """Those that came first before the others."""
        there = [run for run in self.waiting() if run["family"] == family]
        return [run["task"] for run in sorted(there, key=lambda run: (-run["priority"], run["arrival"]))]

    def line(self, machine: str) -> list[str]:
        there = [run for run in self.waiting() if machine in run["machines"]]
        return [run["task"] for run in sorted(there, key=lambda run: (-run["priority"], run["arrival"]))]

    def busy_with(self, machine: str) -> list[str]:
        return [r["task"] for r in self.runs.values() if r["state"] in HOLDING and machine in r["machines"]]

    def holders(self, machine: str) -> set[tuple[str, str | None]]:
        held: set[tuple[str, str | None]] = {(HOLDING[self.runs[t]["state"]], t) for t in self.busy_with(machine)}
        return held | ({("reservation", None)} if machine in self.reserved else set())

    def is_shared(self, run: RunState, machine: str) -> bool:
        families = [self.runs[task]["family"] for task in self.busy_with(machine)]
        return run["family"] is not None and bool(families) and set(families) == {run["family"]}

    # Rule 10: who waits for whom

    def waits_for(self, run: RunState) -> set[str]:
        if run["state"] != "waiting":
            return set(self.children(run["family"])) if run["family"] is not None else set()
        found: set[str] = set()
        for machine in run["machines"]:
            busy = self.busy_with(machine)
            own = {t for t in busy if run["family"] is not None and self.runs[t]["family"] == run["family"]}
            found |= set(busy) - own
            if not own:
                line = self.line(machine)
                found |= set(line[: line.index(run["task"])])
        return found

    def is_in_circle(self, run: RunState) -> bool:
        reached: set[str] = set()
        to_do = [run["task"]]
        while to_do:
            new = self.waits_for(self.runs[to_do.pop()]) - reached
            reached |= new
            to_do += new
        return run["task"] in reached

    def refuse_circles(self, family: int | None) -> None:
        for task in self.children(family) if family is not None else []:
            child = self.runs[task]
            if child["state"] == "waiting" and self.is_in_circle(child):
                self.finish(child, "refused", "circle")
                self.grant_whoever_may_start()

    def is_deadlocked(self, run: RunState) -> bool:
        """Whether it waits for itself for good: a run that works waits for none but the children that it started."""
        reached: set[str] = set()
        to_do = [run["task"]]
        while to_do:
            at = self.runs[to_do.pop()]
            found = self.waits_for(at)
            if at["state"] != "waiting":
                found = {task for task in found if self.runs[task].get("parent") == at["task"]}
            to_do += found - reached
            reached |= found
        return run["task"] in reached

    # Grants and ends

    def may_start(self, run: RunState) -> bool:
        return self.is_open and all(
            self.is_shared(run, m) or (self.line(m)[0] == run["task"] and not self.holders(m)) for m in run["machines"]
        )

    def grant_whoever_may_start(self) -> None:
        parents = {run.get("parent") for run in self.runs.values()}
        granted = []
        while ready := [run for run in self.waiting() if self.may_start(run)]:
            run = ready[0]
            is_to_be_collected = not run["parked"] or (run["claim"] and run["task"] == self.asking)
            run.update(state="granted", timeout=None, life=self.now + TTL if is_to_be_collected else None)
            run.update(told=False, shown=self.seq, collected=False)
            self.grants.append(run["task"])
            self._tell(run)
            granted.append(run)
        for run in granted:
            if run["task"] in parents:
                self.refuse_circles(run["family"])

    def _tell(self, run: RunState) -> None:
        if run["parked"] and run["task"] != self.asking:
            self.resumes.add(run["task"])

    def finish(self, run: RunState, state: str, cause: str) -> None:
        is_untold = run["state"] == "waiting" or run["task"] in self.resumes
        self.resumes.discard(run["task"])
        run.update(state=state, cause=cause, life=None, timeout=None, ended_at=self.now)
        if state != "expired":
            self.over.add((run["task"], run["claim"]))
        if is_untold and cause in UNTOLD:
            self._tell(run)

    def end(self, run: RunState, cause: str) -> None:
        was = run["state"]
        self.finish(run, {"waiting": "left", "granted": "released"}.get(was, "ended"), cause)
        self.grant_whoever_may_start()
        if was != "waiting":
            self.refuse_circles(run["family"])

    def _observe(self, run: RunState) -> None:
        if run["state"] in FINISHED:
            run["wait_ended"] = run["state"]
        run.update(state="observed", life=None, timeout=None)
        self.grant_whoever_may_start()
        self.refuse_circles(run["family"])

    def advance(self, seconds: int) -> None:
        self.now += seconds
        if self.is_open:
            self._end_due()

    def _end_due(self) -> None:
        for machine in [m for m, until in self.reserved.items() if until and until <= self.now]:
            del self.reserved[machine]
        due = sorted(
            (run[what], run["shown" if what == "life" else "joined"], run["task"], what)
            for run in self.runs.values()
            for what in ("life", "timeout")
            if run.get(what) and run[what] <= self.now
        )
        bereaved = []
        for *_, task, what in due:
            run = self.runs[task]
            if not run.get(what):
                continue
            bereaved += [run["family"]] if run["state"] == "granted" else []
            self.finish(*(run, "expired", "silence") if what == "life" else (run, "timed_out", "timeout"))
        self.grant_whoever_may_start()
        for family in bereaved:
            self.refuse_circles(family)

    # What is asked of the board

    def end_of_wait(self, run: RunState) -> str | None:
        """What its own step is told of a run that was seen to work on after its wait had failed."""
        ends = {"refused": "refused", "timed_out": "left"}
        return ends.get(run.get("wait_ended", "")) if run["state"] == "observed" else None

    def poll(self, task: str, claim: str | None = None, blocks: bool = False, *, is_seeing: bool = False) -> str:
        """*is_seeing*: its step says that it has seen all that has happened."""
        run = self.runs.get(task)
        if claim and (run is None or run["claim"] != claim):
            return "left" if (task, claim) in self.over else "unknown"
        if run is None:
            return "unknown"
        if claim and (end := self.end_of_wait(run)):
            return end
        if self._withdraw(run):
            pass
        elif run["state"] == "waiting" and not run["parked"]:
            run.update(life=self.now + TTL, shown=self.seq)
        elif run["state"] == "granted" and claim and not ((run["told"] or is_seeing) and not blocks):
            is_lively = run["life"] and run["life"] == self.now + TTL
            if is_seeing and is_lively and not run["collected"] and not run["parked"]:
                return "granted"
            if run["life"]:
                run.update(life=self.now + TTL, shown=self.seq)
            run["told"] = True
        elif run["state"] == "granted":
            if claim:
                self.resumes.discard(task)
            if claim or not run["parked"]:
                run.update(life=None, collected=True)
        return str(run["state"])

    def _withdraw(self, run: RunState) -> bool:
        """Put a run back in line whose grant nobody has collected, if the board is closed: whether it was one."""
        is_doubtful = not self.is_open and run["state"] == "granted" and not run["collected"]
        if is_doubtful:
            self.resumes.discard(run["task"])
            run.update(state="waiting", told=False, timeout=run["times_out"], shown=self.seq)
            run["life"] = None if run["parked"] else self.now + TTL
        return is_doubtful

    def join(
        self, task: str, machines: set[str], priority: int, timeout: int | None, parked: bool, parent: str | None,
        claim: str | None = None,
    ) -> str:  # fmt: skip
        self.asking = task
        try:
            return self._join(task, machines, priority, timeout, parked, parent, claim)
        finally:
            self.asking = None

    def _join(
        self, task: str, machines: set[str], priority: int, timeout: int | None, parked: bool, parent: str | None,
        claim: str | None,
    ) -> str:  # fmt: skip
        before = self.runs.get(task, {"state": "new", "family": None, "claim": None})
        if claim and (task, claim) in self.over:
            is_told = before["state"] in ("refused", "timed_out") or self.end_of_wait(before) == "refused"
            return "known" if before["claim"] == claim and is_told else "left"
        if before["state"] in ("waiting", "granted"):
            if not machines <= before["machines"]:
                return "holds others"
            self._withdraw(before)
            before["asked"] = self.now
            if claim:
                self._follow(before, claim)
            if before["state"] == "granted" and not claim:
                self.resumes.discard(task)
            elif before["state"] == "waiting" and before["parked"] != parked:
                before.update(parked=parked, life=None)
            self.poll(task, claim, blocks=True)
            return "known"
        if claim:
            self._follow(before, claim)
        family = None if before["state"] in FINISHED else before["family"]
        is_child = family is None and parent is not None
        if is_child:
            family = self._family_of(parent, task)
        self.arrivals += 1
        self.resumes.discard(task)
        run = self.runs[task] = {
            "task": task, "state": "waiting", "machines": machines, "priority": priority, "arrival": self.arrivals,
            "life": None if parked else self.now + TTL, "timeout": self.now + timeout if timeout else None,
            "times_out": self.now + timeout if timeout else None,
            "asked": self.now, "requested": self.now, "joined": self.seq, "shown": self.seq, "parked": parked,
            "family": family, "parent": parent if is_child and family is not None else before.get("parent"),
            "claim": claim, "told": False,
            "started": before.get("started"), "prior": before.get("ended") or before.get("prior"),
            "owes_end": before["state"] == "released" and not before.get("ended"),
        }  # fmt: skip
        self.grant_whoever_may_start()
        if run["state"] == "waiting" and self.is_in_circle(run):
            self.finish(run, "refused", "circle")
            self.grant_whoever_may_start()
        if run["state"] == "granted":
            self.poll(task, claim, blocks=True)
        return "joined"

    def go_on_waiting(self, task: str) -> None:
        """What its join has come to was not known yet when its step was answered: that goes on as one who waits."""
        run = self.runs[task]
        if run["state"] == "granted":
            run.update(told=False, collected=False, life=None if run["parked"] else self.now + TTL)
            self._tell(run)
        elif run["state"] in FINISHED and run["cause"] in UNTOLD:
            self._tell(run)

    def _follow(self, run: RunState, claim: str) -> None:
        if run["claim"] != claim:
            self.over |= {(run["task"], run["claim"])} if run["claim"] else set()
            run.update(claim=claim, told=False)

    def _family_of(self, parent: str | None, child: str) -> int | None:
        if parent is None or parent == child:
            return None
        run = self.runs.setdefault(parent, a_run(parent, "known"))
        if run["state"] == "waiting" or run["state"] in FINISHED:
            return None
        if run["family"] is None:
            self.families += 1
            run["family"] = self.families
        return int(run["family"])

    def release(self, task: str, claim: str | None = None) -> str:
        run = self.runs.get(task)
        if claim and (run is None or run["claim"] != claim):
            was_followed = run is not None and run["claim"] and (task, claim) in self.over
            self.over.add((task, claim))
            return "left" if was_followed else "nothing"
        if run is None or run["state"] == "known" or run["state"] in FINISHED:
            if claim:
                self.over.add((task, claim))
            return "nothing"
        was = run["state"]
        self.end(run, "step")
        return "left" if was == "waiting" else "released"

    def prioritize(self, task: str, priority: int) -> str:
        run = self.runs[task]
        before = run["priority"]
        run["priority"] = priority
        if self.is_in_circle(run):
            run["priority"] = before
            return "circle"
        self.grant_whoever_may_start()
        return "waiting"

    def reserve(self, machine: str, until: int | None) -> None:
        self.reserved[machine] = until

    def unreserve(self, machine: str) -> bool:
        was = self.reserved.pop(machine, "none")
        self.grant_whoever_may_start()
        return was != "none"

    # What Octopus tells

    def started(self, task: str, occurred: int) -> str:
        run = self.runs.setdefault(task, a_run(task, "known"))
        if run.get("ended") is not None:
            is_another = occurred > run["ended"]
        elif run["state"] in FINISHED:
            is_another = occurred > run["ended_at"] + TOLERANCE
        else:
            is_another = run["state"] == "known"
        if not is_another:
            run["started"] = max(run.get("started") or 0, occurred)
            is_told = task in self.resumes or run.get("aborted")
            may_work_on = run["state"] in WENT_ON and run.get("ended") is None and not is_told
            return "unresolved" if may_work_on else "applied"
        self.resumes.discard(task)
        family = None if run["state"] in FINISHED else run["family"]
        self.runs[task] = {**a_run(task, "started"), "started": occurred, "family": family}
        return "unresolved"

    def ended(self, task: str, occurred: int) -> str:
        run = self.runs.setdefault(task, a_run(task, "known"))
        started, prior = run.get("started"), run.get("prior")
        is_earlier = started is not None and occurred < started
        # Octopus can tell of one end twice.
        is_earlier = is_earlier or (prior is not None and occurred <= prior + TOLERANCE and (started or 0) <= prior)
        if run["state"] in ("waiting", "granted"):
            if run["owes_end"]:
                is_earlier = is_earlier or occurred <= run["asked"] + TOLERANCE
            else:
                is_earlier = is_earlier or occurred < run["asked"] - TOLERANCE
        if is_earlier:
            run.update(owes_end=False, prior=max(prior or 0, occurred))
            return "ignored"
        run["ended"] = max(run.get("ended") or 0, occurred)
        self.over.add((task, run["claim"]))
        if run["state"] == "known":
            self.finish(run, "ended", "event")
        if run["state"] not in FINISHED:
            self.end(run, "event")
        return "applied"

    def observe(self, task: str, machines: set[str]) -> str:
        run = self.runs[task]
        run["machines"] = machines
        self._observe(run)
        return "observed"

    # Rule 11: the intervention of a parked run

    def answered(self, task: str, result: str) -> str:
        run = self.runs[task]
        is_over = run["state"] in FINISHED and run["cause"] in UNTOLD and run.get("ended") is None
        run["aborted"] = result == "Abort"
        self.resumes.discard(task)
        if result == "Proceed" and run["state"] == "granted":
            run.update(collected=True, life=None)
        if result == "Proceed" and (run["state"] == "waiting" or is_over):
            self._observe(run)
            return "overridden"
        return "answered"

    def remind(self, task: str) -> str:
        run = self.runs[task]
        if run["state"] != "granted" or not run["parked"] or task in self.resumes:
            return "late"
        self.resumes.add(task)
        return "reminded"

    # Rule 15: the closed board

    def close(self) -> bool:
        was, self.is_open = self.is_open, False
        self.closed_at = self.seq if was else self.closed_at
        return was

    def open(self) -> bool:
        if self.is_open:
            return False
        self._end_due()
        for run in sorted(self.waiting(), key=self._began):
            self.arrivals += 1
            run["arrival"] = self.arrivals
        self.is_open = True
        self.grant_whoever_may_start()
        for family in sorted({run["family"] for run in self.waiting() if run["family"] is not None}):
            self.refuse_circles(family)
        return True

    def _began(self, run: RunState) -> tuple[int, int, int, int]:
        """Who joined while it was closed comes last, as Octopus started them; what was asked is after what began."""
        if run["joined"] < self.closed_at:
            return 0, 0, 0, run["arrival"]
        is_known = run["started"] is not None
        return 1, run["started"] if is_known else run["requested"], 0 if is_known else 1, run["arrival"]

    def recover(self, task: str, paused: bool) -> str:
        run = self.runs[task]
        is_silent = run.get("shown", 0) < self.closed_at
        if run["state"] == "granted" and not run["collected"] and run["life"] and not is_silent:
            self._withdraw(run)
            return "withdrawn"
        if run["state"] == "granted" and not run["collected"]:
            run.update(life=None, collected=True)
        elif run["state"] == "waiting" and not run["parked"] and is_silent:
            self._observe(run)
            return "observed"
        elif run["state"] in FINISHED and not self._is_over(run, paused):
            self.resumes.discard(task)
            if not run["machines"]:
                run["state"] = "started"
                return "unresolved"
            self._observe(run)
            return "observed"
        return "kept"

    def _is_over(self, run: RunState, paused: bool) -> bool:
        is_given_back = run["state"] == "released" and run["cause"] == "step"
        return run.get("ended") is not None or is_given_back or (paused and run["parked"])


def a_run(task: str, state: str) -> RunState:
    """A run that has not asked for anything."""
    return {"task": task, "state": state, "machines": set(), "family": None, "parked": False, "owes_end": False,
            "cause": None, "claim": None}  # fmt: skip
