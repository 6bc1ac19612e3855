"""Parts of sentences: counts that agree with their noun, and ends of sentences."""

from __future__ import annotations

#: What ends a sentence already; closing marks may stand behind it.
_ENDS = (".", "!", "?", "…", ":")


def several(count: int, one: str, many: str = "") -> str:
    """``1 run``, ``2 runs``, ``1,200 deliveries``: *many* where it is not *one* with an s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def clause(text: object) -> str:
    """*text*, which others wrote, for the inside or the end of a sentence: without the full stop of its own."""
    return str(text).rstrip().rstrip(".") or str(text).strip()


def sentence(text: object) -> str:
    """*text* with an end: a full stop, where it has none."""
    stripped = str(text).rstrip()
    return stripped if stripped.rstrip("')\"”").endswith(_ENDS) else f"{stripped}."
