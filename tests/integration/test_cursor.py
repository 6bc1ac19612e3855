"""A cursor moves and its results are written in one step, or neither."""

import pytest

from app.followers.cursor import Cursor
from app.store.connection import connect
from tests.integration.test_archive import Killed, dying_after


@pytest.fixture
def key(board):
    return board.keys.named("measured-to")


@pytest.fixture
def results(board):
    return board.keys.named("measured-born")


def test_second_of_two_who_read_the_same_writes_nothing(board, key, results):
    one, other = Cursor(board.client, key), Cursor(board.client, key)

    def write(transaction):
        transaction.multi()
        transaction.incr(results)

    seen = one.value()
    assert seen == b""
    assert one.advance(seen, b"5-0", write)
    assert not other.advance(seen, b"6-0", write)

    assert (other.value(), board.client.get(results)) == (b"5-0", b"1")


def test_one_who_is_overtaken_in_the_middle_writes_nothing(board, key, results, redis_url):
    other = connect(redis_url)

    def write(transaction):
        transaction.multi()
        transaction.incr(results)
        other.set(key, "7-0")

    assert not Cursor(board.client, key).advance(b"", b"5-0", write)

    assert (other.get(key), other.get(results)) == (b"7-0", None)
    other.close()


def test_what_it_read_of_a_watched_key_still_holds_when_it_writes(board, key, results, redis_url):
    other = connect(redis_url)
    others = iter(["first"])

    def write(transaction):
        read = transaction.get(results) or b""
        for text in others:
            other.set(results, text)
        transaction.multi()
        transaction.set(results, read + b" second")

    assert Cursor(board.client, key).advance(b"", b"5-0", write, results)

    assert other.get(results) == b"first second"
    other.close()


@pytest.mark.parametrize("commands", range(5))
def test_one_who_dies_has_done_all_of_it_or_nothing(board, key, results, redis_url, commands):
    def write(transaction):
        transaction.get(results)
        transaction.multi()
        transaction.incr(results)
        transaction.incr(results)

    client, other = dying_after(connect(redis_url), commands), connect(redis_url)
    try:
        is_done = Cursor(client, key).advance(b"", b"5-0", write)
    except Killed:
        is_done = False

    assert (other.get(key), other.get(results)) == ((b"5-0", b"2") if is_done else (None, None))
    assert is_done == (commands == 4)
    client.close()
    other.close()
