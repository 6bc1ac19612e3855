"""Each row of the pages about security names a test, and it is there."""

import re

import pytest

from tests.conftest import ROOT

#: Each page, and how many rows it has at least.
PAGES = {"reference/attacks.md": 30, "explanation/threat-model.md": 25, "explanation/security.md": 40}

#: The tables whose last column is tests begin so.
HEADER = re.compile(r"^\| .* \| Test \|$|^\| Holds \| Test \|$")

#: The chapters of ASVS 5.0 that octowait has a subject in.
CHAPTERS = (1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16)


def rows(page: str) -> list[str]:
    """The rows of those tables."""
    found, is_inside = [], False
    for line in (ROOT / "docs" / page).read_text().splitlines():
        is_inside = line.startswith("|") and (is_inside or HEADER.match(line) is not None)
        if is_inside and not HEADER.match(line) and not line.startswith("|---"):
            found.append(line)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_each_row_names_a_test_that_is_there(page):
    sources = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    known = set(re.findall(r"^def (test_\w+)\(", sources, re.MULTILINE))
    missing = {}
    for row in rows(page):
        named = re.findall(r"`(test_\w+|tests/\S+\.py)`", row.rpartition(" | ")[2])
        unknown = [name for name in named if name not in known and not (ROOT / name).is_file()]
        if unknown or not named:
            missing[row] = unknown

    assert len(rows(page)) > PAGES[page]
    assert missing == {}


def test_each_chapter_says_what_holds_and_what_does_not():
    page = (ROOT / "docs" / "explanation" / "security.md").read_text()
    chapters = dict(re.findall(r"^## V(\d+) .+?\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))

    assert tuple(map(int, chapters)) == CHAPTERS
    for text in chapters.values():
        assert "| Holds | Test |" in text and re.search(r"^Does not hold: .{20}", text, re.MULTILINE)
