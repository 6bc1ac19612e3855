import pytest

from app.history.archive.hash_chain import ChainEnd, Checker, Unsealed, body_of, seal, unseal

BODIES = [f'{{"id":"{n}-0","detail":{{"seq":7,"chain":"x"}}}}' for n in range(1, 7)]


@pytest.fixture
def lines():
    end, sealed = ChainEnd(), []
    for body in BODIES:
        line, end = seal(body, end)
        sealed.append(line)
    return sealed


def findings(lines, end=None):
    whole, begin = ChainEnd(), ChainEnd()
    for body in BODIES:
        _, whole = seal(body, whole)
    checker = Checker(begin)
    for line in lines:
        checker.feed(line, line[7:].partition('"')[0])
    return checker.finish(end or whole)


def test_sealed_line_gives_its_body_back(lines):
    assert [body_of(line) for line in lines] == BODIES
    assert [unseal(line).seq for line in lines] == [1, 2, 3, 4, 5, 6]


def test_whole_chain_has_no_findings(lines):
    assert findings(lines) == []


def test_changed_record_is_named(lines):
    lines[2] = lines[2].replace('"3-0"', '"3-9"')

    assert findings(lines) == ["3-9: was changed, or the hash of the record before it"]


def test_record_with_a_forged_hash_breaks_the_chain_behind_it(lines):
    forged, _ = seal(BODIES[2].replace("3-0", "3-9"), ChainEnd(2, unseal(lines[1]).chain))
    lines[2] = forged

    assert findings(lines) == ["4-0: was changed, or the hash of the record before it"]


def test_last_record_with_a_forged_hash_is_found_by_how_the_chain_ended(lines):
    lines[5], _ = seal(BODIES[5].replace("6-0", "6-9"), ChainEnd(5, unseal(lines[4]).chain))

    assert findings(lines) == ["6-9: its hash is not the one that the chain ended with"]


@pytest.mark.parametrize(
    ("gone", "finding"),
    [
        ([0], "record 1 is missing before 2-0"),
        ([2], "record 3 is missing between 2-0 and 4-0"),
        ([2, 3], "records 3 to 4 are missing between 2-0 and 5-0"),
        ([5], "records 6 to 6 are missing behind 5-0"),
        ([0, 1, 2, 3, 4, 5], "records 1 to 6 are missing at its end"),
    ],
)
def test_missing_records_are_named(lines, gone, finding):
    assert findings([line for at, line in enumerate(lines) if at not in gone]) == [finding]


def test_records_out_of_order_are_named(lines):
    lines[2], lines[3] = lines[3], lines[2]

    assert findings(lines) == ["3-0: is out of order"]


def test_record_that_is_there_twice_is_named(lines):
    assert findings([*lines[:3], lines[1], *lines[3:]]) == ["2-0: is there twice"]


def test_records_behind_the_end_are_counted(lines):
    extra, _ = seal('{"id":"7-0"}', ChainEnd(6, unseal(lines[5]).chain))

    assert findings([*lines, extra]) == ["1 record more than there were"]


@pytest.mark.parametrize("line", ["", "{}", '{"id":"1-0"}', '{"id":"1-0","seq":1}', '{"id":"1-0","seq":x,"chain":"y"}'])
def test_line_that_is_not_sealed_is_said_to_be_none(lines, line):
    with pytest.raises(Unsealed):
        unseal(line)
    assert findings([*lines[:1], line, *lines[1:]]) == [f"{line[7:].partition(chr(34))[0]}: is no sealed record"]
