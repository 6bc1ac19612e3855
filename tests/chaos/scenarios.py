"""Runs the scenarios of tests/scenarios: each step by the model, and by octowait over HTTP; both must come to the same.

A step says who does what: ``put``, ``get``, ``delete`` (a task), ``reserve``, ``unreserve`` (a machine),
``prioritize``, ``force``, ``ended`` (an event of Octopus, which occurred now, or *at* an earlier ``note``), ``die`` (no
sign of life any more, until it is gone), ``close``, ``open``, ``crash`` (``redis`` or ``web``), ``backup`` and ``back``
(Redis as it was then). *then*: states of tasks after it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.coordination.board import Board as Live
from app.coordination.board import Policy
from app.domain.run import TaskEnd
from app.store.connection import connect
from tests.chaos import model
from tests.chaos.gate import PATIENCE, Gate, happens
from tests.chaos.history import now_ms
from tests.chaos.model import PRESUMED, WAITING, Board, Run

FILES = sorted((Path(__file__).parent.parent / "scenarios").glob("*.json"))


class Scenario:
    """One scenario on *gate*; its tasks and machines are its own."""

    def __init__(self, gate: Gate, name: str, number: int) -> None:
        self._gate = gate
        self._number = number
        self.board = Board()
        self._tasks: dict[str, str] = {}
        self._machines: dict[str, str] = {}
        self._noted: dict[str, float] = {}
        self._kept: tuple[Board, Path] | None = None
        self._name = name

    def run(self, steps: list[dict[str, Any]]) -> None:
        """Raises: AssertionError: the model and octowait differ, or a state is not as the scenario says."""
        self._gate.open()
        for step in steps:
            verb = next(iter(step))
            getattr(self, f"_{verb}")(step[verb], step)
            self._compare(step)

    def _compare(self, step: Mapping[str, Any]) -> None:
        for name, task in self._tasks.items():
            run = self.board.runs.get(name)
            status, facts = self._gate.call("GET", f"/api/runs/{task}", role="viewer")
            said = facts["state"] if status == 200 else "unknown"
            expected = (run.state,) if run and run.state != PRESUMED else FINAL
            assert said in expected, f"{step}: {name} is {said}, and by the rules {expected[0] if run else 'over'}"
            for known in filter(None, [step.get("then", {}).get(name)]):
                assert said == known, f"{step}: {name} is {said}, not {known}"
            if run and run.state == WAITING:
                line = [self._tasks[other] for m in run.machines for other in self.board.line(m)]
                assert facts["machines"] and line, step

    def task(self, name: str) -> str:
        return self._tasks.setdefault(name, f"ServerTasks-{1000 * self._number + len(self._tasks) + 1}")

    def machine(self, name: str) -> str:
        return self._machines.setdefault(name, f"Machines-{1000 * self._number + len(self._machines) + 1}")

    # The verbs

    def _put(self, name: str, step: Mapping[str, Any]) -> None:
        parent = step.get("on_behalf_of")
        body = {
            "machines": [self.machine(machine) for machine in step["machines"]], "priority": step.get("priority", 0),
            "parked": step.get("parked", False), **({"on_behalf_of": self.task(parent)} if parent else {}),
        }  # fmt: skip
        status, answer = self._gate.call("PUT", f"/api/waits/{self.task(name)}", body, role="step")
        assert status in (200, 201), answer
        if parent and parent in self.board.runs and name not in self.board.runs:
            self.board = self.board.with_run(parent, _in_family(self.board.runs[parent], parent))
        run = Run(tuple(step["machines"]), family=parent or "", is_parked=step.get("parked", False))
        self.board = model.join(self.board, name, run, step.get("priority", 0))

    def _get(self, name: str, step: object) -> None:
        self._gate.call("GET", f"/api/waits/{self.task(name)}", role="step")
        self.board = model.poll(self.board, name)

    def _delete(self, name: str, step: object) -> None:
        run = self.board.runs.get(name)
        _, answer = self._gate.call("DELETE", f"/api/waits/{self.task(name)}", role="step")
        expected = ("nothing", "released") if not run else ("left",) if run.state == WAITING else ("released",)
        assert answer["outcome"] in expected, answer
        self.board = model.leave(self.board, name)

    def _force(self, name: str, step: object) -> None:
        body = {"reason": "scenario", "confirm": True}
        self._gate.call("POST", f"/api/waits/{self.task(name)}/force-release", body)
        self.board = model.end(self.board, name)

    def _prioritize(self, name: str, step: Mapping[str, Any]) -> None:
        body = {"reason": "scenario", "priority": step["to"]}
        self._gate.call("POST", f"/api/waits/{self.task(name)}/priority", body)
        self.board = model.prioritize(self.board, name, step["to"])

    def _reserve(self, name: str, step: object) -> None:
        self._gate.call("PUT", f"/api/machines/{self.machine(name)}/reservation", {"note": "scenario", "create": True})
        self.board = model.reserve(self.board, name)

    def _unreserve(self, name: str, step: object) -> None:
        self._gate.call("DELETE", f"/api/machines/{self.machine(name)}/reservation")
        self.board = model.unreserve(self.board, name)

    def _note(self, name: str, step: object) -> None:
        self._noted[name] = now_ms()

    def _ended(self, name: str, step: Mapping[str, Any]) -> None:
        at_ms = self._noted[step["at"]] if "at" in step else now_ms()
        occurred = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_ms / 1000)) + f".{int(at_ms) % 1000:03}Z"
        event = {"Id": f"Events-{round(now_ms() * 1000)}", "Category": "DeploymentSucceeded", "Occurred": occurred,
                 "RelatedDocumentIds": [self.task(name)]}  # fmt: skip
        status, answer = self._gate.call("POST", "/webhooks/octopus", {"Payload": {"Event": event}})
        assert status == 202, answer
        if "at" not in step:
            self._confirm(self.task(name), round(at_ms))
            self.board = model.end(self.board, name)

    @contextmanager
    def _live(self) -> Iterator[Live]:
        """The board as a worker has it."""
        client = connect(self._gate.store.url)
        try:
            yield Live(client, namespace=self._gate.cast.namespace, policy=Policy(has_key=True))
        finally:
            client.close()

    def _confirm(self, task: str, at_ms: int) -> None:
        """As the worker does that watches holders, once Octopus has told it that the task is over."""
        with self._live() as board:
            seen = board.place(task)
            if seen and seen.run.end_event:
                board.release(task, cause="reconciled", seen=seen, ended=TaskEnd("succeeded", at_ms))

    def _is_missed(self, name: str) -> bool:
        """Whether octowait has noticed that nothing is heard of it: a wait is over then, and a grant in doubt."""
        with self._live() as board:
            place = board.place(self.task(name))
        return place is not None and (place.run.in_doubt or place.state.value != self.board.runs[name].state)

    def _die(self, name: str, step: object) -> None:
        """All others show life meanwhile."""
        before, ends_at = self.board.runs[name].state, time.monotonic() + PATIENCE
        while not self._is_missed(name):
            assert time.monotonic() < ends_at, f"{name} is still {before}"
            for other, run in self.board.runs.items():
                if other != name and run.state == WAITING and not run.is_parked:
                    self._gate.call("GET", f"/api/waits/{self.task(other)}", role="step")
            time.sleep(0.1)  # between two looks at a fact, not instead of one
        self.board = model.expire(self.board, name, is_presumed=True)

    def _close(self, value: object, step: object) -> None:
        self._gate.call("POST", "/api/rebuild", {"reason": "scenario"})
        self.board = model.close(self.board)

    def _open(self, value: object, step: object) -> None:
        self._gate.open()
        self.board = model.reopen(self.board)

    def _crash(self, what: str, step: object) -> None:
        if what == "redis":
            self._gate.store.kill()
            self._gate.store.start()
            # Nobody is granted before the roll is called.
            assert not self.board.is_open or happens(self._gate.is_open)
        else:
            self._gate.webs[0].kill()
            self._gate.webs[0].start()
            self._gate.webs[0].await_ready()

    def _backup(self, value: object, step: object) -> None:
        self._kept = (self.board, self._gate.store.copy(f"backup-{self._number}"))

    def _back(self, value: object, step: object) -> None:
        assert self._kept
        board, copy = self._kept
        self._gate.store.kill()
        self._gate.store.go_back_to(copy)
        self._gate.store.start()
        self.board = model.close(board)


#: States of runs that are not on the board.
FINAL = ("released", "left", "expired", "timed_out", "refused", "ended", "known", "unknown")


def _in_family(run: Run, family: str) -> Run:
    return Run(run.machines, run.state, run.order, run.is_collected, run.is_parked, run.family or family, run.token)
