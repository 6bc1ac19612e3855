"""What a spreadsheet makes of names that others chose."""

import csv
import io
from dataclasses import replace

import pytest

from app.domain.analysis.ledger import Row
from app.history.records import COLUMNS
from app.queries.ledger import COLUMNS as LEDGER_COLUMNS
from app.web.api.insight import ledger_csv
from app.web.api.timeline import as_csv

ROW = Row(
    key="Projects-1", example=None, waits=1, lost_ms=2, median_ms=2, p90_ms=2, worst_ms=2, share=None,
)  # fmt: skip


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_name_is_a_formula_in_the_csv_of_the_ledger(begin):
    name = f"{begin}1+1"

    [row] = csv.DictReader(io.StringIO("".join(ledger_csv([replace(ROW, name=name)])), newline=""))

    assert list(row) == list(LEDGER_COLUMNS)
    assert row["name"] == f"'{name}"


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_text_is_a_formula_in_the_csv_of_the_timeline(begin):
    row = ["1-0", "1", "granted", *[f"{begin}x"] * 6, '{"note": "=1"}']
    row[COLUMNS.index("run")] = "1"

    _, got = csv.reader(io.StringIO("".join(as_csv([row])), newline=""))

    assert [cell for cell in got if cell[:1] in "=+-@\t\r\n"] == []
    assert got[-1] == '{"note": "=1"}'
