"""Rule 24: nothing is granted on knowledge older than what octowait has already acted on."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from app.domain.records import Filter
from app.domain.run import RunRequest
from app.history.timeline import Timeline
from app.settings import Settings
from app.settings.generated import with_secrets
from app.store.seal import MOST_GENUINE, Seal
from app.store.witness import Seen, speaking_for
from app.web import create_app
from tests.conftest import TOKENS, services_on
from tests.integration.older_redis import Backup

STEP_TOKENS = f"step:ci:{TOKENS['step']}"
WEB = {"webhook_secret": "w" * 20, "tokens": STEP_TOKENS}
STEP = {"Authorization": f"Bearer {TOKENS['step']}"}

ONE, TWO, THREE = (RunRequest(f"ServerTasks-{number}") for number in (1, 2, 3))


def doors(board):
    """Every closing and opening since the test began, as (kind, cause)."""
    return [
        (r.kind, r.cause) for r in Timeline(board.client, board.keys).read(Filter()) if r.kind in ("closed", "opened")
    ]


def closings(board):
    return list(Timeline(board.client, board.keys).read(Filter(kind="closed")))


@pytest.fixture
def other(make_board):
    """Another process on the same board."""
    return make_board()


def test_older_redis_is_noticed_before_it_grants(board):
    """The backup was made while ServerTasks-1 held; ServerTasks-2 was granted since."""
    board.join(ONE, {"Machines-7"})
    backup = Backup(board)
    board.release("ServerTasks-1")
    token = board.join(TWO, {"Machines-7"}).fencing_token
    backup.restore()

    board.release("ServerTasks-1")

    assert board.join(THREE, {"Machines-7"}).is_waiting
    assert doors(board) == [("closed", "rolled_back")]
    board.open("operator")
    assert board.place("ServerTasks-3").fencing_token > token


def test_record_says_what_was_seen_and_what_is_there(board):
    board.join(ONE, {"Machines-7"})
    before = board.script.witness.latest
    backup = Backup(board)
    board.join(TWO, {"Machines-8"})
    seen = board.script.witness.latest
    backup.restore()

    board.sweep()

    [closed] = closings(board)
    assert Seen(**closed.detail["witness"]) == seen
    assert Seen(**closed.detail["here"]) == before
    assert closed.detail["lost"] == seen.number - before.number > 0


@pytest.mark.parametrize(
    "act",
    [
        lambda board: board.join(TWO, {"Machines-8"}),
        lambda board: board.poll("ServerTasks-1", claim="c" * 16),
        lambda board: board.release("ServerTasks-1"),
        lambda board: board.reserve("Machines-8", note="disk", by="ann"),
        lambda board: board.join(RunRequest("ServerTasks-4", parked=True), {"Machines-7"}),
    ],
    ids=["grant", "collect", "release", "reserve", "park"],
)
def test_every_change_of_who_waits_or_holds_counts(board, act):
    claim = "c" * 16
    board.join(RunRequest("ServerTasks-1", claim=claim), {"Machines-7"})
    backup = Backup(board)
    act(board)
    backup.restore()

    board.place("ServerTasks-1")

    assert doors(board) == [("closed", "rolled_back")]


def test_look_at_a_run_is_no_change(board):
    board.join(ONE, {"Machines-7"})
    before = board.script.witness.latest

    board.place("ServerTasks-1")
    board.sweep()

    assert board.script.witness.latest == before


def test_history_that_has_overtaken_the_one_that_was_seen_is_another(board, other):
    """A plain counter is not enough: who did not know goes on, and the numbers grow above all that was seen."""
    board.join(ONE, {"Machines-7"})
    backup = Backup(board)
    board.release("ServerTasks-1")
    board.join(TWO, {"Machines-7"})
    backup.restore()
    # Its witness is older than the backup.
    for number in range(5):
        other.join(RunRequest(f"ServerTasks-9{number}"), {f"Machines-9{number}"})
    assert other.script.witness.latest.number > board.script.witness.latest.number
    assert doors(board) == []

    assert board.join(THREE, {"Machines-3"}).is_waiting

    assert doors(board) == [("closed", "rolled_back")]


def test_history_with_the_same_numbers_is_another(board, other):
    board.join(ONE, {"Machines-7"})
    backup = Backup(board)
    board.join(TWO, {"Machines-8"})
    number = board.script.witness.latest.number
    backup.restore()
    other.join(THREE, {"Machines-8"})
    assert other.script.witness.latest.number == number

    board.sweep()

    assert doors(board) == [("closed", "rolled_back")]


def test_redis_from_before_an_opening_does_not_know_the_epoch(board):
    backup = Backup(board)
    board.close(by="ann")
    board.open("operator")
    backup.restore()

    board.sweep()

    assert doors(board) == [("closed", "rolled_back")]


def test_redis_that_was_closed_once_is_closed_anew(board, clock):
    """What was found out for that closing says nothing about what came after it."""
    board.close(by="ann")
    backup = Backup(board)
    board.open("operator")
    board.join(ONE, {"Machines-7"})
    clock.advance(timedelta(minutes=10))
    backup.restore()

    board.sweep()

    assert doors(board) == [("closed", "operator"), ("closed", "rolled_back")]
    assert clock.now_ms - board.closed_since_ms() < 60_000


def test_closed_board_that_was_told_closes_no_more_for_the_same(board, other):
    """Nothing closes for ever: what comes before what a closed board was told of is known by then."""
    board.join(ONE, {"Machines-7"})
    backup = Backup(board)
    board.join(TWO, {"Machines-8"})
    other.sweep()
    board.join(THREE, {"Machines-9"})
    backup.restore()
    board.sweep()
    board.open("operator")

    other.sweep()

    assert doors(board) == [("closed", "rolled_back"), ("opened", "operator")]
    assert other.join(RunRequest("ServerTasks-4"), {"Machines-4"}).is_granted


def test_witness_of_more_closes_the_board_again(board, other):
    board.join(ONE, {"Machines-7"})
    backup = Backup(board)
    board.join(TWO, {"Machines-8"})
    other.join(THREE, {"Machines-9"})
    backup.restore()
    board.sweep()
    board.open("operator")

    other.sweep()

    assert doors(board) == [("closed", "rolled_back"), ("opened", "operator"), ("closed", "rolled_back")]
    board.open("operator")
    for process in (board, other, board):
        process.sweep()
    assert board.closed_since_ms() is None


def test_board_that_closed_for_its_age_and_went_back_again_closes_again(board):
    """Before the opening it goes back a second time: a rebuild under way must not open it."""
    board.join(ONE, {"Machines-7"})
    backup = Backup(board)
    board.join(TWO, {"Machines-8"})
    backup.restore()
    board.sweep()
    closed_ms = board.closed_since_ms()
    backup.restore()

    assert not board.open("rebuilt", closed_ms=closed_ms)

    assert board.closed_since_ms()


def test_redis_that_has_lost_everything_is_empty_not_older(board, other):
    board.join(ONE, {"Machines-7"})
    token = board.place("ServerTasks-1").fencing_token
    other.sweep()
    for key in board.all_keys():
        board.client.delete(key)

    for process in (board, other):
        assert process.join(TWO, {"Machines-7"}).is_waiting

    assert doors(board) == [("closed", "empty")]
    board.open("rebuilt")
    assert board.place("ServerTasks-2").fencing_token > token
    for process in (board, other, board):
        process.sweep()
    assert board.closed_since_ms() is None


def test_numbers_go_on_above_all_that_was_seen(board, other):
    board.join(ONE, {"Machines-7"})
    backup = Backup(board)
    for number in range(10, 20):
        board.join(RunRequest(f"ServerTasks-{number}"), {f"Machines-{number}"})
    seen = board.script.witness.latest
    backup.restore()

    board.sweep()

    assert board.script.witness.latest.number > seen.number
    assert board.script.witness.latest.epoch != seen.epoch


def test_step_is_a_witness(board, other):
    """No process knows of what was lost: all have ended since."""
    other.join(ONE, {"Machines-7"})
    backup = Backup(board)
    other.release("ServerTasks-1")
    other.join(TWO, {"Machines-7"})
    seen = other.script.witness.latest
    backup.restore()

    with speaking_for(seen):
        assert board.poll("ServerTasks-2") is None

    assert doors(board) == [("closed", "rolled_back")]


def test_opening_says_how_many_changes_are_lost(board, timeline):
    board.join(ONE, {"Machines-7"})
    backup = Backup(board)
    board.join(TWO, {"Machines-8"})
    board.join(THREE, {"Machines-9"})
    backup.restore()
    board.sweep()

    board.open("no_api_key")
    board.close(by="ann")
    board.open("operator")

    assert [r.detail.get("lost") for r in timeline.read(Filter(kind="opened"))] == [2, None]


def test_board_from_before_there_was_a_witness_goes_on(board):
    """An upgrade: its data name no epoch, and the first change begins one."""
    board.client.hdel(board.keys.counters, "epoch", "change", "word")
    board.client.delete(board.keys.changes, board.keys.epochs)
    board.script.witness.latest = None

    assert board.join(ONE, {"Machines-7"}).is_granted
    board.sweep()

    assert doors(board) == []
    assert board.script.witness.latest.number == 1


def test_witness_of_long_ago_closes_nothing(board, other):
    """Words are remembered for some time only; a number that is not above the last one passes."""
    other.join(ONE, {"Machines-7"})
    board.join(TWO, {"Machines-8"})
    board.client.xtrim(board.keys.changes, maxlen=0, approximate=False)

    other.sweep()

    assert doors(board) == []


def test_tokens_grow_with_the_time_and_with_every_grant(board, clock):
    tokens = [board.join(RunRequest(f"ServerTasks-{n}"), {f"Machines-{n}"}).fencing_token for n in range(20)]

    assert tokens == sorted(set(tokens))
    assert abs(tokens[0] - clock.now_ms) < 60_000


def test_closed_board_tells_of_no_grant_that_nobody_has_collected(board, clock, timeline):
    """It may have been taken back since, and its machine given to another."""
    claims = {number: str(number) * 16 for number in (2, 3)}
    board.join(ONE, {"Machines-7"})
    for number, claim in claims.items():
        board.join(RunRequest(f"ServerTasks-{number}", claim=claim), {"Machines-7"})
    board.release("ServerTasks-1")
    assert board.place("ServerTasks-2").is_granted
    backup = Backup(board)
    board.release("ServerTasks-2", cause="forced", by="ann", reason="it does not answer")
    assert board.place("ServerTasks-3").is_granted
    backup.restore()

    assert board.poll("ServerTasks-2", claim=claims[2]).is_waiting

    kinds = [(r.kind, r.cause) for r in timeline.read(Filter(task_id="ServerTasks-2"))]
    assert kinds == [("joined", None), ("granted", None), ("released", "withdrawn"), ("joined", "released")]
    board.open("operator")
    assert board.place("ServerTasks-2").is_granted, "it has kept its place"


def test_grant_that_was_collected_stays(board):
    board.join(ONE, {"Machines-7"})
    board.close(by="ann")

    assert board.poll("ServerTasks-1").is_granted
    assert board.join(ONE, {"Machines-7"}).is_granted


def test_look_changes_nothing_on_a_closed_board(board):
    board.join(RunRequest("ServerTasks-1", claim="1" * 16), {"Machines-7"})
    board.close(by="ann")

    assert board.place("ServerTasks-1").is_granted
    assert board.join(RunRequest("ServerTasks-1", claim="1" * 16), {"Machines-7"}).is_waiting


def test_grant_that_is_withdrawn_waits_with_all_that_belongs_to_its_wait(board, clock):
    """Its time-out, and its family."""
    board.join(ONE, {"Machines-7"})
    child = RunRequest("ServerTasks-2", claim="2" * 16, timeout=timedelta(minutes=5), on_behalf_of="ServerTasks-1")
    assert board.join(child, {"Machines-7"}).is_granted
    board.close(by="ann")

    assert board.poll("ServerTasks-2", claim="2" * 16).is_waiting

    [family] = {board.place(task).run.family for task in ("ServerTasks-1", "ServerTasks-2")}
    assert board.waiting_children(family) == ["ServerTasks-2"]
    clock.advance(timedelta(seconds=100))
    board.sweep(serving=True)
    board.poll("ServerTasks-2", claim="2" * 16)
    board.open("operator")
    assert board.place("ServerTasks-2").is_granted


@pytest.mark.parametrize("parked", [True, False])
def test_rebuild_puts_a_run_back_in_line_that_waits_and_was_taken_for_granted(board, clock, parked):
    board.join(ONE, {"Machines-7"})
    board.join(RunRequest("ServerTasks-2", parked=parked), {"Machines-7"})
    board.release("ServerTasks-1")
    clock.advance(timedelta(seconds=1))
    board.close(by="ann")

    assert board.recover("ServerTasks-2", paused=True, parked=parked) == ("withdrawn" if parked else "kept")
    assert board.place("ServerTasks-2").is_waiting == parked
    assert board.sweep().resumes is False


def test_rebuild_leaves_a_parked_run_at_work_that_was_taken_for_uncollected(board, clock):
    """Its intervention was answered after the backup was made; it is paused for somebody else by now."""
    board.join(ONE, {"Machines-7"})
    board.join(RunRequest("ServerTasks-2", parked=True), {"Machines-7"})
    board.release("ServerTasks-1")
    board.close(by="ann")

    assert board.recover("ServerTasks-2", paused=True) == "kept"

    board.open("operator")
    assert board.place("ServerTasks-2").is_granted


def test_without_a_key_an_older_redis_stays_closed_for_the_life_of_a_waiter(board, clock, redis_url, timeline):
    services = services_on(board, redis_url)
    board.join(ONE, {"Machines-7"})
    backup = Backup(board)
    board.join(TWO, {"Machines-8"})
    backup.restore()
    services.react_to_sweep(board.sweep(serving=True))
    clock.advance(timedelta(seconds=119))
    services.react_to_sweep(board.sweep(serving=True))
    assert board.closed_since_ms()
    clock.advance(timedelta(seconds=2))

    services.react_to_sweep(board.sweep(serving=True))

    [opened] = timeline.read(Filter(kind="opened"))
    assert (opened.cause, opened.detail["lost"]) == ("no_api_key", 1)


def test_without_a_key_an_empty_redis_opens_at_once(board, redis_url):
    services = services_on(board, redis_url)
    board.client.delete(*board.all_keys())

    services.react_to_sweep(board.sweep(serving=True))

    assert board.closed_since_ms() is None


KEY = "k" * 32


def test_what_a_step_has_seen_is_one_word_that_the_scripts_take():
    seen = Seen("1763838000000-ab12cd34ef56", 123_456, "ab12cd34ef56")

    word = Seal(KEY, "default").word(seen)

    assert re.fullmatch(r"[!-~]{20,200}", word), "as steps/parts take it"
    assert Seal(KEY, "default").read(word) == seen


@pytest.mark.parametrize(
    "forged",
    [
        lambda word: word.replace(".123456.", ".123457."),
        lambda word: word[:-1] + ("A" if word[-1] != "A" else "B"),
        lambda word: word.rpartition(".")[0],
        lambda word: word.rpartition(".")[0] + ".",
        lambda word: Seal("x" * 32, "default").word(Seen("1-a", 1, "a")),
        lambda word: Seal(KEY, "other").word(Seen("1-a", 1, "a")),
        lambda word: "é" * 40,
        lambda word: "",
    ],
)
def test_word_that_is_none_of_ours_says_nothing(forged):
    seal = Seal(KEY, "default")
    word = seal.word(Seen("1-a", 123_456, "a"))

    assert seal.read(forged(word)) is None
    # Also where the genuine one was read before, or the same once more.
    assert seal.read(word) and seal.read(forged(word)) is None and seal.read(forged(word)) is None


@pytest.mark.parametrize("is_told", [False, True])
def test_word_says_whether_its_step_was_told_of_a_grant(is_told):
    seal = Seal(KEY, "default")
    word = seal.word(Seen("1-a", 123_456, "a"), is_told)

    seen = seal.read(word)
    other = word.replace(".t123456.", ".123456.") if is_told else word.replace(".123456.", ".t123456.")

    assert (seen, seen.is_told) == (Seen("1-a", 123_456, "a"), is_told)
    assert seal.read(other) is None


def test_signature_of_a_word_that_many_repeat_is_computed_once():
    class Counting(Seal):
        signatures = 0

        def _signature(self, text):
            self.signatures += 1
            return super()._signature(text)

    first, *others = (Seal(KEY, "default").word(Seen("1-a", number, "a")) for number in range(2 * MOST_GENUINE))
    seal = Counting(KEY, "default")

    assert [seal.read(first) for _ in range(10)] == [Seen("1-a", 0, "a")] * 10 and seal.signatures == 1
    # It is forgotten for newer ones, and not for such as nobody has signed.
    for number in range(2 * MOST_GENUINE):
        seal.read(f"1-a.{number}.a.forged")
    assert seal.read(first) and seal.signatures == 1 + 2 * MOST_GENUINE
    for word in others:
        assert seal.read(word)
    assert seal.read(first) and seal.signatures == 1 + 4 * MOST_GENUINE


def test_step_tells_with_its_next_call_what_it_was_told(board, make_board, redis_url):
    """The process that told it is gone, and its successor knows nothing."""
    first = create_app(services_on(board, redis_url, **WEB, witness_key=KEY)).test_client()
    backup = Backup(board)
    seen = first.put("/api/waits/ServerTasks-1", json={"machines": ["Machines-7"]}, headers=STEP).json["seen"]
    backup.restore()
    other = make_board()
    services = services_on(other, redis_url, **WEB, witness_key=KEY)
    second = create_app(services).test_client()

    forged = second.get(
        "/api/waits/ServerTasks-1", headers={**STEP, "X-Octowait-Seen": seen[:-1] + ("A" if seen[-1] != "A" else "B")}
    )
    assert forged.status_code == 404 and doors(other) == []
    services.metric_buffer.flush()
    assert services.metric_values.values()["octowait_refusals\0unsigned\0n"] == 1

    answer = second.put(
        "/api/waits/ServerTasks-2", json={"machines": ["Machines-7"]}, headers={**STEP, "X-Octowait-Seen": seen}
    )

    assert answer.json["state"] == "waiting"
    assert doors(other) == [("closed", "rolled_back")]


def test_poll_that_blocks_tells_it_before_it_sleeps(board, make_board, redis_url):
    first = create_app(services_on(board, redis_url, **WEB, witness_key=KEY)).test_client()
    board.join(ONE, {"Machines-7"})
    board.join(TWO, {"Machines-7"})
    backup = Backup(board)
    board.join(THREE, {"Machines-7"})
    seen = first.get("/api/waits/ServerTasks-2", headers=STEP).json["seen"]
    backup.restore()
    other = make_board()
    second = create_app(services_on(other, redis_url, **WEB, witness_key=KEY)).test_client()

    second.get("/api/waits/ServerTasks-2?block_seconds=0.01", headers={**STEP, "X-Octowait-Seen": seen})

    assert doors(other) == [("closed", "rolled_back")]


def test_without_a_key_steps_are_told_nothing(board, redis_url):
    client = create_app(services_on(board, redis_url, **WEB)).test_client()

    answer = client.put("/api/waits/ServerTasks-1", json={"machines": ["Machines-7"]}, headers=STEP)

    assert answer.json["seen"] is None


def test_key_is_made_once_where_only_this_machine_can_ask(tmp_path):
    first, again = (with_secrets(Settings(data_dir=tmp_path)) for _ in range(2))
    assert first.witness_key and first.witness_key == again.witness_key
    assert (tmp_path / "witness.key").stat().st_mode & 0o777 == 0o600
    assert first.witness_key.get_secret_value() in first.secrets

    public = Settings(data_dir=tmp_path, bind="0.0.0.0:8080", webhook_secret="w" * 20, tokens=STEP_TOKENS)
    assert with_secrets(public).witness_key is None
