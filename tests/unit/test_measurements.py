"""The file of measurements, whose sections belong to the commands that write them."""

from tests.bench.measurements import TITLE, write_section


def test_first_section_makes_the_file(tmp_path):
    file = tmp_path / "measurements.md"

    write_section("scripts", "## Lua scripts\n\nfast", file)

    assert file.read_text() == f"{TITLE}\n<!-- begin: scripts -->\n## Lua scripts\n\nfast\n<!-- end: scripts -->\n"


def test_section_is_replaced_and_those_around_it_stay(tmp_path):
    file = tmp_path / "measurements.md"
    for name in ("chaos", "scripts", "pages"):
        write_section(name, f"{name} of yesterday", file)

    write_section("scripts", r"\1 of today", file)

    text = file.read_text()
    assert text.index("chaos of yesterday") < text.index(r"\1 of today") < text.index("pages of yesterday")
    assert "scripts of yesterday" not in text and text.count("<!-- begin: ") == 3
