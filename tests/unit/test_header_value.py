"""The header value of a subscription in every shape that a server has been seen, or is documented, to give it."""

import pytest

from app.octopus.header_value import HeaderValue, object_of, parse_header_value, uses_objects, without

SET = {"HasValue": True, "NewValue": None, "Hint": None}
UNSET = {"HasValue": False, "NewValue": None, "Hint": None}


@pytest.mark.parametrize(
    ("resource", "value", "is_set", "is_object"),
    [
        (None, None, False, None),
        ("", None, False, None),
        ("secret", "secret", True, False),
        (7, None, False, None),
        (["secret"], None, False, None),
        (SET, None, True, True),
        (UNSET, None, False, True),
        ({"IsSensitive": True, "SensitiveValue": SET, "Value": None}, None, True, True),
        ({"IsSensitive": True, "SensitiveValue": UNSET, "Value": None}, None, False, True),
        ({"IsSensitive": True, "SensitiveValue": SET}, None, True, True),
        ({"SensitiveValue": SET}, None, True, True),
        ({"SensitiveValue": {"HasValue": True}}, None, True, True),
        ({"IsSensitive": True, "SensitiveValue": {"Hint": "API-…"}}, None, True, True),
        ({"IsSensitive": False, "SensitiveValue": {"Hint": None}}, None, False, True),
        ({"IsSensitive": True, "SensitiveValue": {}}, None, True, True),
        ({"IsSensitive": True}, None, True, True),
        ({"IsSensitive": True, "SensitiveValue": None, "Value": None}, None, False, True),
        ({"IsSensitive": False, "SensitiveValue": None, "Value": "secret"}, "secret", True, True),
        ({"IsSensitive": False, "Value": "secret"}, "secret", True, True),
        ({"Value": "secret"}, "secret", True, True),
        ({"IsSensitive": False, "SensitiveValue": UNSET, "Value": "secret"}, "secret", True, True),
        ({"IsSensitive": False, "Value": ""}, None, False, True),
        ({"IsSensitive": "True", "SensitiveValue": "x", "Value": 7}, None, False, True),
        ({}, None, False, True),
    ],
)
def test_header_value_as_a_server_shows_it(resource, value, is_set, is_object):
    assert parse_header_value(resource) == HeaderValue(value, is_set, is_object)


@pytest.mark.parametrize(
    "before",
    [None, "old", SET, UNSET, {"IsSensitive": True, "SensitiveValue": SET, "Value": None},
     {"IsSensitive": False, "SensitiveValue": None, "Value": "old"}, {"IsSensitive": True}, {"SensitiveValue": None},
     {}, {"Later": 1, "IsSensitive": True, "SensitiveValue": SET}],
)  # fmt: skip
def test_new_secret_is_written_as_sensitive_and_the_rest_stays(before):
    written = object_of("new", before)

    inner = written.get("SensitiveValue", written)
    assert (inner["HasValue"], inner["NewValue"], inner["Hint"]) == (True, "new", None)
    assert "old" not in str(written), "nor is one that could be read left beside it"
    assert written.get("IsSensitive", True) is True
    assert isinstance(before, dict) is False or set(before) <= set(written)


@pytest.mark.parametrize(
    ("shown", "version", "expected"),
    [
        ([], "2026.1.419", True),
        ([], "2025.4.1893", False),
        ([], "2018.9.1", False),
        ([], "4.1.0", False),
        ([], None, True),
        ([], "unknown", True),
        ([None, None], "2025.4.1893", False),
        ([None, SET], "2025.4.1893", True),
        (["secret"], "2026.3.1", False),
        (["secret", SET], "2026.3.1", True),
    ],
)
def test_how_a_server_writes_a_secret_is_told_by_what_it_shows_else_by_its_version(shown, version, expected):
    assert uses_objects(map(parse_header_value, shown), version) is expected


def test_value_is_in_no_representation():
    assert "secret" not in repr(HeaderValue("secret", is_set=True, is_object=False))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Error converting value \"s3cret-word\" to type X", "Error converting value \"***\" to type X"),
        ("cut off in the middle of s3cret-w", "cut off in the middle of ***"),
        ("s3cret-word s3cret-word", "*** ***"),
        ("nothing of it", "nothing of it"),
    ],
)  # fmt: skip
def test_complaint_without_the_secret(text, expected):
    assert without("s3cret-word", text) == expected


@pytest.mark.parametrize("secret", ["", "a", "abc", "abcd"])
def test_short_secrets_are_hidden_too(secret):
    assert not secret or secret not in without(secret, f"value {secret}!".replace("value", "V"))
