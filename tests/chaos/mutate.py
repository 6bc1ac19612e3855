"""``python -m tests.chaos.mutate [words…]``: break octowait on purpose, and see which check finds it."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, replace

from tests.chaos import experiment
from tests.chaos.expected import exempt
from tests.chaos.measurements import write
from tests.chaos.mutants import MUTANTS, Mutant, copy_tree
from tests.chaos.plan import make_plan
from tests.chaos.processes import ROOT
from tests.chaos.profiles import PROFILES
from tests.chaos.report import table

#: Tries with another seed, where luck decides whether a fault shows.
TRIES = 3


@dataclass(frozen=True)
class Caught:
    """How a mutant, or octowait itself, came out of its workload."""

    name: str
    profile: str
    checks: tuple[str, ...]
    seconds: float
    is_right: bool
    words: str = ""

    @property
    def row(self) -> tuple[str, ...]:
        verdict = ", ".join(self.checks) or "nothing"
        return (self.name, self.profile, verdict, f"{self.seconds:.0f}", "" if self.is_right else "NOT AS EXPECTED")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.mutate", description=__doc__)
    parser.add_argument("words", nargs="*", help="only mutants, or profiles, with one of these in their name")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="write the table into docs/reference/measurements.md")
    parser.add_argument("--sound-only", action="store_true", help="only octowait as it is, in every profile")
    asked = parser.parse_args()

    def is_wanted(name: str) -> bool:
        return not asked.words or any(word in name for word in asked.words)

    mutants = [m for m in MUTANTS if is_wanted(f"{m.name} ({m.profile})") and not asked.sound_only]
    # What finds something in octowait as it is finds nothing in a mutant.
    profiles = sorted({m.profile for m in mutants} or filter(is_wanted, PROFILES))
    rows = []
    for caught in [*(_sound(p, asked.seed) for p in profiles), *(_mutant(m, asked.seed) for m in mutants)]:
        rows.append(caught)
    print(table(("mutant", "workload", "caught by", "s", ""), [caught.row for caught in rows]))
    wrong = [caught for caught in rows if not caught.is_right]
    if asked.write and not wrong:
        words = [f"{len(mutants)} mutants, each caught; octowait as it is breaks nothing in the same workloads."]
        columns = ("mutant", "workload", "caught by", "s")
        write("mutants", "Mutants", "make chaos-mutants", words, (columns, [caught.row[:4] for caught in rows]))
    print(f"\n{sum(c.is_right for c in rows) - len(profiles)} of {len(mutants)} mutants caught, {len(wrong)} surprises")
    return bool(wrong)


def _sound(profile: str, seed: int) -> Caught:
    began = time.monotonic()
    checks, words = _run(profile, seed, None)
    return _said(Caught("(octowait as it is)", profile, checks, time.monotonic() - began, not checks, words))


def _mutant(mutant: Mutant, seed: int) -> Caught:
    began = time.monotonic()
    for turn in range(TRIES):
        checks, words = _run(mutant.profile, seed + turn, mutant)
        is_right = bool(set(checks) & set(mutant.caught_by))
        if is_right:
            break
    return _said(Caught(mutant.name, mutant.profile, checks, time.monotonic() - began, is_right, words))


def _said(caught: Caught) -> Caught:
    print("  ".join(caught.row), f"   [{caught.words[:160]}]" if caught.words else "", flush=True)
    return caught


def _run(name: str, seed: int, mutant: Mutant | None) -> tuple[tuple[str, ...], str]:
    """The checks that found something, most first, and the first thing that was found."""
    profile = PROFILES[name]
    with experiment.workplace() as where:
        tree = copy_tree(where) if mutant else ROOT
        for edit in mutant.edits if mutant else ():
            edit.apply(tree)
        setup = replace(profile.setup, tree=tree, exempt=exempt())
        outcome = experiment.run(make_plan(seed, profile.shape), setup, where)
    found = outcome.verdict.by_check
    wanted = mutant.caught_by if mutant else ()
    first = next((str(v) for v in outcome.verdict.violations if v.check in wanted or not wanted), "")
    return tuple(name for name, _ in found.most_common()), first


if __name__ == "__main__":
    sys.exit(main())
