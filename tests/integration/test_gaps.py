"""What is missing of a batch of webhooks, whatever Octopus sends twice or late."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.coordination.batches import Batches, Gap
from app.domain.events import Batch, Effect
from tests.integration.octopus_tells import Octopus

QUIET_MS = 30_000


@pytest.fixture
def octopus(board, clock):
    return Octopus(board, clock)


@pytest.fixture
def gaps(board, clock):
    """The gaps that are told when nothing has come for some time."""

    def take(after=timedelta(0)):
        clock.advance(after)
        return Batches(board.client, board.keys).take_gaps(quiet_ms=QUIET_MS, now_ms=clock.now_ms)

    return take


def of_batch(octopus, number, total, batch="b-1"):
    return octopus.event(Effect.OTHER, batch=Batch(batch, number, total))


def test_webhook_that_is_sent_again_after_its_batch_was_complete_opens_no_gap(board, octopus, gaps):
    """Octopus heard no answer to the last one in time, and it comes again when the batch has been counted."""
    first, last = of_batch(octopus, 1, 2), of_batch(octopus, 2, 2)
    for event in (first, last):
        board.deliver(event)
    assert gaps() == []

    assert board.deliver(last) == "duplicate"

    assert gaps(after=timedelta(minutes=1)) == []


def test_webhook_that_comes_after_its_batch_was_told_of_opens_no_second_gap(board, octopus, gaps):
    board.deliver(of_batch(octopus, 1, 3))
    assert gaps(after=timedelta(minutes=1)) == [Gap("b-1", 1, 3)]

    board.deliver(of_batch(octopus, 2, 3))

    assert gaps(after=timedelta(minutes=1)) == []
    assert not board.client.exists(board.keys.batches)


def test_gap_in_the_batch_that_repeats_another_is_told(board, octopus, gaps):
    """After one that failed Octopus may send the rest in a batch of its own, and lose some of that."""
    events = [of_batch(octopus, number, 2) for number in (1, 2)]
    for event in events:
        board.deliver(event)
    assert gaps() == []

    board.deliver(of_batch(octopus, 1, 2, batch="b-2"))

    assert gaps(after=timedelta(minutes=1)) == [Gap("b-2", 1, 2)]


def test_batch_of_what_catch_up_had_brought_is_complete(board, octopus, gaps):
    """Its webhooks are duplicates, and came all the same."""
    events = [of_batch(octopus, number, 2) for number in (1, 2)]
    for event in events:
        board.deliver(replace(event, batch=None), via="catch_up")

    assert [board.deliver(event) for event in events] == ["duplicate", "duplicate"]

    assert gaps(after=timedelta(minutes=1)) == []


def test_batches_that_are_over_are_forgotten_after_a_day(board, octopus, gaps):
    board.deliver(of_batch(octopus, 1, 2))
    gaps(after=timedelta(minutes=1))
    board.deliver(of_batch(octopus, 1, 2, batch="b-2"))
    gaps(after=timedelta(days=2))

    assert board.client.zrange(board.keys.named("batches-over"), 0, -1) == [b"b-2"]
