"""The order of machines: as people count."""

from __future__ import annotations

from app.coordination.snapshot.values import Machine


def sort_key(machine: Machine) -> tuple[list[tuple[int, int, str]], str]:
    """Machines by name, those of the same name by id."""
    return natural(machine.name), machine.id.lower()


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts web-2 before web-10, however many digits there are: Python makes no number of thousands."""
    parts: list[tuple[int, int, str]] = []
    digits = text = ""
    for char in name.lower() + "\0":
        if char.isdigit() and char.isascii():
            if text:
                parts.append((1, 0, text))
                text = ""
            digits += char
        else:
            if digits:
                number = digits.lstrip("0")
                parts.append((0, len(number), number))
                digits = ""
            text += char
    return [*parts, (1, 0, text)]
