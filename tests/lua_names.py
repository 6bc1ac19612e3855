"""The names that a Lua script defines and uses, read without a parser: enough for the style of those in ``app``."""

from __future__ import annotations

import re

#: What the language and Redis give.
KEYWORDS = set(
    "and break do else elseif end false for function if in local nil not or repeat return then true until while".split()
)
GIVEN = set(
    "ARGV KEYS cjson error ipairs math next pairs pcall redis string table tonumber tostring type unpack".split()
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
    own = re.findall(rf"\b(?:{_LOCALS})", code) + re.findall(
        r"\bfor (\w.*?) in |\bfor (\w+) =|\bfunction ?\w*\((.*?)\)", code
    )
    names, depth = set(), 0
    for token in re.finditer(r"[{}]|(?<![.:\w])[A-Za-z_]\w*(?P<assigned> =(?!=))?", code):
        if token[0] in "{}":
            depth += 1 if token[0] == "{" else -1
        elif not (token["assigned"] and depth):
            names.add(token[0].removesuffix(" ="))
    return names - _names(own) - KEYWORDS - GIVEN


def _names(groups: list[tuple[str, ...]]) -> set[str]:
    return {name for group in groups for names in group for name in names.split(", ") if name}
