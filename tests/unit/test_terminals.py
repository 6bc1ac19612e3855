"""Whatever names hold, no terminal obeys what octowait writes: tables, JSON, CSV and logs."""

import csv
import io
import json
import subprocess
import sys

import pytest

from app.cli.printing import print_json, print_lines
from app.domain.neutral import visible, visible_json
from app.history.records import COLUMNS
from app.web.api.timeline import as_csv
from tests.conftest import ROOT

#: Escape, bell, a C1 that begins a command, bidirectional overrides and isolates, a line separator, half a character.
CONTROLS = ["\x1b", "\x07", "\x9b", "\x9d", "\x7f", "\u202e", "\u2066", "\u200f", "\u2028", "\ufeff", "\ud800"]


@pytest.mark.parametrize("control", CONTROLS)
def test_control_is_shown_as_its_escape(control):
    shown = visible(f"web{control}01")

    assert shown.isprintable() and shown.startswith("web\\") and shown.endswith("01")


def test_text_without_controls_stays_as_it_is():
    assert visible("Wéb ☃ 日本 👩\u200d🚀") == "Wéb ☃ 日本 👩\u200d🚀"


@pytest.mark.parametrize("control", CONTROLS)
def test_printed_json_has_no_control_and_means_the_same(capsys, control):
    print_json({"name": f"web{control}01", "other": "Wéb"})

    text = capsys.readouterr().out
    assert control not in text
    assert json.loads(text) == {"name": f"web{control}01", "other": "Wéb"}


@pytest.mark.parametrize("control", CONTROLS)
def test_printed_line_has_no_control(capsys, control):
    print_lines([f"web{control}01"])

    assert capsys.readouterr().out.rstrip("\n").isprintable()


@pytest.mark.parametrize("control", [each for each in CONTROLS if each != "\ud800"])
def test_csv_has_no_control(control):
    detail = json.dumps({"note": f"a{control}b"}, ensure_ascii=False)
    row = ["1-0", "1", "granted", *[f"x{control}y"] * 6, detail]
    row[COLUMNS.index("run")] = "1"

    text = "".join(as_csv([row]))

    assert control not in text
    _, got = csv.reader(io.StringIO(text, newline=""))
    assert json.loads(got[COLUMNS.index("detail")]) == {"note": f"a{control}b"}


def test_line_of_json_keeps_its_meaning():
    line = '{"a":"\u202e\x9b\x7f","b":"é"}'

    assert visible_json(line) == '{"a":"\\u202e\\u009b\\u007f","b":"é"}'


@pytest.mark.parametrize("form", ["text", "json"])
def test_log_has_no_control_and_no_line_of_somebody_else(form):
    code = """
import logging, sys, structlog
from app.logs import configure_logs
configure_logs(sys.argv[1])
path = "/x\\x1b[2J\\x07\\x9b31m\\u202e\\n2026-01-01T00:00:00Z [info] all is well"
structlog.get_logger().warning("refused", path=path, inside={"deep": [path]})
logging.getLogger("other").warning("refused %s", path)
try:
    raise ValueError(path)
except ValueError:
    structlog.get_logger().exception("failed")
"""
    done = subprocess.run([sys.executable, "-c", code, form], capture_output=True, cwd=ROOT, timeout=30, check=True)

    text = done.stderr.decode()
    assert all(line.isprintable() for line in text.split("\n"))
    assert text.count("all is well") >= 4
    assert not any(line.startswith("2026-01-01T00:00:00Z") for line in text.split("\n"))
