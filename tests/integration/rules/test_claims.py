"""Rule 24, claims: a late request ends nothing and takes nothing, since it says of which execution of a step it is."""

from datetime import timedelta

import pytest

from app.domain.events import Effect
from app.domain.records import Filter
from app.domain.run import Rebuilt, RunRequest
from tests.integration.rules.helpers import kinds, minutes, seconds

WEB = {"Machines-7"}
FIRST, SECOND, THIRD = ("a" * 32, "b" * 32, "c" * 32)


def asks(board, claim=FIRST, number=1, machines=WEB, **fields):
    return board.join(RunRequest(f"ServerTasks-{number}", claim=claim, **fields), machines, ttl=minutes(1))


def confirms(board, claim=FIRST, number=1):
    return board.poll(f"ServerTasks-{number}", claim=claim)


def blocks(board, claim=FIRST, number=1):
    return board.poll(f"ServerTasks-{number}", claim=claim, blocks=True)


# The confirming call


def test_grant_in_the_answer_to_the_first_call_is_taken_back_when_nobody_confirms_it(board, clock):
    assert asks(board).is_granted

    clock.advance(minutes(2))

    assert board.place("ServerTasks-1").state == "expired"
    assert asks(board, SECOND, 2).is_granted


def test_confirmed_grant_stays(board, clock):
    token = asks(board).fencing_token

    told = confirms(board)
    clock.advance(minutes(600))
    board.sweep()

    assert (told.state, told.fencing_token) == ("granted", token)
    assert board.place("ServerTasks-1").is_granted


def test_call_that_was_under_way_at_the_grant_does_not_confirm_it(board, clock):
    asks(board, THIRD, 9)
    asks(board)
    board.release("ServerTasks-9", claim=THIRD)

    assert blocks(board).is_granted
    assert blocks(board).is_granted, "also a second one: its client has not read the first answer"
    clock.advance(minutes(2))

    assert board.place("ServerTasks-1").state == "expired"


def test_first_call_that_tells_of_a_grant_does_not_confirm_it(board, clock):
    asks(board, THIRD, 9)
    asks(board)
    board.release("ServerTasks-9", claim=THIRD)

    assert confirms(board).is_granted
    assert not board.place("ServerTasks-1").run.collected
    assert confirms(board).is_granted
    assert board.place("ServerTasks-1").run.collected


def test_call_that_tells_of_a_grant_gives_time_to_confirm_it(board, clock):
    asks(board)
    clock.advance(seconds(59))

    asks(board)
    clock.advance(seconds(59))

    assert confirms(board).is_granted
    assert board.place("ServerTasks-1").run.collected


def test_look_confirms_nothing_and_is_no_sign_of_life(board, clock):
    asks(board)

    place = board.place("ServerTasks-1")
    clock.advance(minutes(2))

    assert (place.state, place.run.claim) == ("granted", FIRST)
    assert board.place("ServerTasks-1").state == "expired"


def test_wait_that_blocks_on_redis_confirms_nothing(board, clock):
    asks(board)

    assert board.wait("ServerTasks-1", timeout=seconds(1), claim=FIRST).is_granted
    clock.advance(minutes(2))

    assert board.place("ServerTasks-1").state == "expired"


def test_silent_claim_joins_again_at_the_end(board, clock):
    asks(board, THIRD, 9)
    confirms(board, THIRD, 9)
    asks(board)
    clock.advance(minutes(2))
    asks(board, SECOND, 2)

    assert confirms(board).state == "expired"
    assert (asks(board).place, confirms(board).place) == (2, 2)


def test_claim_of_a_lost_board_is_unknown_until_it_asks_again(board):
    assert confirms(board) is None

    board.join(RunRequest("ServerTasks-1"), WEB)

    assert confirms(board) is None
    assert asks(board).is_granted
    assert confirms(board).is_granted


# A claim that is over


def test_call_that_comes_after_its_end_does_nothing(board, timeline):
    asks(board)
    confirms(board)
    assert board.release("ServerTasks-1", claim=FIRST) == "released"
    before = kinds(timeline)

    late = asks(board)

    assert (late.state, late.place, late.machines) == ("left", None, ())
    assert "over" in late.message
    assert kinds(timeline) == before
    assert asks(board, SECOND, 2).is_granted


def test_end_that_comes_before_its_call_keeps_that_from_doing_anything(board):
    assert board.release("ServerTasks-1", claim=FIRST) == "nothing"

    assert asks(board).state == "left"
    assert asks(board, SECOND, 2).is_granted


def test_giving_back_twice_changes_nothing_the_second_time(board):
    asks(board)

    assert [board.release("ServerTasks-1", claim=FIRST) for _ in range(3)] == ["released", "nothing", "nothing"]


def test_end_of_a_claim_that_was_silent_for_too_long_is_remembered(board, clock):
    asks(board)
    clock.advance(minutes(2))

    assert board.release("ServerTasks-1", claim=FIRST) == "nothing"
    assert asks(board).state == "left"


