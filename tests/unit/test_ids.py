import pytest

from app.domain.errors import InvalidId
from app.domain.ids import checked_id, distinct_ids


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
