"""The text of a Lua script, put together of its own file and the parts of its room's library that it needs.

A script is ``app/<room>/lua/<verb>.lua``, and the parts are in ``lua/lib/``. The line ``-- needs: a, b`` in the header
of a script, or of a part, names the parts that it builds on.

Most of the library is there to end what is due, which most calls have nothing to do with. So there are two texts of a
script that needs the part `DUE`: one with it, which is enough while nothing is due, and one with `EXPIRY` instead.

Redis runs the whole text with every call, so that what a library defines takes as long as what a short script does.
Three things make it less. Functions that nobody calls are left out. Each part is a function of its own, which hides its
private names. And what a part shares with those behind it are no variables but fields of a table: each variable that a
function uses from outside is looked for, when Lua makes the function, among all that are open around it, one after the
other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

#: Where the rooms are.
APP = Path(__file__).parent.parent

#: A part that makes a script answer {"due"}, with nothing changed, where it takes the other one to go on.
DUE, EXPIRY = "due", "expiry"

#: The part that stands before everything else in each script of the board, and closes the board where its data are old.
WITNESS = "witness"

#: The part in front of each script that writes keys beside those of the board.
BESIDE = "beside"

#: The part with work that a script may leave; a script of the board says behind its answer whether it has.
WORK = "work"

#: The part with the names that nearly all others use.
KEYS = "keys"

#: The table of what parts share.
SHARED = "L"

#: What is no code: strings and comments.
_NO_CODE = r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|--[^\n]*"

#: That, a brace, or a name that is no field, with whether it is given a value.
_TOKEN = re.compile(rf"{_NO_CODE}|[{{}}]|(?<![\w:])(?<!(?<!\.)\.)(?P<name>[A-Za-z_]\w*)(?P<assigned>(?= =(?!=)))?")

#: Names of variables that a text defines for itself.
_OWN_NAMES = re.compile(
    r"\blocal (?!function\b)(\w+(?:, \w+)*)|\blocal function (\w+)\(([\w, ]*)|\bfunction ?[\w.]*\(([\w, ]*)|"
    r"\bfor (\w[\w, ]*?) (?:in|=) "
)

#: A statement of the outermost level begins: with a name, or a word of the language that does not go on with one.
_STATEMENT = re.compile(r"^(?!(?:end|else|elseif|until)\b)(?=[A-Za-z_])", re.MULTILINE)

_FUNCTION = re.compile(r"local function (\w+)\(")

#: A statement that does nothing by itself.
_DEFINITION = re.compile(r"(?:local )?function |[\w.]+ = function\(")

#: Locals of the outermost level: a function, or some with or without a value.
_LOCAL = re.compile(r"^local (?:function (?P<function>\w+)(?=\()|(?P<names>\w+(?:, \w+)*)(?P<value> =)?)", re.MULTILINE)


def needs(text: str) -> list[str]:
    """The parts that a script or a part says it builds on, e.g. ``["keys", "runs"]``."""
    line = re.search(r"^-- needs: (.+)$", text, re.MULTILINE)
    return line[1].split(", ") if line else []


@cache
def source(
    room: str, verb: str, *, with_expiry: bool = False, witnessed: bool = False, is_beside: bool = False
) -> str:  # fmt: skip
    """The text of a script, ready to be loaded.

    Args:
        with_expiry: With `EXPIRY` in the place of `DUE`.
        witnessed: With `WITNESS` before all else; then it answers {its own answer, epoch, number, word of the last
            change, 1 where it has left work, µs}, but for {"due"}, {"clock"} and {"newer"}.
        is_beside: With `BESIDE` before all else.
    """
    return assembled(*parts_of(room, verb, with_expiry=with_expiry, witnessed=witnessed, is_beside=is_beside))


def parts_of(
    room: str, verb: str, *, with_expiry: bool = False, witnessed: bool = False, is_beside: bool = False
) -> tuple[dict[str, str], str]:
    """The parts that a script needs and those that they need, as they are written, by name: each once, behind its own.
    Beside them the script itself.

    Args:
        with_expiry, witnessed, is_beside: As for `source`.
    """
    parts: dict[str, str] = {}

    def read(name: str, room: str = room) -> str:
        text = (APP / room / "lua" / f"{name}.lua").read_text()
        for part in needs(text):
            chosen = EXPIRY if with_expiry and part == DUE else part
            if chosen not in parts:
                needed = read(f"lib/{chosen}", room)
                parts[chosen] = needed
        return text

    if is_beside:
        parts[BESIDE] = read(f"lib/{BESIDE}", "coordination")
    if witnessed:
        parts[WITNESS] = read(f"lib/{WITNESS}")
    own = read(verb)
    if witnessed:
        left = "has_left and 1 or 0" if WORK in parts else "0"
        behind = f"EPOCH or '', NUMBER, LAST_WORD or '', {left}, math.floor(1e6 * (running_clock() - BEGAN))"
        own = f"local function verb()\n{own}end\nreturn {{ verb(), {behind} }}\n"
    else:
        # With locals of its own: one function, or the main chunk, has 200 at most.
        own = f"return (function()\n{own}end)()\n"
    return parts, own


def assembled(parts: Mapping[str, str], own: str) -> str:
    """All *parts* in front of what is the script's *own*; those behind `KEYS` enclosed, without what nobody calls."""
    names = list(parts)
    outer = names[: names.index(KEYS) + 1] if KEYS in parts else names
    inner = _pruned({name: parts[name] for name in names[len(outer) :]}, own)
    if not inner:
        return "".join((*parts.values(), own))
    used_behind, texts, shared = _free(own), [own], frozenset[str]()
    for text in reversed(inner):
        enclosed, its = _enclosed(text, used_behind)
        texts.append(enclosed)
        shared |= its
        used_behind = used_behind | _free(text)
    table = f"local {SHARED} = {{ {', '.join(f'{name} = 0' for name in sorted(shared))} }}\n"
    for text in texts:
        if names_of_both := shared & _inner_names(text):
            raise ValueError(f"{', '.join(sorted(names_of_both))}: a part shares that, expected no other such name")
    body = (_through_table(text, shared & _words(text)) for text in reversed(texts))
    return "".join((*(parts[name] for name in outer), "return (function()\n", table, *body, "end)()\n"))


