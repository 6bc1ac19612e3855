"""Text that can stand in a deployment log without being a command to Octopus, or to the terminal that shows it.

Octopus looks for ``##octopus`` at every character that a script prints, and keeps its place from line to line: a name
that people chose could set variables, collect files, or, ending in ``#``, swallow the genuine message after it.
Source: ServiceMessageParser of Calamari's host, and what it did with captured logs.
"""

from __future__ import annotations

import re
from typing import Any

#: What moves the cursor, colours, reverses or ends a line: C0, DEL and C1, line separators, bidirectional and invisible
#: controls, and halves of surrogate pairs. Not the joiners U+200C and U+200D: words and pictures are made with them.
_CONTROLS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb]"
)

#: Windows PowerShell turns the fullwidth and the small number sign into ``#`` where it writes to an OEM code page.
_OPENING = re.compile("([#\uff03\ufe5f])(?=[#\uff03\ufe5f]|\\Z)")


def neutral(text: str) -> str:
    """*text* as it may be printed: each control a blank, and a blank after each ``#`` before another one or the end.

    What holds neither stays as it is, and so does what has been through here before.
    """
    if text.isascii() and text.isprintable() and "#" not in text:
        return text
    return _OPENING.sub(r"\1 ", _CONTROLS.sub(" ", text))


def visible(text: str, *, but: str = "") -> str:
    """*text* with each control in it, but those in *but*, written as an escape such as ``\\x1b`` or ``\\u202e``."""
    if text.isascii() and text.isprintable():
        return text
    return _CONTROLS.sub(lambda match: match[0] if match[0] in but else _escape(match[0]), text)


def visible_json(text: str) -> str:
    """*text*, which is JSON, with the controls that JSON allows in its texts escaped as it escapes others."""
    return text if text.isascii() and "\x7f" not in text else _CONTROLS.sub(_json_escape, text)


def _escape(control: str) -> str:
    return f"\\x{ord(control):02x}" if ord(control) < 0x100 else f"\\u{ord(control):04x}"


def _json_escape(match: re.Match[str]) -> str:
    # Line ends stand between its texts: inside of them they are escapes already.
    return match[0] if match[0] in "\t\r\n" else f"\\u{ord(match[0]):04x}"


def neutral_json(value: Any) -> Any:
    """*value*, which came from JSON, with every text in it `neutral`; names of fields are ours and stay."""
    if isinstance(value, str):
        return neutral(value)
    if isinstance(value, list):
        return [neutral_json(each) for each in value]
    if isinstance(value, dict):
        return {name: neutral_json(each) for name, each in value.items()}
    return value
