"""Every kind of record is known wherever kinds are told of."""

import re

import pytest

from app.domain import wording
from app.domain.records import KINDS
from tests.conftest import ROOT


def test_reference_explains_each_kind():
    text = (ROOT / "docs/reference/timeline.md").read_text()

    explained = [name for row in re.findall(r"^\| (`.+?) \|", text, re.M) for name in re.findall(r"`(\w+)`", row)]
    assert set(KINDS) <= set(explained)


@pytest.mark.parametrize("kind", KINDS)
def test_pages_have_words_for_it(kind):
    assert kind in wording.KINDS


def test_scripts_and_notes_write_no_other():
    written = set()
    for path in (ROOT / "app/coordination/lua").rglob("*.lua"):
        written |= set(re.findall(r'\brecord\("(\w+)"', path.read_text()))
    for directory in ("app", "workers"):
        for path in (ROOT / directory).rglob("*.py"):
            written |= set(re.findall(r'\.note\("(\w+)"', path.read_text()))

    assert len(written) > 10 and written <= set(KINDS)
