"""The task queue: first in, first out over all kinds of tasks, within the task cap; and how tasks end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.simulator.activity import ABANDONED, CANCELLED, TIMED_OUT, Activity, Stopped
from tests.simulator.clock import Clock, Timers
from tests.simulator.events import EventLog
from tests.simulator.model import COMPLETED, Invalid, Store, Task, User

log = logging.getLogger("simulator")

#: How a stopped activity ends its task.
_ENDS = {CANCELLED: ("Canceled", "The task was canceled."), TIMED_OUT: ("TimedOut", "The task timed out.")}


class Engine:
    """Starts queued tasks while there are slots; everything happens under the store's lock.

    Args:
        cap: Tasks that may be active at once; a parent that waits for its child is not counted.
        look_seconds: The server looks at its queue this often, before the clock's speed; 0: at every change.
        cancel_seconds: How long a task stays Cancelling after its scripts were killed, before the clock's speed.
        activity_of: What a task does when it starts.
    """

    def __init__(
        self, store: Store, events: EventLog, clock: Clock, timers: Timers, *, cap: int, look_seconds: float,
        cancel_seconds: float, activity_of: Callable[[Task], Activity],
    ) -> None:  # fmt: skip
        self.cap = cap
        #: Notified when the state of any task has changed.
        self.changed = threading.Condition(store.lock)
        self.queue: list[Task] = []
        self.active: list[Task] = []
        #: The server is not there: nothing starts.
        self.is_away = False
        #: The node that tasks run on; another one after each restart.
        self.node = 1
        #: Why a task may not start (it then fails without having started), or nothing.
        self.objection: Callable[[Task], str] = lambda task: ""
        #: Called with each task that has ended.
        self.on_end: list[Callable[[Task], None]] = []
        self._events = events
        self._timers = timers
        self._activity_of = activity_of
        self._sequence = 0
        self._look_pause = clock.real(look_seconds)
        self._cancel_pause = clock.real(cancel_seconds)
        self._will_look = False

    def enqueue(self, task: Task, place: int | None = None) -> None:
        """Put it at the end of the queue, or at *place*; before its ``queue_ms`` it is not started, after
        ``expires_ms`` never."""
        with self.changed:
            self._sequence += 1
            task.sequence, task.state = self._sequence, "Queued"
            self.queue.insert(len(self.queue) if place is None else place, task)
            for moment in filter(None, (task.queue_ms, task.expires_ms)):
                if moment > Clock.now_ms():
                    self._timers.after((moment - Clock.now_ms()) / 1000 + 0.01, self._look)
            self._touch(task)

    def pause(self, task: Task) -> None:
        """Free the slot of an active task that waits for a person."""
        with self.changed:
            assert task.activity
            task.activity.gate.clear()
            task.runs[-1].pauses.append([Clock.now_ms(), None])
            self.active.remove(task)
            task.state = "Queued"
            self._touch(task)

    @contextmanager
    def without_slot(self, task: Task) -> Iterator[None]:
        """The task stays Executing and is not counted, as a parent that waits for its child."""
        with self.changed:
            task.counts = False
            self._touch(task)
        try:
            yield
        finally:
            with self.changed:
                task.counts = True

    def cancel(self, task: Task, user: User | None) -> None:
        """Kill what executes, which then goes through Cancelling; what is queued or paused is Canceled at once.

        Raises:
            Invalid: it has ended already.
        """
        with self.changed:
            _must_be_open(task)
            task.canceled_by = user
            if task.activity:
                task.activity.stop(CANCELLED)
            if task.state == "Executing":
                task.state = "Cancelling"
                self._touch(task)
            elif task.state == "Queued":
                self._end(task, *_ENDS[CANCELLED])

    def go_away(self, *, cancels: bool) -> None:
        """The server stops.

        Args:
            cancels: As self-hosted nodes: what is active is cancelled by `come_back`. Else, as in the cloud, it waits
                Queued at the place where it was, and goes on then; only a script that runs runs on meanwhile. Tasks
                of the system, and those that wait for a person inside a step, are cancelled at once.
        """
        with self.changed:
            self.is_away = True
            for task in list(self.active):
                if task.deployment is None or task.pending:
                    self.cancel(task, None)
                elif not cancels and task.state == "Executing":
                    self._rest(task)

    def come_back(self, *, cancels: bool) -> None:
        """The server is there again, as another node."""
        with self.changed:
            self.is_away, self.node = False, self.node + 1
            for task in list(self.active) if cancels else ():
                if task.state == "Executing":
                    self.cancel(task, None)
            self._look()
            self.changed.notify_all()

    def approve(self, task: Task, *, is_approved: bool) -> None:
        """Answer the approval that *task* waits for; a rejection ends it. Raises: Invalid."""
        with self.changed:
            if not task.awaits_approval or task.is_completed:
                raise Invalid(f"{task.id} waits for no approval.")
            task.awaits_approval = False
            if is_approved:
                self._touch(task)
            else:
                self._end(task, "Failed", "The change request was rejected.")

    def _rest(self, task: Task) -> None:
        assert task.activity
        task.activity.awake.clear()
        self.active.remove(task)
        self.queue.insert(sum(one.is_resting for one in self.queue), task)
        task.state, task.is_resting = "Queued", True
        self._touch(task)

    def abandon(self, task: Task) -> None:
        """Canceled at once, while the script or the work of the moment goes on to its own end. Raises: Invalid."""
        with self.changed:
            _must_be_open(task)
            if task.activity:
                task.activity.stop(ABANDONED)
            if task.runs:
                task.runs[-1].is_abandoned = True
            self._end(task, "Canceled", "The task was abandoned.")

    def time_out(self, task: Task) -> None:
        """End it as TimedOut, which no event tells. Raises: Invalid."""
        with self.changed:
            _must_be_open(task)
            if task.activity:
                task.activity.stop(TIMED_OUT)
            if task.state == "Queued":
                self._end(task, *_ENDS[TIMED_OUT])

    def set_cap(self, cap: int) -> None:
        """What runs above a smaller one goes on."""
        with self.changed:
            self.cap = cap
            self._look()

    def _execute(self, task: Task, activity: Activity) -> None:
        try:
            error = activity.execute()
            activity.wait(activity.awake)
        except Stopped:
            error = "stopped"
            if activity.stopped == CANCELLED:
                activity.outlive(self._cancel_pause)
        except Exception as unforeseen:
            log.exception("%s failed in the simulator", task.id)
            error = f"The simulator failed: {unforeseen}"
        with self.changed:
            # A paused task is ended by who cancels it, and an abandoned one outlived; it may even run again by now.
            if task.is_completed or task.activity is not activity:
                return
            state, error = _ENDS.get(activity.stopped or "", ("Failed" if error else "Success", error))
            self._end(task, state, error)

    def _end(self, task: Task, state: str, error: str) -> None:
        now = Clock.now_ms()
        for tasks in (self.queue, self.active):
            if task in tasks:
                tasks.remove(task)
        task.state, task.completed_ms, task.error = state, now, "" if state == "Success" else error
        for interruption in task.interruptions:
            interruption.is_pending = False
        if task.runs:
            run = task.runs[-1]
            run.state, run.ended_ms = state, now
            run.pauses = [[start, end or now] for start, end in run.pauses]
        if task.log:
            task.log.end({"Success": "Success", "Failed": "Failed"}.get(state, "Canceled"))
        self._tell_of_end(task)
        task.done.set()
        for call in self.on_end:
            call(task)
        self._touch(task)

    def _tell_of_end(self, task: Task) -> None:
        if task.state == "Canceled":
            # Octopus has no event "deployment canceled".
            self._events.of_task("TaskCanceled", task, task.canceled_by, "Canceled")
        elif task.deployment and task.state in ("Success", "Failed"):
            verb = "succeeded" if task.state == "Success" else "failed"
            self._events.of_deployment(task.deployment.word + verb.capitalize(), task, None, verb)

    def _touch(self, task: Task) -> None:
        task.updated_ms = Clock.now_ms()
        self.changed.notify_all()
        if not self._look_pause:
            self._look()
        elif not self._will_look:
            self._will_look = True
            self._timers.after(self._look_pause, self._look)

    def _look(self) -> None:
        with self.changed:
            self._will_look = False
            if self.is_away:
                return
            now = Clock.now_ms()
            for late in [task for task in self.queue if task.expires_ms and task.expires_ms <= now]:
                if late.start_ms is None:
                    self._end(late, *_ENDS[TIMED_OUT])
            while (task := self._next(now)) is not None:
                self._begin(task)

    def _next(self, now: int) -> Task | None:
        if sum(task.counts for task in self.active) >= self.cap:
            return None
        busy = {task.tag for task in self.active if task.tag}
        ready = (task for task in self.queue if task.queue_ms <= now and not task.awaits_approval)
        return next((task for task in ready if task.tag not in busy), None)

    def _begin(self, task: Task) -> None:
        self.queue.remove(task)
        if task.start_ms is None and (error := self.objection(task)):
            self._end(task, "Failed", error)
            return
        self.active.append(task)
        task.state, task.node = "Executing", f"node-{self.node}"
        if task.start_ms is None:
            self._start(task)
        elif task.is_resting:
            assert task.activity
            task.is_resting = False
            task.activity.awake.set()
        else:
            assert task.activity
            if task.runs[-1].pauses:
                task.runs[-1].pauses[-1][1] = Clock.now_ms()
            self._tell(task, "Resumed")
            task.activity.gate.set()
        self.changed.notify_all()

    def _start(self, task: Task) -> None:
        task.start_ms = Clock.now_ms()
        if task.runs:
            task.runs[-1].started_ms, task.runs[-1].state = task.start_ms, "Executing"
        task.activity = self._activity_of(task)
        self._tell(task, "Started")
        name = f"{task.id}#{len(task.runs)}"
        threading.Thread(target=self._execute, args=(task, task.activity), name=name, daemon=True).start()

    def _tell(self, task: Task, verb: str) -> None:
        if task.deployment and (verb != "Started" or task.deployment.project.tells_starts):
            self._events.of_deployment(task.deployment.word + verb, task, None, verb.lower())


def _must_be_open(task: Task) -> None:
    if task.state in COMPLETED:
        raise Invalid(f"{task.id} has ended already: it is {task.state}.")
