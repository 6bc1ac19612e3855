"""The reader of Lua that the tests of the scripts go by."""

import pytest

from tests.lua_names import defined, used

CASES = {
    "a call": ("grant(run)", {"grant", "run"}),
    "a value": ("local stop = is_late and stop_late or stop", {"is_late", "stop_late"}),
    "a field": ("return run.state, run.info.id", {"run"}),
    "a field of a new table": ("f({ head = x, tail = { grant = y } })", {"f", "x", "y"}),
    "an assignment": ("freed, bereaved = nil, nil", {"freed", "bereaved"}),
    "a comparison in a table": ("f({ head == 1 })", {"f", "head"}),
    "a comment": ("f() -- grant(run)", {"f"}),
    "a string": ('f("grant(run) -- ", g) -- x', {"f", "g"}),
    "a quote in a string": ('f("a \\" b", g)', {"f", "g"}),
    "an argument": ("local function f(run, machine)\n    return g(run, machine)\nend", {"g"}),
    "an argument of a nameless function": (
        "sort(runs, function(one, other)\n    return one < other\nend)",
        {"sort", "runs"},
    ),
    "a loop": ("for n, run in ipairs(runs) do f(n, run) end\nfor at = 1, 2 do f(at) end", {"f", "runs"}),
    "what the language gives": ("while not redis.call(KEYS[1], ARGV[1]) do break end", set()),
}


@pytest.mark.parametrize("name", CASES)
def test_names_that_are_used(name):
    text, names = CASES[name]

    assert used(text) == names


def test_names_that_are_defined_are_those_of_the_outermost_level():
    text = "local A, b = 1, 2\nlocal c\nlocal function f(x)\n    local y = x\nend\nfunction c()\nend\n-- local d\n"

    assert defined(text) == {"A", "b", "c", "f"}
