"""Names come from whoever may ask for a machine; a terminal must not obey them."""

import pytest

from app.cli.ledger_tables import ledger_table
from app.cli.printing import print_lines, print_table

NAMES = ["\x1b[2Jgone", "\x9b31mred", "\x1b]0;title\x07", "a\rb", "a\nServerTasks-1: released"]
ROW = {"key": "Projects-1", "waits": 1, "lost_ms": 2, "median_ms": 2, "p90_ms": 2, "worst_ms": 2, "share": None}


@pytest.mark.parametrize("name", NAMES)
def test_line_with_a_name_is_one_line_without_controls(capsys, name):
    print_lines([f"Waiting for {name}."])

    assert capsys.readouterr().out.rstrip("\n").isprintable()


@pytest.mark.parametrize("name", [*NAMES, "[red]x[/red]"])
def test_cell_with_a_name_has_no_controls(capsys, name):
    print_table(ledger_table({"by": "project", "rows": [{**ROW, "name": name}], "total": ROW}))

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
    assert name in lines[1] or "\\x" in lines[1]
