"""Names come from whoever may ask for a machine; a terminal must not obey them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cli.ledger_tables import ledger_table
from app.cli.printing import GAP, fitting_widths, print_lines, print_table
from app.cli.tables import machines_table, timeline_table

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
    assert all(cell.isprintable() for line in lines for cell in line.split("\t"))
    assert {len(line.split("\t")) for line in lines} == {7}
    assert name in lines[1] or "\\x" in lines[1]


WORDS = st.text("abc-123", min_size=1, max_size=20)
CELLS = st.lists(st.lists(WORDS, max_size=6).map(" ".join), min_size=1, max_size=3)
COLUMNS = st.integers(1, 6).flatmap(lambda n: st.lists(st.lists(CELLS, min_size=n, max_size=n), min_size=1, max_size=6))


@settings(deadline=None)  # What else runs here is not the matter.
@given(columns=COLUMNS, width=st.integers(20, 200))
def test_a_table_that_fits_breaks_no_word(columns, width):
    widths = fitting_widths(columns, width)

    longest = [max((len(w) for cell in column for line in cell for w in line.split()), default=0) for column in columns]
    needs = sum(longest) + GAP * (len(columns) - 1)
    assert (widths is None) == (needs > width)
    if widths:
        assert sum(widths) + GAP * (len(columns) - 1) <= width
        assert all(has >= least for has, least in zip(widths, longest, strict=True))


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_terminal_shows_ids_whole(capsys, monkeypatch, width):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    record = {"at_ms": 1_763_838_000_000, "kind": "joined", "task_id": "ServerTasks-471123", "cause": None,
              "machines": [f"Machines-{n}" for n in range(100, 130)], "detail": {"order": 17}}  # fmt: skip

    print_table(timeline_table([record], {"machines-100": "web-100"}))

    words = set(capsys.readouterr().out.replace(",", " ").split())
    assert {"ServerTasks-471123", "web-100", *record["machines"][1:]} <= words


def test_a_pipe_gets_a_line_a_row_with_tabs(capsys):
    holders = [{"task_id": f"ServerTasks-{n}", "kind": "lease", "paused": False, "since_ms": 0, "project": "Web\tshop",
                "release": None, "environment": None} for n in (1, 2)]  # fmt: skip
    machine = {"id": "Machines-7", "name": "web-01", "status": "busy", "holders": holders, "line": []}

    print_table(machines_table({"machines": [machine], "now_ms": 60_000}))

    head, row = capsys.readouterr().out.splitlines()
    assert head.split("\t")[:3] == ["Machine", "Status", "Holder"]
    assert row.split("\t")[2] == "ServerTasks-1 (Web\\x09shop); ServerTasks-2 (Web\\x09shop)"
