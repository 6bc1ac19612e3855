"""The sections of docs/reference/measurements.md that the chaos writes."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Sequence


def write(
    name: str, title: str, command: str, sentences: Iterable[str], table: tuple[Sequence[str], list[Sequence[str]]]
) -> None:
    """Put what *command* measured into the section *name*: sentences, and a table of (columns, rows)."""
    # Here, not above: it takes the fixtures of all tests along, and with them octowait, which this one only talks to.
    from tests.bench.measurements import markdown_table, write_section

    where = f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, Python {platform.python_version()}."
    lines = [f"## {title}", "", f"`{command}`", "", where, *sentences, "", markdown_table(*table)]
    write_section(name, "\n".join(lines))
