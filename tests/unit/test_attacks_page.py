"""Each attack of docs/reference/attacks.md has a test, and it is there."""

import re

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "reference" / "attacks.md").read_text()
ROWS = [line for line in PAGE.splitlines() if re.match(r"\| (?!Attack |-)", line.replace("|---", "| -"))]


def test_each_attack_names_a_test_that_is_there():
    sources = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    known = set(re.findall(r"^def (test_\w+)\(", sources, re.MULTILINE))
    missing = {}
    for row in ROWS:
        named = re.findall(r"`(test_\w+|tests/\S+\.py)`", row.rpartition(" | ")[2])
        unknown = [name for name in named if name not in known and not (ROOT / name).is_file()]
        if unknown or not named:
            missing[row] = unknown

    assert len(ROWS) > 30
    assert missing == {}
