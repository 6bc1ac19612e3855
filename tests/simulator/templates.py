"""The little of Octopus's variable language that processes here need.

``#{name}``; ``#{if name}…#{/if}``, ``#{unless name}…#{/unless}``, both also with ``name == "text"`` and ``!=``; nested.
Names compare without regard to letter case; what is unknown stays as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_BLOCK = re.compile(
    r"#\{(?P<word>if|unless) (?P<condition>[^{}]*)\}(?P<body>(?:(?!#\{(?:if|unless) ).)*?)#\{/(?P=word)\}", re.DOTALL
)
_COMPARISON = re.compile(r'^(?P<name>.+?)\s*(?P<operator>==|!=)\s*"(?P<text>[^"]*)"$')
_VARIABLE = re.compile(r"#\{([^{}/][^{}]*)\}")

_FALSE = frozenset({"", "false", "no", "0"})

#: Values that refer to values that refer to …: how deep.
MAX_DEPTH = 10


def substitute(text: str, variables: Mapping[str, str]) -> str:
    """*text* with its expressions evaluated, innermost blocks first."""
    known = {name.lower(): value for name, value in variables.items()}
    for _ in range(MAX_DEPTH):
        before = text
        while (found := _BLOCK.search(text)) is not None:
            chosen = found["body"] if _holds(found["condition"], known) == (found["word"] == "if") else ""
            text = text[: found.start()] + chosen + text[found.end() :]
        text = _VARIABLE.sub(lambda match: known.get(match[1].strip().lower(), match[0]), text)
        if text == before:
            break
    return text


def is_true(text: str, variables: Mapping[str, str]) -> bool:
    """Whether a run condition comes out true; an unknown variable does not."""
    value = substitute(text, variables).strip()
    return not value.startswith("#{") and value.lower() not in _FALSE


def _holds(condition: str, known: Mapping[str, str]) -> bool:
    comparison = _COMPARISON.match(condition.strip())
    if comparison is None:
        return known.get(condition.strip().lower(), "").lower() not in _FALSE
    is_equal = known.get(comparison["name"].strip().lower(), "") == comparison["text"]
    return is_equal == (comparison["operator"] == "==")