def test_late_end_does_not_end_the_next_run_of_the_task(board, octopus):
    asks(board)
    confirms(board)
    board.release("ServerTasks-1", claim=FIRST)
    octopus.tells(Effect.ENDED, "ServerTasks-1")
    asks(board, SECOND)
    confirms(board, SECOND)

    assert board.release("ServerTasks-1", claim=FIRST) == "left"
    assert board.place("ServerTasks-1").is_granted
    assert board.release("ServerTasks-1", claim=SECOND) == "released"


@pytest.mark.parametrize("end", ["event", "reconciled", "forced"])
def test_call_that_comes_after_the_end_of_its_task_does_nothing(board, octopus, end):
    asks(board)
    confirms(board)
    if end == "event":
        octopus.tells(Effect.ENDED, "ServerTasks-1")
    else:
        board.release("ServerTasks-1", cause=end)

    assert asks(board).state == "left"


def test_call_that_comes_after_the_end_of_its_silent_task_does_nothing(board, clock, octopus):
    asks(board)
    clock.advance(minutes(2))
    board.sweep()
    octopus.tells(Effect.ENDED, "ServerTasks-1")

    assert asks(board).state == "left"


def test_claim_that_timed_out_is_told_so_again_and_gets_no_second_wait(board, clock):
    asks(board, THIRD, 9)
    confirms(board, THIRD, 9)
    asks(board, timeout=seconds(30))
    clock.advance(seconds(31))

    assert confirms(board).state == "timed_out"
    assert asks(board, timeout=seconds(30)).state == "timed_out"


def test_end_is_remembered_for_a_day(board, clock):
    board.release("ServerTasks-1", claim=FIRST)

    clock.advance(timedelta(hours=23, minutes=59))
    assert asks(board).state == "left"
    clock.advance(timedelta(minutes=2))
    assert asks(board).is_granted


def test_ends_that_are_over_a_day_old_go(board, clock):
    for number in range(50):
        board.release(f"ServerTasks-{number}", claim=FIRST)
    clock.advance(timedelta(days=1, minutes=1))

    for number in range(100, 110):
        board.release(f"ServerTasks-{number}", claim=FIRST)

    assert board.client.zcard(board.keys.ended_claims) == 10


def test_ends_are_not_remembered_without_limit(board, clock):
    key, most = board.keys.ended_claims, 100_000
    board.client.eval("for n = 1, ARGV[1] do redis.call('ZADD', KEYS[1], ARGV[2], n) end", 1, key, most, clock.now_ms)

    for number in range(5):
        board.release(f"ServerTasks-1{number}", claim=SECOND)

    assert most - 10 <= board.client.zcard(key) <= most
    assert asks(board, SECOND, 14).state == "left"


# A claim that another one follows


def test_new_claim_keeps_the_place_and_the_old_one_changes_nothing_any_more(board, clock):
    asks(board, THIRD, 9)
    confirms(board, THIRD, 9)
    asks(board)
    asks(board, THIRD, 8)

    assert (asks(board, SECOND).place, asks(board, SECOND).is_new) == (1, False)
    assert [asks(board).state, confirms(board).state, blocks(board).state] == ["left"] * 3
    assert board.release("ServerTasks-1", claim=FIRST) == "left"
    assert confirms(board, SECOND).place == 1


def test_old_claim_confirms_nothing_for_the_new_one(board, clock):
    asks(board)
    asks(board, SECOND)

    assert confirms(board).state == "left"
    assert not board.place("ServerTasks-1").run.collected


def test_new_claim_has_to_be_told_before_it_confirms(board):
    asks(board, THIRD, 9)
    asks(board)
    board.release("ServerTasks-9", claim=THIRD)
    blocks(board)
    asks(board, SECOND)

    confirms(board, SECOND)

    assert board.place("ServerTasks-1").run.collected


def test_new_claim_does_not_put_a_lease_at_risk_that_is_at_work(board, clock):
    asks(board)
    confirms(board)

    asks(board, SECOND)
    clock.advance(minutes(600))
    board.sweep()

    assert board.place("ServerTasks-1").is_granted


def test_claim_that_asks_for_more_than_there_is_follows_nobody(board):
    asks(board)

    with pytest.raises(Exception, match="release before asking for Machines-8"):
        asks(board, SECOND, machines={"Machines-8"})

    assert confirms(board).is_granted
    assert board.place("ServerTasks-1").run.claim == FIRST


def test_claim_that_comes_back_after_its_silence_has_another_follow_it(board, clock):
    asks(board)
    clock.advance(minutes(2))
    asks(board, SECOND)

    assert asks(board).state == "left"


# Steps without claims


def test_without_a_claim_an_answer_collects_as_before(board, clock):
    asks(board, None)
    clock.advance(minutes(600))
    board.sweep()

    assert board.place("ServerTasks-1").is_granted


