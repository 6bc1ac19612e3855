"""What the runs of a token may add on a day: machines that nobody knew, and data in Redis."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.domain.access.identity import Identity, Limits
from app.domain.errors import QuotaReached
from app.domain.run import RunRequest

DAY = timedelta(days=1)
WEB = Identity("web", Limits(max_new_machines=3))
API = Identity("api", Limits(max_new_machines=3))
#: A run with a name as long as this adds some 0.4 MB.
LONG = {"deployment": "x" * 400_000}
LIMITED_DATA = Identity("web", Limits(max_new_mb=1))


def ask(board, number, *machines, who=WEB, **fields):
    return board.join(RunRequest(f"ServerTasks-{number}", identity=who, **fields), [f"Machines-{n}" for n in machines])


def dump(board):
    """All that is kept, but for how processes compared their clocks."""
    keys = sorted(key for key in board.all_keys() if b":clock:" not in key)
    return {key: board.client.dump(key) for key in keys}


def is_refused(board, *machines, number=99, who=WEB, **fields):
    """Whether a run is refused, with nothing changed; where it is not, it ends."""
    # What is due is no change by the one who asks.
    board.sweep()
    before = dump(board)
    try:
        ask(board, number, *machines, who=who, **fields)
    except QuotaReached:
        assert dump(board) == before
        return True
    board.release(f"ServerTasks-{number}")
    return False


@pytest.fixture
def _spent(board, clock):
    """*WEB* has named two new machines, at noon."""
    clock.advance(timedelta(milliseconds=DAY // timedelta(milliseconds=1) * 3 // 2 - clock.now_ms % 86_400_000))
    board.join(RunRequest("ServerTasks-1"), ["Machines-1"])
    ask(board, 2, 1, 2, 3)


@pytest.mark.usefixtures("_spent")
@pytest.mark.parametrize(
    ("machines", "who", "expected"),
    [
        ((4,), WEB, False),
        ((4, 5), WEB, True),
        ((1, 2, 3, 4), WEB, False),
        ((1, 2, 3), WEB, False),
        ((4, 5, 6), API, False),
        ((4, 5, 6, 7), API, True),
        ((4, 5, 6, 7), Identity("web"), False),
        ((4, 5, 6, 7), Identity(None), False),
        ((4, 5, 6, 7), None, False),
        ((1, 2), Identity("web", Limits(max_new_machines=1)), False),
        ((4,), Identity("web", Limits(max_new_machines=1)), True),
    ],
    ids=["one more", "two more", "with known ones", "known ones", "another's", "too many of another", "no limit",
         "admin", "rebuilt", "known ones beyond a lowered limit", "new one beyond a lowered limit"],
)  # fmt: skip
def test_token_may_name_so_many_new_machines_a_day_only(board, machines, who, expected):
    assert is_refused(board, *machines, who=who) is expected


@pytest.mark.usefixtures("_spent")
@pytest.mark.parametrize(
    ("later", "expected"), [(timedelta(hours=11), True), (timedelta(hours=13), False), (3 * DAY, False)]
)
def test_next_day_of_utc_begins_anew(board, clock, later, expected):
    clock.advance(later)

    assert is_refused(board, 4, 5) is expected


@pytest.mark.usefixtures("_spent")
def test_day_that_begins_anew_counts_again(board, clock):
    clock.advance(DAY)
    ask(board, 3, 4, 5)

    assert is_refused(board, 6, 7)
    assert not is_refused(board, 6)


def test_step_that_asks_again_counts_once(board):
    ask(board, 1, 1, 2, claim="a" * 32)
    ask(board, 1, 1, 2, claim="a" * 32)
    ask(board, 1, 1, 2, claim="b" * 32)
    board.release("ServerTasks-1")
    ask(board, 1, 1, 2, claim="c" * 32)

    assert not is_refused(board, 3)
    assert is_refused(board, 4, 5)


def test_run_that_reaches_its_limit_and_waits_is_polled_and_ended(board):
    board.join(RunRequest("ServerTasks-1"), ["Machines-1"])
    ask(board, 2, 1, 2, 3, 4)
    board.release("ServerTasks-1")

    assert board.poll("ServerTasks-2", owner="web").is_granted
    assert ask(board, 2, 1, 2, 3, 4).is_granted
    assert board.release("ServerTasks-2", owner="web") == "released"


def test_run_that_another_token_has_claimed_keeps_its_hold_where_its_owner_may_not_have_it(board):
    ask(board, 1, 1, who=API)

    assert is_refused(board, 1, 2, 3, 4, 5, number=1, verdict="take")
    assert board.place("ServerTasks-1").run.owner == "api"


@pytest.mark.parametrize("who", [LIMITED_DATA, Identity("web", Limits(max_new_mb=1, max_new_machines=9))])
def test_token_may_add_so_many_bytes_a_day_only(board, clock, who):
    for number in (1, 2):
        ask(board, number, 1, who=who, info=LONG)
        ask(board, number, 1, who=who, info=LONG)

    assert is_refused(board, 1, who=who, info=LONG)
    assert not is_refused(board, 1, number=98, who=Identity("api", who.limits), info=LONG)
    assert not is_refused(board, 1, who=who)
    clock.advance(DAY)
    assert not is_refused(board, 1, who=who, info=LONG)


@pytest.mark.parametrize(
    ("runs", "new", "known", "info"),
    [(40, 0, 1, {}), (3, 40, 0, {}), (5, 0, 400, {}), (10, 0, 1, {"deployment": "x" * 20_000}),
     (10, 2, 5, {"project": {"id": "Projects-1", "name": "Web"}, "environment": {"id": "Environments-1"}})],
    ids=["short", "new machines", "many machines", "long texts", "as usual"],
)  # fmt: skip
def test_bytes_that_are_counted_are_near_those_that_redis_keeps(board, runs, new, known, info):
    def live(number):
        names = [*range(known), *range(1000 * number, 1000 * number + new)]
        ask(board, number, *names, who=Identity("web", Limits(max_new_mb=99)), info=info, claim="a" * 32)
        board.poll(f"ServerTasks-{number}", claim="a" * 32)
        board.release(f"ServerTasks-{number}", claim="a" * 32)

    def kept_and_counted():
        counted = int(board.client.hget(board.keys.quotas, "bytes\0web"))
        return sum(board.client.memory_usage(key, samples=0) for key in board.all_keys()), counted

    for number in range(1, 4):
        live(number)
    before = kept_and_counted()
    for number in range(4, 4 + runs):
        live(number)

    kept, counted = (now - then for now, then in zip(kept_and_counted(), before, strict=True))
    assert 0.8 * kept <= counted <= 3 * kept


def test_what_is_counted_goes_by_itself(board):
    ask(board, 1, 1)

    assert 0 < board.client.ttl(board.keys.quotas) <= 2 * DAY.total_seconds()


@pytest.mark.parametrize("who", [None, Identity("web"), Identity("web", Limits(max_waiting=5))])
def test_nothing_is_counted_without_such_a_limit(board, who):
    ask(board, 1, 1, who=who)

    assert not board.client.exists(board.keys.quotas)


def test_refusal_names_the_token_the_limit_and_what_to_do(board):
    ask(board, 1, 1, 2)
    with pytest.raises(QuotaReached) as machines:
        ask(board, 2, 1, 3, 4)
    with pytest.raises(QuotaReached) as data:
        ask(board, 3, 1, who=LIMITED_DATA, info=LONG | {"release": "x" * 1_200_000})

    assert (machines.value.code, data.value.code) == ("max_new_machines_reached", "max_new_mb_reached")
    assert str(machines.value) == (
        "runs of the token web have named 2 machines today that octowait had not known, and this one names 2 more, "
        "of 3 such machines a day (max_new_machines of the token): look whether its machines are right, such as "
        "Machines-3; whoever runs octowait can raise the limit, and a new day begins at 00:00 UTC"
    )
    assert "added 0.0 MB to Redis today, and this one would add 1.6 MB, of 1 MB a day (max_new_mb" in str(data.value)
