import pytest

from app.domain.errors import InvalidId
from app.domain.ids import checked_id, distinct_ids, space_id_of


@pytest.mark.parametrize("value", ["Machines-7", "a", "7", "web_01.example~2", "x" * 100])
def test_ids_of_octopus_and_slugs_are_taken_as_they_are(value):
    assert checked_id(value, "machine") == value


@pytest.mark.parametrize(
    "value", ["", "-7", " Machines-7", "Machines 7", "Machines-7\n", "a\0b", "a/b", "a,b", "a{b}", "ü", "x" * 101]
)
def test_what_keys_and_addresses_cannot_carry_is_refused(value):
    with pytest.raises(InvalidId, match="^machine .* expected an Octopus id such as"):
        checked_id(value, "machine")


def test_message_about_a_long_id_stays_short():
    with pytest.raises(InvalidId) as refused:
        checked_id("x" * 100_000, "task")

    assert len(str(refused.value)) < 300


def test_ids_that_differ_in_letter_case_only_are_one():
    assert distinct_ids(["Machines-7", "machines-12", "MACHINES-7"]) == ["machines-12", "Machines-7"]


@pytest.mark.parametrize("value", ["Spaces-1", "spaces-1", "SPACES-12345", "Spaces-a-1"])
def test_id_of_a_space_is_taken_as_it_is(value):
    assert space_id_of(value) == value


NO_SPACES = [
    None, "", " ", "../x", "Spaces-1/../x", "Spaces-1/", "..", "Spaces-1?a=b", "Spaces-1#x", "Spaces-1,Spaces-2",
    "Spaces-1\n", " Spaces-1", "Spaces-", "Default", "Default Space", "Spaces-%2e%2e", "Spaces-" + "1" * 81, 7,
    ["Spaces-1"], {"id": "Spaces-1"}, "all", "users",
]  # fmt: skip


@pytest.mark.parametrize("value", NO_SPACES)
def test_space_that_is_no_id_counts_as_unknown(value):
    assert space_id_of(value) is None
