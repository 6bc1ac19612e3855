"""What the steps must stand, one function a condition, and the same for every language.

Each names the rule it proves: a number of the twenty rules in steps/parts/README.md, or "claims" for the contract with
the server. `test_conditions` runs them; `not_yet` says which a language does not pass yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from conditions.world import World

LANGUAGES = ("bash", "powershell", "python")


@dataclass(frozen=True)
class Condition:
    name: str
    rule: int | str
    languages: tuple[str, ...]
    act: Callable[[World], None]


CONDITIONS: list[Condition] = []


def condition(
    rule: int | str, *, languages: tuple[str, ...] = LANGUAGES
) -> Callable[[Callable[[World], None]], Callable[[World], None]]:
    """Enter a function into the table."""

    def enter(act: Callable[[World], None]) -> Callable[[World], None]:
        CONDITIONS.append(Condition(act.__name__, rule, languages, act))
        return act

    return enter


from conditions import claims, contact, mistakes, network, safety, timing  # noqa: E402, F401 - they fill the table
