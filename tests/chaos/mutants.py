"""octowait broken on purpose: what is replaced in its code, and which check finds it.

Each is a set of replacements of whole texts, so that a mutant survives when lines move; files are named by the end of
their path, so that it survives when packages do. A text that is there no more, or more than once, fails
`tests/chaos/test_mutants.py`: then its rule is written otherwise now, and the mutant has to be.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.processes import ROOT

#: What octowait is made of.
PARTS = ("app", "workers", "steps")


@dataclass(frozen=True)
class Edit:
    """One replacement. *file* is the end of a path, e.g. ``lua/lib/lines.lua``."""

    file: str
    old: str
    new: str

    def find(self, tree: Path) -> Path:
        """Raises: LookupError: no file, or several, end so, or the text is not there exactly once."""
        found = [path for part in PARTS for path in (tree / part).rglob(Path(self.file).name)
                 if str(path).endswith("/" + self.file)]  # fmt: skip
        if len(found) != 1:
            raise LookupError(f"{self.file}: {len(found)} files end so, expected one")
        times = found[0].read_text().count(self.old)
        if times != 1:
            raise LookupError(f"{self.file}: {self.old!r} is there {times} times, expected once")
        return found[0]

    def apply(self, tree: Path) -> None:
        path = self.find(tree)
        path.write_text(path.read_text().replace(self.old, self.new))


@dataclass(frozen=True)
class Mutant:
    """*profile* is the workload that finds it, *caught_by* the checks of which one has to."""

    name: str
    profile: str
    caught_by: tuple[str, ...]
    edits: tuple[Edit, ...]


def copy_tree(where: Path) -> Path:
    """The code, to be broken."""
    tree = where / "tree"
    for part in PARTS:
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    return tree


def _one(name: str, profile: str, caught_by: tuple[str, ...], file: str, old: str, new: str) -> Mutant:
    return Mutant(name, profile, caught_by, (Edit(file, old, new),))


LINES, GRANTS, ENDS = "lua/lib/lines.lua", "lua/lib/grants.lua", "lua/lib/ends.lua"

MUTANTS = (
    _one("a machine that has a lease counts as free", "plain", ("exclusion",), LINES,
         'return call("ZLEXCOUNT", HOLDERS, from, to) == 0', 'return call("ZLEXCOUNT", HOLDERS, from, to) >= 0'),
    _one("a grant makes its first machine busy only", "plain", ("exclusion", "clients' exclusion"), GRANTS,
         'hold("lease", run, run.machines)', 'hold("lease", run, { run.machines[1] })'),
    _one("the first machine decides for all", "plain", ("exclusion", "order"), LINES,
         "function may_start(run)\n    local ids = lower_ids(run.machines)",
         "function may_start(run)\n    local ids = { lower(run.machines[1]) }"),
    Mutant("who came last is first", "plain", ("order",), (
        Edit(LINES, 'local first = call("ZRANGEBYLEX", LINES, from, to,',
             'local first = call("ZREVRANGEBYLEX", LINES, to, from,'),
        Edit(LINES, "    local from = span(machine)\n"
             '    return call("ZLEXCOUNT", LINES, from, "(" .. line_member(run, machine)) == 0',
             "    local _, to = span(machine)\n"
             '    return call("ZLEXCOUNT", LINES, "(" .. line_member(run, machine), to) == 0'),
    )),
    _one("being first in one line is enough", "plain", ("order",), LINES,
         "if not (is_next(run, m) and is_free(m))", "if not is_free(m)"),
    _one("a higher priority comes later", "plain", ("order",), "lua/join.lua",
         "5000000000 - ask.priority", "5000000000 + ask.priority"),
    _one("prioritizing takes the arrival away", "operator", ("order",), "lua/prioritize.lua",
         '5000000000 - run.priority) .. arrival', '5000000000 - run.priority) .. string.reverse(arrival)'),
    _one("an end grants nobody", "plain", ("grant on release",), ENDS,
         "    grant_heads(machines, delayed_since)\n    if run.family and was", "    if run.family and was"),
    _one("an end grants at its first machine only", "plain", ("grant on release",), ENDS,
         "    grant_heads(machines, delayed_since)\n    if run.family and was",
         "    grant_heads({ machines[1] })\n    if run.family and was"),
    _one("nobody is woken", "waking", ("hand-off",), "lua/lib/runs.lua",
         'call("PUBLISH", WAKES, lower(run.id))', 'call("PUBLISH", WAKES, "")'),
    _one("a token is given out twice", "plain", ("tokens",), GRANTS,
         'run.token = math.max(TOKEN + 1, NOW)',
         'run.token = 1000 + call("ZCARD", HOLDERS) % 2'),
    _one("tokens begin anew after a loss", "lost", ("tokens",), GRANTS,
         "math.max(TOKEN + 1, NOW)", "math.max(TOKEN + 1, 1)"),
    _one("what a process has seen is ignored", "older",
         ("exclusion", "clients' exclusion", "tokens", "one record each"), "lua/lib/witness.lua",
         "\nlook_at_witnesses()\n", "\n"),
    _one("a sign of life is not noted", "lasting", ("life",), LINES,
         'call("ZADD", DEADLINES, NOW + run.ttl_ms, "life\\0" .. run.id)\n    elseif',
         'call("ZADD", DEADLINES, run.requested_at_ms + run.ttl_ms, "life\\0" .. run.id)\n    elseif'),
    _one("a collected grant counts as uncollected", "lasting", ("collected", "lease kept"), LINES,
         'call("ZREM", DEADLINES, "provisional\\0" .. run.id, "life\\0" .. run.id)\n        save_run(run)',
         "save_run(run)"),
    _one("a dead waiter stays", "dying", ("the dead leave",), "lua/lib/expiry.lua",
         "if not may_have_been_kept_away(run)", 'if run.state == "granted" and not may_have_been_kept_away(run)'),
    _one("a grant that nobody collects stays", "unasked", ("the dead leave",), "lua/lib/expiry.lua",
         "if not may_have_been_kept_away(run)", 'if run.state == "waiting" and not may_have_been_kept_away(run)'),
    _one("a grant is taken back while its task works", "dying", ("collected",), "lua/lib/expiry.lua",
         'if run.state ~= "granted" or not run.has_key then', "if true then"),
    _one("the board opens before all machines are known", "rebuilt", ("rebuilt",), "workers/rebuild.py",
         "    unknown = _resolve(context, octopus, running, closed_ms or 0)\n", "    unknown: list[str] = []\n"),
    _one("a closed board grants", "lost", ("closed",), LINES, "    return IS_OPEN\n", "    return true\n"),
    _one("an empty Redis is an open board", "lost", ("clients' exclusion",), "lua/lib/expiry.lua",
         "        IS_OPEN = false\n", '        IS_OPEN = call("HEXISTS", COUNTERS, "order") == 0 or true\n'),
    _one("the end of an earlier run ends this one", "again", ("lease kept",), "lua/lib/deliveries.lua",
         'return earliest <= run.asked_at_ms + policy.tolerance_ms and "earlier" or "this"', 'return "this"'),
    _one("a family takes what a stranger holds", "family", ("exclusion",), LINES,
         "return families_at[machine] == run.family", "return families_at[machine]"),
    _one("a child waits for its own parent", "family", ("grant on release",), LINES,
         "    if not run.family then\n        return false\n", "    if run then\n        return false\n"),
    _one("a parent's end frees what its child uses", "family", ("lease kept", "clients' exclusion", "exclusion"), ENDS,
         'let_go("lease", run, machines)\n',
         'for _, m in ipairs(lower_ids(machines)) do\n'
         '                call("ZREMRANGEBYLEX", HOLDERS, span(m))\n            end\n'),
    _one("a reserved machine is granted", "operator", ("reservation",), "lua/reserve.lua",
         'call("ZADD", HOLDERS, 0, machine .. "\\0reservation\\0")\n', ""),
    _one("a reservation never ends", "operator", ("everything ends",), "lua/lib/expiry.lua",
         'end_reservation(id, "until")\n', ""),
    Mutant("a parked run is let go before its turn", "parked", ("parked",), (
        Edit("lua/join.lua", 'if ask.timeout_ms then\n',
             'if run.parked then\n    call("ZADD", RESUMES, NOW, run.id)\nend\nif ask.timeout_ms then\n'),
        Edit("workers/resume.py", 'return "Proceed" if place.is_granted else "Abort"', 'return "Proceed"'),
    )),
    _one("a parked run is never let go", "parked", ("everything ends",), "workers/resume.py",
         "    _submit(context, octopus, place, interruption)\n", ""),
    _one("presumed machines count as free", "observed", ("provisional",), "lua/lib/plans.lua",
         'hold("provisional", run, new)\n', ""),
    _one("a presumption ends before the truth is known", "observed", ("provisional",), "lua/lib/plans.lua",
         '    save_run(run)\n    record("presumed", run, presumed, cause, ',
         '    let_go("provisional", run, { presumed[#presumed] })\n'
         '    save_run(run)\n    record("presumed", run, presumed, cause, '),
    _one("an observed run's machines count as free", "observed", ("observed",), ENDS,
         'hold("observed", run, run.machines or {})\n', ""),
    _one("a run that ended in Octopus goes on here", "silent", ("everything ends",), "workers/reconcile.py",
         "    if task.is_completed:\n", "    if task.is_completed and task.state == 'Canceled':\n"),
    _one("a change leaves no record", "plain", ("everything ends", "exclusion", "one record each"), ENDS,
         "    record(state, run, machines, cause, detail)\n", ""),
    _one("a change is recorded twice", "plain", ("one record each",), "lua/join.lua",
         'record("joined", run, run.machines, run.after, {\n',
         'record("joined", run)\nrecord("joined", run, run.machines, run.after, {\n'),
    _one("a release is told of and not done", "plain", ("one record each", "everything ends"), "lua/release.lua",
         'finish(run, was == "granted" and "released" or "ended", cause, detail)\n', ""),
    _one("a key stays when all is over", "plain", ("everything ends",), LINES,
         '    call("SREM", BLOCKING, run.id)\n', ""),
    _one("a late release ends the next run", "late", ("lease kept", "late"), "lua/release.lua",
         'if ARGV[7] ~= "" and not (run and run.claim == ARGV[7]) then', "if false then"),
    _one("a late request takes a place", "later", ("late",),
         "lua/lib/claims.lua", "    return at and NOW - at < CLAIM_KEPT_MS\n", "    return false\n"),
    _one("a step is told of fewer machines than it asked for", "plain", ("all or none",), "lua/lib/view.lua",
         "for at, machine in ipairs(shown) do", "for at, machine in ipairs({ shown[1] }) do"),
)  # fmt: skip
