"""The names that a Lua script defines and uses, read without a parser: enough for the style of those in ``app``."""

from __future__ import annotations

import re

from app.store.script_text import SHARED

#: What the language and Redis give.
KEYWORDS = set(
    "and break do else elseif end false for function if in local nil not or repeat return then true until while".split()
)
GIVEN = set(
    "ARGV KEYS _G cjson error ipairs math next pairs pcall rawget redis string table tonumber tostring type"
    " unpack".split()
)

#: A local, several of them, or a function.
_LOCALS = r"local (?!function)(\w+(?:, \w+)*)|local function (\w+)"


def code_of(text: str) -> str:
    """*text* without comments and without what is in its strings."""
    return re.sub(r'--[^\n]*|"(?:\\.|[^"\\\n])*"', lambda found: '""' if found[0][0] == '"' else "", text)


def defined(text: str) -> set[str]:
    """The locals of the outermost level, which what stands behind can use."""
    return _names(re.findall(rf"^(?:{_LOCALS})", code_of(text), re.MULTILINE))


def used(text: str) -> set[str]:
    """The names that are not defined anywhere in *text* itself; fields are none."""
    code = code_of(text)
    names, depth = set(), 0
    for token in re.finditer(r"[{}]|(?<![.:\w])[A-Za-z_]\w*(?P<assigned> =(?!=))?", code):
        if token[0] in "{}":
            depth += 1 if token[0] == "{" else -1
        elif not (token["assigned"] and depth):
            names.add(token[0].removesuffix(" ="))
    return names - inner(text) - KEYWORDS - GIVEN


def inner(text: str) -> set[str]:
    """The names that are defined anywhere in *text*: locals, parameters, and those of loops."""
    code = code_of(text)
    own = re.findall(rf"\b(?:{_LOCALS})", code)
    return _names(own + re.findall(r"\bfor (\w.*?) in |\bfor (\w+) =|\bfunction ?[\w.]*\((.*?)\)", code))


def _names(groups: list[tuple[str, ...]]) -> set[str]:
    return {name for group in groups for names in group for name in names.split(", ") if name}


def with_values(text: str, before: str, after: str) -> str:
    """The *text* of a script as it is loaded, with other values of some variables: "A, B = 1, 2" *before* and *after*.

    Raises: LookupError: they are not there.
    """
    names, old = before.split(" = ")
    pattern = ", ".join(rf"({re.escape(SHARED)}\.{name}|\b{name})" for name in names.split(", "))
    replaced, times = re.subn(
        rf"{pattern} = {re.escape(old)}$", lambda named: f"{', '.join(named.groups())} = {after.split(' = ')[1]}", text,
        flags=re.MULTILINE,
    )  # fmt: skip
    if not times:
        raise LookupError(before)
    return replaced
