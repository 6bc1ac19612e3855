"""Durations as text, in the units that a deployment log uses."""

from __future__ import annotations


def format_duration(milliseconds: int) -> str:
    """``45 s``, ``3 min``, ``2 h 5 min`` or ``3 d 4 h``: the two largest units that say something."""
    seconds = max(0, milliseconds) // 1000
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"
