"""How the text of a Lua script is put together: what a part hides, and what is left out."""

import re

import pytest

from app.store.script_text import APP, KEYS, SHARED, assembled, parts_of, source
from tests.lua_names import used

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


def fields(text):
    """What the table of *text* is made with."""
    return set(re.search(rf"^local {SHARED} = {{ (.*) }}$", text, re.MULTILINE)[1].replace(" = 0", "").split(", "))


def test_part_hides_what_nobody_behind_it_uses():
    text = assembled({KEYS: KEYS_PART, "sums": PART}, "return add(2)\n")

    assert outermost(text) == {"RUNS", SHARED} and fields(text) == {"add"}
    assert "local function hidden(x)" in text


def test_a_variable_that_another_part_reads_is_shared_with_those_of_its_statement():
    text = assembled({KEYS: KEYS_PART, "sums": PART}, "return { add(2), total, LIMIT }\n")

    assert outermost(text) == {"RUNS", SHARED} and fields(text) == {"add", "total", "COUNT", "LIMIT"}
    assert f"\n{SHARED}.COUNT, {SHARED}.LIMIT = 0, 3\n" in text and "local total" not in text


def test_what_is_shared_is_a_field_wherever_it_is_used_and_nothing_else_is():
    own = 'return { add(2), add = x.add, [add] = "add", "a".."add" .. add, y = add == 1 } -- add\n'

    text = assembled({KEYS: KEYS_PART, "sums": PART}, own)

    assert 'return { L.add(2), add = x.add, [L.add] = "add", "a".."add" .. L.add, y = L.add == 1 } -- add\n' in text
    assert "function L.add(x)\n    total = (total or COUNT) + hidden(x)\n" in text


def test_what_is_shared_and_given_a_value_is_given_it_for_all():
    text = assembled({KEYS: KEYS_PART, "sums": PART}, "if total then\n    total = add(1)\nend\n")

    assert "if L.total then\n    L.total = L.add(1)\nend\n" in text
    assert "    L.total = (L.total or COUNT) + hidden(x)\n" in text


@pytest.mark.parametrize("own", ["return add(2)\n", "return 1\n", 'return "unused()" -- unused()\n'])
def test_function_that_nobody_calls_is_left_out(own):
    text = assembled({KEYS: KEYS_PART, "sums": PART}, own)

    assert "function unused" not in text
    assert ("function L.add" in text) == ("function hidden" in text) == ("add" in own)


@pytest.mark.parametrize("statement", ["if RUNS then\n    return 1\nend\n", "do\n    return 1\nend\n"])
def test_part_that_may_end_the_script_is_not_enclosed(statement):
    text = assembled({KEYS: KEYS_PART, "ending": f"local x = 1\n{statement}"}, "return x\n")

    assert statement in text and "\n;(function" not in text


def test_function_that_is_stored_ends_no_script():
    text = assembled(
        {KEYS: KEYS_PART, "doing": "local doing = {}\ndoing.x = function()\n    return 1\nend\n"}, "doing.x()\n"
    )

    assert ";(function()\nL.doing = {}\nL.doing.x = function()\n" in text


def test_script_without_the_keys_of_the_board_is_as_it_is_written():
    assert assembled({"clock": PART}, "return 1\n") == PART + "return 1\n"


VERBS = sorted(path.stem for path in (APP / "coordination/lua").glob("*.lua"))


@pytest.mark.parametrize("own", ["local function f(add)\n    return add\nend\n", "for _, add in ipairs({}) do\nend\n"])
def test_name_of_what_a_part_shares_is_that_of_nothing_else(own):
    user = "local function once_more()\n    return add(1)\nend\n"

    with pytest.raises(ValueError, match="^add: "):
        assembled({KEYS: KEYS_PART, "sums": PART, "more": user}, f"{own}return once_more()\n")
    with pytest.raises(ValueError, match="^add: "):
        assembled({KEYS: KEYS_PART, "sums": PART + own, "more": user}, "return { once_more(), f }\n")


@pytest.mark.parametrize("with_expiry", [False, True])
@pytest.mark.parametrize("verb", VERBS)
def test_all_that_a_script_uses_is_there(verb, with_expiry):
    text = source("coordination", verb, with_expiry=with_expiry, witnessed=True)

    assert not used(text) - {SHARED}
    if f"local {SHARED} = " in text:
        assert set(re.findall(rf"\b{SHARED}\.(\w+)", text)) <= fields(text)


@pytest.mark.parametrize("verb", VERBS)
def test_less_than_half_of_the_names_are_open_around_a_script_of_the_board(verb):
    if KEYS not in parts_of("coordination", verb)[0]:
        pytest.skip("writes keys beside those of the board")
    parts, own = parts_of("coordination", verb, witnessed=True)
    written = "".join((*parts.values(), own))
    loaded = source("coordination", verb, witnessed=True)
    behind_keys = loaded.index("return (function()")

    assert len(outermost(loaded[behind_keys:])) < len(outermost(written)) / 2