def test_step_without_a_claim_may_act_on_the_run_of_one(board, clock):
    asks(board)

    assert board.poll("ServerTasks-1").is_granted
    clock.advance(minutes(600))
    assert asks(board, None).is_granted
    assert board.release("ServerTasks-1") == "released"
    assert asks(board).state == "left"


@pytest.mark.parametrize(("claim", "is_again", "written"), [(FIRST, False, 1), (None, True, 1), (None, False, 0)])
def test_end_without_a_claim_that_may_be_late_is_recorded_so(board, timeline, claim, is_again, written):
    if is_again:
        asks(board, None)
        board.release("ServerTasks-1")
    asks(board, claim)

    board.release("ServerTasks-1", by="ci")

    records = list(timeline.read(Filter(kind="claimless")))
    assert len(records) == written
    assert all(record.machines == ("Machines-7",) and record.detail["by"] == "ci" for record in records)


def test_end_with_a_claim_is_not_recorded_as_one_without(board, timeline):
    for claim in (FIRST, SECOND):
        asks(board, claim)
        board.release("ServerTasks-1", claim=claim)

    assert "claimless" not in kinds(timeline)


# Parked runs


def test_parked_run_that_is_granted_at_once_is_freed_when_its_step_does_not_confirm(board, clock):
    assert asks(board, parked=True).is_granted

    clock.advance(minutes(2))

    assert board.place("ServerTasks-1").state == "expired"


def test_parked_run_that_is_granted_at_once_stays_when_its_step_confirms(board, clock):
    asks(board, parked=True)
    confirms(board)

    clock.advance(minutes(600))
    board.sweep()

    assert board.place("ServerTasks-1").is_granted


def test_late_call_of_a_parked_run_does_not_keep_its_intervention_from_being_answered(board):
    asks(board, THIRD, 9)
    asks(board, parked=True)
    board.release("ServerTasks-9", claim=THIRD)

    assert asks(board, parked=True).is_granted

    assert board.sweep().resumes
    confirms(board)
    assert not board.sweep().resumes


def test_parked_run_needs_nobody_to_confirm_what_its_intervention_is_answered_with(board, clock):
    asks(board, THIRD, 9)
    asks(board, parked=True)
    board.release("ServerTasks-9", claim=THIRD)

    clock.advance(minutes(600))
    board.sweep()

    assert board.place("ServerTasks-1").is_granted


# Families


def family_word(board, number=1):
    return board.place(f"ServerTasks-{number}").run.family_word


def test_child_that_knows_the_word_shares_the_lease(board):
    asks(board)
    confirms(board)

    child = asks(board, SECOND, 2, on_behalf_of="ServerTasks-1", parent_word=family_word(board))

    assert child.is_granted


def test_child_with_another_word_waits_like_a_stranger(board, timeline):
    asks(board)
    confirms(board)

    child = asks(board, SECOND, 2, on_behalf_of="ServerTasks-1", parent_word="d" * 32)

    assert child.place == 1
    assert [record.detail.get("disowned") for record in timeline.read(Filter(kind="joined"))] == [None, True]


def test_word_of_a_family_stays_when_another_execution_asks(board):
    asks(board)
    word = family_word(board)

    asks(board, SECOND)

    assert len(word) == 32 and family_word(board) == word


def test_word_of_a_family_stays_when_its_run_was_silent_for_too_long(board, clock):
    asks(board)
    word = family_word(board)
    clock.advance(minutes(2))

    asks(board)

    assert family_word(board) == word


def test_child_is_believed_where_nobody_knows_the_word_any_more(board, octopus):
    board.join(RunRequest("ServerTasks-1"), WEB)

    assert asks(board, SECOND, 2, on_behalf_of="ServerTasks-1", parent_word="d" * 32).is_granted


# The board closes, and opens


def test_lease_that_was_confirmed_after_a_backup_stays_when_that_comes_back(board, clock):
    asks(board, parked=True)
    board.close(by="ann")
    clock.advance(seconds(30))

    assert board.recover("ServerTasks-1", paused=False) == "kept"
    board.open("test")
    clock.advance(minutes(600))
    board.sweep()

    assert board.place("ServerTasks-1").is_granted


def put_back_in_line(board):
    lost = Rebuilt(raised_ms=1, has_terms=True)
    board.join(RunRequest("ServerTasks-1", claim=FIRST, parked=True, rebuilt=lost), WEB)


def test_parked_wait_that_is_put_back_in_line_is_answered_not_confirmed(board, clock):
    put_back_in_line(board)

    assert board.sweep().resumes
    clock.advance(minutes(600))
    board.sweep()

    assert board.place("ServerTasks-1").is_granted


def test_parked_wait_that_is_put_back_in_line_has_its_claim_again(board):
    asks(board, THIRD, 9)
    put_back_in_line(board)

    assert board.release("ServerTasks-1", claim=SECOND) == "nothing"
    assert board.release("ServerTasks-1", claim=FIRST) == "left"
