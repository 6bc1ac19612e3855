"""Output of commands: JSON for programs, lines and tables for people."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from app.domain.neutral import visible, visible_json

#: Letters of a word that may be broken after all: ids are shorter.
LONGEST_WORD = 40

#: Spaces between two columns.
GAP = 2


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
    """Print a table of rich: in a pipe for programs, a line a row with tabs between its cells; else as people read it.

    No word of a cell, such as an id, is broken: a table that does not fit so is printed as a block of lines a row.
    """
    from rich.console import Console

    cells = [[_plain_lines(cell) for cell in column.cells] for column in table.columns]
    rows = list(zip(*cells, strict=True))
    headings = [str(column.header) for column in table.columns]
    if not sys.stdout.isatty():
        click.echo("\t".join(headings))
        for row in rows:
            click.echo("\t".join("; ".join(lines) for lines in row))
        return
    console = Console()
    widths = fitting_widths(
        [[[heading], *column] for heading, column in zip(headings, cells, strict=True)], console.width
    )
    if widths is None:
        _print_blocks(headings, rows)
        return
    for column, width in zip(table.columns, widths, strict=True):
        column.width = width
    console.print(table)


def fitting_widths(columns: list[list[list[str]]], width: int) -> list[int] | None:
    """The widths of *columns*, each the lines of its cells, within *width*; None if words would have to be broken."""
    texts = [[line for cell in column for line in cell] for column in columns]
    least = [
        max((min(LONGEST_WORD, len(word)) for line in lines for word in line.split()), default=0) for lines in texts
    ]
    widths = [max((len(line) for line in lines), default=0) for lines in texts]
    left = width - GAP * (len(columns) - 1)
    if sum(least) > left:
        return None
    while sum(widths) > left:
        # The widest that can give way does, down to the next one or as far as need be.
        can = [at for at, each in enumerate(widths) if each > least[at]]
        widest = max(can, key=lambda at: widths[at])
        widths[widest] = max(least[widest], widths[widest] - (sum(widths) - left))
    return widths


def _print_blocks(headings: list[str], rows: list[tuple[list[str], ...]]) -> None:
    for row in rows:
        for heading, lines in zip(headings, row, strict=True):
            if any(lines):
                click.echo(f"{heading + ':':<{max(map(len, headings)) + 2}}{'; '.join(lines)}")
        click.echo()


def _plain_lines(cell: Any) -> list[str]:
    """The lines of a cell, without the markup that `escape` has put in."""
    from rich.text import Text

    return Text.from_markup(str(cell)).plain.split("\n")
