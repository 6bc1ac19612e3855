"""The observation of runs: what Octopus tells of their starts, their ends and their machines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.coordination.board.base import BoardScripts, milliseconds, version_of
from app.coordination.encode import batch_member, compact_json, event_fields
from app.domain.events import Event
from app.domain.ids import distinct_ids
from app.domain.status import RunStatus
from app.store.errors import StoreError
from app.store.scripts import redis_errors


class ObservationVerbs(BoardScripts):
    """Applies events, and makes the machines of runs busy that work without a lease."""

    def deliver(self, event: Event, *, via: str = "webhook", confirm: bool = False) -> str:
        """Apply one event of Octopus.

        Args:
            confirm: Octopus can be asked before an end frees a machine that somebody waits for.
            via: Who brings it: ``webhook``, ``catch_up``, ``reconcile`` or ``rebuild``; all but the first are repairs.

        Returns:
            ``applied``, ``unresolved`` (applied, and its machines are to be found out), ``unconfirmed``: Octopus is to
            be asked whether it is so, ``ignored``, ``duplicate``, or
            ``unlinked``: only Octopus can say which task it is about, or ``implausible``: it says that it occurred more
            than a day from now; neither was remembered.

        Source: lua/deliver.lua.
        """
        fields, batch = compact_json(event_fields(event)), batch_member(event.batch)
        return self._word("deliver", event.key, fields, batch, via, self._delivery_policy(confirm), "")

    def deliver_as_one(self, events: Sequence[Event], *, via: str) -> list[str]:
        """As `deliver`, events of one task that follow one another, at least one, as one change.

        Between an end and the next start nobody is granted the machines of the task, which the next run is presumed to
        use until it is known which ones it does.

        Args:
            events: Each with its `task_id`.

        Source: lua/deliver.lua.
        """
        first, *others = events
        following = compact_json([(event.key, event_fields(event)) for event in others])
        policy = self._delivery_policy(confirm=False)
        words = self.script("deliver", first.key, compact_json(event_fields(first)), "", via, policy, following)
        return [str(word, "ascii") for word in words]

    def deliver_many(self, events: Sequence[Event], *, confirm: bool = False) -> list[str | StoreError]:
        """As `deliver`, brought by webhooks, for the first of the events, at least one, as many as one script applies;
        an error that is about one is its outcome.

        Raises:
            StoreError: as `redis_errors` says; of none is it known whether it was applied.

        Source: lua/deliver_many.lua.
        """
        given = [(event.key, event_fields(event), batch_member(event.batch)) for event in events]
        _, *words = self.script("deliver_many", compact_json(given), self._delivery_policy(confirm))
        return [self._outcome_of(event, word, confirm) for event, word in zip(events, words, strict=False)]

    def _outcome_of(self, event: Event, word: bytes, confirm: bool) -> str | StoreError:
        if word != b"failed":
            return str(word, "ascii")
        try:
            return self.deliver(event, confirm=confirm)
        except StoreError as error:
            return error

    def _delivery_policy(self, confirm: bool) -> str:
        """What ``lua/lib/deliveries.lua`` goes by, as JSON."""
        return compact_json({
            **self._presumption,
            "tolerance_ms": milliseconds(self.policy.clock_tolerance),
            "grace_ms": milliseconds(self.policy.abandoned_grace),
            "expect_ms": milliseconds(self.policy.expect_step),
            **({"paused_holds": True} if self.policy.paused_holds else {}),
            **({"confirm": True} if confirm else {}),
        })  # fmt: skip

    def observe(
        self, task_id: str, machines: Iterable[Mapping[str, str]], *, info: Mapping[str, Any], is_full: bool = True,
        expects_step: bool = False,
    ) -> str:  # fmt: skip
        """Make the machines of a started run busy (rule 8), or of one that works on after its wait was over.

        Args:
            machines: ``{"id": …, "name": …}`` each.
            is_full: They are all of its process there; the next run of that is presumed to use the same (rule 19).
            expects_step: A step or gate of ours comes first in its process, so it is about to ask.

        Returns:
            ``observed``; ``expected``: it holds nothing until `Policy.expect_step` is over; or ``late`` when it has
            ended, waits or holds a lease by now.

        Source: lua/observe.lua.
        """
        plan = {"is_full": is_full, "expects_step": expects_step, "expect_ms": milliseconds(self.policy.expect_step)}
        return self._word(
            "observe", task_id, compact_json(list(machines)), compact_json(dict(info)), self._paused_holds,
            compact_json(plan),
        )  # fmt: skip

    def presume(self, task_id: str, machine_ids: Iterable[str]) -> str:
        """Make machines busy that a run certainly uses, while it is not known whether it uses more.

        Returns:
            ``presumed``; ``known``: they are already; or ``late``: all its machines are known by now.

        Source: lua/presume.lua.
        """
        return self._word("presume", task_id, compact_json(distinct_ids(list(machine_ids))))

    def refuse_plan(self, task_id: str) -> str:
        """Octopus will never say which machines a run uses, or whether one works that has not come for its grant: leave
        it those no longer than `Policy.provisional`.

        Returns:
            ``noted``, or ``late`` when neither is so, or that has its end already.

        Source: lua/refuse_plan.lua.
        """
        return self._word("refuse_plan", task_id, milliseconds(self.policy.provisional))

    def check(self, seen: RunStatus, facts: Mapping[str, Any]) -> str:
        """Note what Octopus says of the task of a run that a step has joined.

        Args:
            facts: ``space``, ``project`` and ``deployment`` of the task, as far as they are known; ``wrong``, why the
                run is not what its step has said: its claim ends then, and its task is observed; ``is_missing``, there
                is no such task; ``is_queued``, it has not begun; ``unknown``, machines that are none.

        Returns:
            ``checked``, ``disproved``, ``refused`` for the task cap, or ``late``.

        Source: lua/check.lua.
        """
        return self._word("check", seen.task_id, version_of(seen), compact_json({**facts, **self._cap}))

    def name(self, task_id: str, info: Mapping[str, Any], machines: Iterable[Mapping[str, str]]) -> str:
        """Remember what people call the things of a run whose ids are known already: ``named`` or ``unknown``.

        Args:
            info: Those of `RunRequest.info` that have a name or version by now, with their ids.
            machines: ``{"id": …, "name": …}`` each.

        Source: lua/name.lua.
        """
        return self._word("name", task_id, compact_json(dict(info)), compact_json(list(machines)))

    def recover(self, task_id: str, *, paused: bool, parked: bool = False) -> str:
        """Make the machines of a run busy that is under way in Octopus, and was taken for a waiter here, or for ended.

        Only while the board is closed, and after every step that waits had time to show life.

        Args:
            parked: It is paused for octowait's own intervention.

        Returns:
            ``observed``, ``unresolved`` when its machines are to be found out, ``withdrawn`` when it was taken for
            granted and waits, ``kept`` or ``unknown``.

        Source: lua/recover.lua.
        """
        return self._word("recover", task_id, "parked" if parked else "paused" if paused else "")

    def note_cancelling(self, seen: RunStatus) -> None:
        """Remember since when Octopus tries to cancel the run's task. Source: lua/cancelling.lua."""
        self.script("cancelling", seen.task_id, version_of(seen))

    def last_webhook_ms(self) -> int | None:
        """When the last event came by webhook; None if none ever did."""
        with redis_errors():
            at_ms: Any = self._client.hget(self._keys.counters, "event_at")
        return int(at_ms) if at_ms else None
