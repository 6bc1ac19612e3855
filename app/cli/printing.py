"""What every command prints with: JSON for programs, lines and tables for people."""

from __future__ import annotations

import json
import sys
from typing import Any

import click


def print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_lines(lines: list[str]) -> None:
    for line in lines:
        click.echo(line)


def print_table(table: Any) -> None:
    from rich.console import Console

    # Piped, a table is for grep: as wide as it needs to be.
    Console(width=None if sys.stdout.isatty() else 250, soft_wrap=not sys.stdout.isatty()).print(table)
