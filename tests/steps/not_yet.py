"""What a language does not do yet. Both must become empty; pytest's ``--runxfail`` tries all the same."""

from __future__ import annotations

#: Languages whose scripts are still those of version 1: they pass no condition, and keep to the old words.
OLD: frozenset[str] = frozenset({"powershell"})

#: Conditions that a language of version 2 does not pass yet.
NOT_YET: dict[str, frozenset[str]] = {
    "bash": frozenset(),
    "powershell": frozenset(
        {"a_proxy_of_the_environment_that_is_none_is_said_without_its_value", "half_a_character_is_no_end_of_a_step"}
    ),
    "python": frozenset(),
}
