"""How the text of a Lua script is put together: what a part hides, and what is left out."""

import re

import pytest

from app.store.script_text import APP, KEYS, assembled, parts_of, source

KEYS_PART = 'local RUNS = KEYS[1] .. "runs"\n'

PART = """local COUNT, LIMIT = 0, 3

local total

-- Used by nobody but add: not(called), "total(".
local function hidden(x)
    return x
end

local function add(x)
    total = (total or COUNT) + hidden(x)
    return total > LIMIT
end

local function unused()
    return add(1)
end
"""


def outermost(text):
    """The locals that are open around all that stands behind them, by the part of *text* between KEYS and the end."""
    depth, names = 0, set()
    for line in text.splitlines():
        depth += line == ";(function()"
        depth -= line == "end)()" and depth > 0
        if depth == 0 and (local := re.match(r"local (?:function )?([\w, ]+)", line)):
            names |= set(local[1].strip().split(", "))
    return names


def test_part_hides_what_nobody_behind_it_uses():
    text = assembled({KEYS: KEYS_PART, "sums": PART}, "return add(2)\n")

    assert outermost(text) == {"RUNS", "add"}


def test_a_variable_that_another_part_reads_is_shared_with_those_of_its_statement():
    text = assembled({KEYS: KEYS_PART, "sums": PART}, "return { add(2), total, LIMIT }\n")

    assert outermost(text) == {"RUNS", "add", "total", "COUNT", "LIMIT"}
    assert "\nCOUNT, LIMIT = 0, 3\n" in text and "local total\n" not in text.replace("local COUNT, LIMIT, total", "")


@pytest.mark.parametrize("own", ["return add(2)\n", "return 1\n", 'return "unused()" -- unused()\n'])
def test_function_that_nobody_calls_is_left_out(own):
    text = assembled({KEYS: KEYS_PART, "sums": PART}, own)

    assert "function unused" not in text
    assert ("function add" in text) == ("function hidden" in text) == ("add" in own)


@pytest.mark.parametrize("statement", ["if RUNS then\n    return 1\nend\n", "do\n    return 1\nend\n"])
def test_part_that_may_end_the_script_is_not_enclosed(statement):
    text = assembled({KEYS: KEYS_PART, "ending": f"local x = 1\n{statement}"}, "return x\n")

    assert statement in text and "\n;(function" not in text


def test_function_that_is_stored_ends_no_script():
    text = assembled(
        {KEYS: KEYS_PART, "doing": "local doing = {}\ndoing.x = function()\n    return 1\nend\n"}, "doing.x()\n"
    )

    assert ";(function()\ndoing = {}\n" in text


def test_script_without_the_keys_of_the_board_is_as_it_is_written():
    assert assembled({"clock": PART}, "return 1\n") == PART + "return 1\n"


@pytest.mark.parametrize("verb", sorted(path.stem for path in (APP / "coordination/lua").glob("*.lua")))
def test_less_than_half_of_the_names_are_open_around_a_script_of_the_board(verb):
    if KEYS not in parts_of("coordination", verb)[0]:
        pytest.skip("writes keys beside those of the board")
    parts, own = parts_of("coordination", verb, witnessed=True)
    written = "".join((*parts.values(), own))
    loaded = source("coordination", verb, witnessed=True)
    behind_keys = loaded.index("return (function()")

    assert len(outermost(loaded[behind_keys:])) < len(outermost(written)) / 2
