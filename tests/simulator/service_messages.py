"""Finds Octopus's service messages in the output of a script, character by character.

*Source*: the parser of Calamari, which differs from what a regular expression of whole lines finds.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_OPENS = "##octopus"
_NAME = re.compile(r"\s*\[?\s*([A-Za-z_][\w.-]*)\s*(.*?)\s*$", re.DOTALL)
_ATTRIBUTE = re.compile(r"""\s*([A-Za-z_][\w.-]*)\s*=\s*(?:'([^'<]*)'|"([^"<]*)")""")


@dataclass(frozen=True)
class Message:
    """``##octopus[setVariable name='…' value='…']``, its values decoded, names in lower case."""

    name: str
    values: dict[str, str]


@dataclass
class Reading:
    """What a script has said so far.

    Attributes:
        said: In order: messages, and lines for people.
    """

    said: list[Message | str] = field(default_factory=list)
    _matched: str = ""
    _open: str | None = None

    def line(self, text: str) -> None:
        """Read one line, without its end.

        A message may stand anywhere in it. One that is open goes on in the next line until the next ``]``; a ``#`` at
        the end of a line spoils a message at the start of the next one; behind a message the line is not read. What
        looks like a message and is none is dropped, as there.
        """
        shown = ""
        has_message = self._open is not None
        for character in text:
            if self._open is not None:
                if character != "]":
                    self._open += character
                    continue
                message, self._open = _parsed(self._open), None
                if message:
                    self.said.append(message)
                break
            shown += character
            self._matched += character
            if self._matched == _OPENS:
                has_message, self._open, self._matched = True, "", ""
                shown = shown[: -len(_OPENS)]
            elif not _OPENS.startswith(self._matched):
                self._matched = ""
        if shown or not has_message:
            self.said.append(shown)


def read(lines: Iterable[str]) -> list[Message | str]:
    """All that *lines* say."""
    reading = Reading()
    for line in lines:
        reading.line(line)
    return reading.said


def _parsed(text: str) -> Message | None:
    found = _NAME.match(text)
    if not found:
        return None
    values, rest = {}, found[2]
    while rest:
        attribute = _ATTRIBUTE.match(rest)
        if not attribute:
            return None
        try:
            value = base64.b64decode(attribute[2] if attribute[2] is not None else attribute[3], validate=True)
            values[attribute[1].lower()] = value.decode()
        except (binascii.Error, ValueError):
            return None
        rest = rest[attribute.end() :].strip()
    return Message(found[1], values)
