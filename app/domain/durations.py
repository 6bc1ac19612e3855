"""Durations and moments as text: the units of a deployment log, and UTC where nobody knows the reader's time zone."""

from __future__ import annotations

from datetime import UTC, datetime

#: A number of ms from which on it is a moment: as a duration it would be three years.
_MOMENTS_FROM = 100_000_000_000


def format_duration(milliseconds: int) -> str:
    """``45 s``, ``3 min``, ``2 h 5 min`` or ``3 d 4 h``: the two largest units that say something, to the nearest.

    What took 14:59.9 took 15 minutes; `pages.js` says the same of what goes on.
    """
    seconds = (max(0, milliseconds) + 500) // 1000
    if seconds < 60:
        return f"{seconds} s"
    minutes = (seconds + 30) // 60
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        hours, minutes = divmod(minutes, 60)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod((minutes + 30) // 60, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def format_moment(at_ms: int) -> str:
    """``2026-11-23 18:00:03``, in UTC; the number itself where it is no time that a calendar has."""
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return str(at_ms)


def format_ms(milliseconds: int) -> str:
    """A field whose name ends in ``_ms`` for people: a duration, or a moment in UTC."""
    is_moment = milliseconds >= _MOMENTS_FROM
    return f"{format_moment(milliseconds)} UTC" if is_moment else format_duration(milliseconds)
