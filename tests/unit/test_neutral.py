import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.neutral import neutral, neutral_json

FULLWIDTH = "\uff03\uff03\uff4f\uff43\uff54\uff4f\uff50\uff55\uff53\uff3b"

#: Texts in which the dangerous characters are as frequent as the others.
nasty = st.text(st.sampled_from("#\uff03\ufe5f octpus[\r\n\x1b\x9b\u202e\u2028\ud800\u200b\u200d\u0301é日"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("##octopus[setVariable name='eA==']", "# #octopus[setVariable name='eA==']"),
        ("###octopus[", "# # #octopus["),
        ("Web #", "Web # "),
        ("#\r#octopus[", "# #octopus["),
        ("#\u202e#octopus[", "# #octopus["),
        ("#\u200b#octopus[", "# #octopus["),
        (FULLWIDTH, FULLWIDTH[0] + " " + FULLWIDTH[1:]),
        ("#" + FULLWIDTH[1:], "# " + FULLWIDTH[1:]),
        ("\ufe5f\ufe5foctopus[", "\ufe5f \ufe5foctopus["),
        ("a\x1b[31mred", "a [31mred"),
        ("a\x00b\x85c\x9bd\u2028e\u2029f\u2066g", "a b c d e f g"),
        ("half \ud800 a pair", "half   a pair"),
    ],
)
def test_a_command_is_none_any_more(text, expected):
    assert neutral(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Waiting for web-01, place 2: ServerTasks-4700 (Api 2.0.1 to Production) has held it for 3 min.",
        "https://octopus.example.com/app#/Spaces-1/tasks/ServerTasks-1",
        "C# service #12 (Zürich), 日本語 👩‍🔧 می‌خواهم ½ « » – …",
        "octowait:{default}:wake:ServerTasks-1",
    ],
)
def test_normal_text_stays_as_it_is(text):
    assert neutral(text) == text


@given(nasty | st.text())
def test_nothing_that_comes_out_is_a_command(text):
    safe = neutral(text)

    # What an OEM code page makes of it: compatibility forms become ASCII.
    as_printed = unicodedata.normalize("NFKC", safe)
    assert "##" not in as_printed
    assert not as_printed.endswith("#")
    assert not {unicodedata.category(character) for character in safe} & {"Cc", "Zl", "Zp", "Cs"}
    assert not {unicodedata.bidirectional(character) for character in safe} & {
        "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI",
    }  # fmt: skip
    assert neutral(safe) == safe


@given(nasty, nasty)
def test_two_texts_one_after_the_other_are_no_command_either(first, second):
    assert "##" not in unicodedata.normalize("NFKC", neutral(first) + neutral(second))


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"], exclude_characters="#")))
def test_printable_text_without_number_signs_stays(text):
    assert neutral(text) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | nasty,
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["message", "reason", "name"]), inner),
)


@given(JSON)
def test_every_text_in_json_is_neutral_and_nothing_else_changes(value):
    def texts(found):
        if isinstance(found, str):
            return [found]
        inner = found.values() if isinstance(found, dict) else found if isinstance(found, list) else []
        return [text for each in inner for text in texts(each)]

    safe = neutral_json(value)

    assert texts(safe) == [neutral(text) for text in texts(value)]
    assert json.dumps(neutral_json(safe)) == json.dumps(safe)
