"""Output of commands: JSON for programs, lines and tables for people."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from app.domain.neutral import visible, visible_json


def escape(text: str) -> str:
    """*text* for a cell of a table, without markup."""
    from rich import markup

    return markup.escape(visible(text))


def print_json(value: object) -> None:
    click.echo(visible_json(json.dumps(value, indent=2, ensure_ascii=False)))


def print_lines(lines: list[str], *, err: bool = False) -> None:
    for line in lines:
        click.echo(visible(line), err=err)


def print_table(table: Any) -> None:
    from rich.console import Console

    # Piped, a table is for grep: as wide as it needs to be.
    Console(width=None if sys.stdout.isatty() else 250, soft_wrap=not sys.stdout.isatty()).print(table)
