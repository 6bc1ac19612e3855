"""What a step printed, as Octopus takes it: service messages, and lines with their level.

As Calamari's ServiceMessageParser: a message begins with the label wherever in a line it stands and ends with the next
bracket, the state goes on from line to line, and what follows a message in its line is not read.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field

_LABEL = "##octopus"
_INSIDE = re.compile(r"\[([\w-]+)((?: [\w-]+='[A-Za-z0-9+/=]*')*)\Z")
_ATTRIBUTE = re.compile(r"([\w-]+)='([^']*)'")


@dataclass
class Printed:
    """What came of an output. *unreadable* are messages that Octopus would show as text."""

    messages: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    lines: list[tuple[str, str]] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    @property
    def text(self) -> list[str]:
        """The lines that people read, whatever their level."""
        return [line for _, line in self.lines]

    def at(self, level: str) -> list[str]:
        return [line for found, line in self.lines if found == level]

    @property
    def variables(self) -> dict[str, str]:
        return {values["name"]: values.get("value", "") for kind, values in self.messages if kind == "setVariable"}

    @property
    def sensitive(self) -> set[str]:
        return {values["name"] for kind, values in self.messages if values.get("sensitive") == "True"}

    @property
    def result(self) -> str:
        return "\n".join(values["message"] for kind, values in self.messages if kind == "resultMessage")


class _Reader:
    def __init__(self) -> None:
        self._label = ""
        self._inside: str | None = None

    def message(self, line: str) -> str | None:
        """The inside of the message that ends in *line*."""
        for character in line:
            if self._inside is not None:
                if character == "]":
                    whole, self._inside = self._inside, None
                    return whole
                self._inside += character
            elif self._label or character == "#":
                self._label += character
                if self._label == _LABEL:
                    self._label, self._inside = "", ""
                elif not _LABEL.startswith(self._label):
                    self._label = ""
        return None


def parse(output: str) -> Printed:
    """Read the whole output of a step."""
    printed, reader, level = Printed(), _Reader(), "default"
    for line in output.replace("\r\n", "\n").split("\n"):
        inside = reader.message(line)
        if inside is None:
            if line.strip():
                printed.lines.append((level, line))
            continue
        match = _INSIDE.match(inside)
        if not match:
            printed.unreadable.append(inside)
            printed.lines.append((level, line))
            continue
        values = {name: base64.b64decode(value).decode() for name, value in _ATTRIBUTE.findall(match[2])}
        printed.messages.append((match[1], values))
        if match[1].startswith("stdout-"):
            level = match[1].removeprefix("stdout-")
    return printed
