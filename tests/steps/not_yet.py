"""What a language does not do yet. Both must become empty; pytest's ``--runxfail`` tries all the same."""

from __future__ import annotations

#: Languages whose scripts are still those of version 1: they pass no condition, and keep to the old words.
OLD: frozenset[str] = frozenset()

#: Conditions that a language of version 2 does not pass yet.
NOT_YET: dict[str, frozenset[str]] = {"bash": frozenset(), "powershell": frozenset(), "python": frozenset()}
