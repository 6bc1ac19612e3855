"""Durations, predictions and their accuracy in Redis: how the learner stores them and estimates read them."""

from __future__ import annotations

from collections.abc import Iterable

#: Names of keys. Durations are a hash by kind of run, predictions a hash by wait, accuracy a hash of counts by week.
#: The version changes when durations do.
DURATIONS, VERSION, PREDICTIONS, ACCURACY = "past:durations", "past:version", "past:predictions", "past:accuracy"

#: Predictions that are kept of waits that go on.
MOST_PREDICTIONS = 20_000


def prediction_field(task_id: str, requested_at_ms: int) -> str:
    """The field of ``past:predictions`` that holds the prediction of a wait."""
    return f"{task_id.lower()} {requested_at_ms}"


def stored_durations(ended_ms: int, durations: Iterable[int]) -> str:
    """The value of a field of ``past:durations``; *durations* in ms, the newest first, *ended_ms* of that one."""
    return f"{ended_ms}:{','.join(map(str, durations))}"


def durations_of(stored: bytes | None) -> tuple[int, list[int]]:
    """When the newest of them ended, and the durations, the newest first; both in ms; ``(0, [])`` without any."""
    if not stored:
        return 0, []
    ended, _, durations = stored.decode().partition(":")
    return int(ended), [int(duration) for duration in durations.split(",")]