@cache
def _through_table(text: str, names: frozenset[str]) -> str:
    """*text* with each of the variables *names* as a field of `SHARED`."""
    depth = 0

    def field(token: re.Match[str]) -> str:
        nonlocal depth
        depth += (token[0] == "{") - (token[0] == "}")
        is_key = depth > 0 and token["assigned"] is not None
        return f"{SHARED}.{token[0]}" if token["name"] in names and not is_key else token[0]

    return _TOKEN.sub(field, text)


@cache
def _inner_names(text: str) -> frozenset[str]:
    """The names that *text* gives to variables of its own: locals, parameters, and those of loops."""
    definitions = _OWN_NAMES.findall(re.sub(_NO_CODE, "", text))
    return frozenset(re.findall(r"\w+", " ".join(" ".join(groups) for groups in definitions)))


def _free(text: str) -> frozenset[str]:
    """The names in *text* that others have to define."""
    return _words(text) - _inner_names(text)


def _pruned(parts: Mapping[str, str], own: str) -> list[str]:
    """The *parts* without functions of which neither *own* nor what is done anyway makes use."""
    statements = [[*_statements(text)] for text in parts.values()]
    functions = {name[1]: text for part in statements for text in part if (name := _FUNCTION.match(text))}
    used = set(_words(own)).union(*(_words(text) for part in statements for text in part if not _FUNCTION.match(text)))
    unseen = used & functions.keys()
    while unseen:
        new = _words(functions[unseen.pop()]) - used
        used |= new
        unseen |= new & functions.keys()
    return ["".join(text for text in part if _is_used(text, used)) for part in statements]


def _is_used(statement: str, names: Iterable[str]) -> bool:
    function = _FUNCTION.match(statement)
    return function is None or function[1] in names


@cache
def _statements(text: str) -> Sequence[str]:
    """The statements of the outermost level, without comments."""
    code = re.sub(r"^ *--.*\n", "", text, flags=re.MULTILINE)
    starts = [match.start() for match in _STATEMENT.finditer(code)]
    return tuple(code[start:end] for start, end in zip(starts, [*starts[1:], len(code)], strict=True))


@cache
def _words(text: str) -> frozenset[str]:
    """All that may be names in *text*."""
    return frozenset(re.findall(r"[A-Za-z_]\w*", re.sub(_NO_CODE, "", text)))


def _enclosed(text: str, used_behind: frozenset[str]) -> tuple[str, set[str]]:
    """A part as a function that is called at once, but where it may end the script; and those of its locals that are
    *used_behind* it, with all of their statements, which are no locals any more.
    """
    shared: set[str] = set()

    def share(local: re.Match[str]) -> str:
        names = (local["function"] or local["names"]).split(", ")
        if not used_behind.intersection(names):
            return local[0]
        shared.update(names)
        if local["function"]:
            return f"function {local['function']}"
        return f"{local['names']} =" if local["value"] else f"{local['names']} = nil"

    inside = _LOCAL.sub(share, text)
    if any("return" in _words(statement) for statement in _statements(text) if not _DEFINITION.match(statement)):
        return inside, shared
    return f";(function()\n{inside}end)()\n", shared
