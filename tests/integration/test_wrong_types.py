"""A key that somebody else has written with another type: no script leaves half a change, and the key is named."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
import redis

from app.coordination.audit import Audit, Flaw
from app.domain.events import Effect
from app.domain.run import RunRequest
from app.store.errors import WrongType
from app.store.keys import SCRIPT_KEYS
from app.store.script_text import EXPIRY, needs, source
from app.store.scripts import SideScript
from app.store.wrong_types import fixed_keys
from tests.conftest import Clock
from tests.integration.octopus_tells import Octopus as Teller
from tests.integration.test_scripts import BOARD, OTHERS, header_and_body, listed, text_of

FIXED = [key.name for key in SCRIPT_KEYS if not key.is_prefix and key.type != "channel"]

#: Those that change nothing before they have read all that they read, or nothing at all, where nothing is due.
READERS = ("poll", "poll_many", "watched", "carry_on", "offset")

PROCESS = {"project": {"id": "Projects-1"}, "environment": {"id": "Environments-1"}, "deployment_id": "Deployments-1"}


@pytest.fixture
def everything(board):
    """All that is kept, with somebody who holds, waits, is parked, was seen, and who has to collect."""
    board.join(RunRequest("ServerTasks-1", info=PROCESS), {"Machines-7"})
    board.join(RunRequest("ServerTasks-2", claim="a" * 32), {"Machines-7"})
    board.join(RunRequest("ServerTasks-3", parked=True), {"Machines-7"})
    board.join(RunRequest("ServerTasks-4", claim="b" * 32), {"Machines-9"})
    board.reserve("Machines-8", note="disk", by="ann")

    def dump():
        keys = sorted(key for key in board.all_keys() if b":clock:" not in key)
        with board.client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.dump(key)
            return dict(zip(keys, pipe.execute(), strict=True))

    return dump


def replaced(board, key):
    """Put another type under a key; what gives it back."""
    raw, kind = board.client.dump(key), board.client.type(key)
    board.client.delete(key)
    if kind == b"list":
        board.client.set(key, "x")
    else:
        board.client.rpush(key, "x")

    def restore():
        board.client.delete(key)
        if raw:
            board.client.restore(key, 0, raw)

    return restore


def calls_of(board, verb):
    """The arguments of calls that reach the changes of a script; of most any will do, since they look first."""
    polls = [[task, "poll", claim, "", seen] for task, claim in (
        ("ServerTasks-1", ""), ("ServerTasks-2", "a" * 32), ("ServerTasks-3", ""), ("ServerTasks-4", "b" * 32),
    ) for seen in ("", "1000000")]  # fmt: skip
    if verb == "poll":
        yield from polls
    elif verb == "poll_many":
        yield from ([json.dumps([each])] for each in polls)
        yield [json.dumps(polls)]
    else:
        yield ["1" for _ in listed("ARGV", text_of("coordination", verb))]


@pytest.mark.parametrize("with_expiry", [False, True])
@pytest.mark.parametrize(("room", "verb"), BOARD)
def test_script_breaks_off_before_it_changes_anything(board, everything, room, verb, with_expiry):
    text = source(room, verb, with_expiry=with_expiry, witnessed=True)
    script = board.client.register_script(text)
    looks_first = verb not in READERS or (with_expiry and "expire_due" in text)

    for name in FIXED:
        restore = replaced(board, board.keys.named(name))
        before = everything()
        for arguments in calls_of(board, verb):
            try:
                script([board.keys.prefix], ["0", *arguments, "word "])
                assert not looks_first, name
            except redis.ResponseError as error:
                assert "WRONGTYPE" in str(error), name
                assert everything() == before, name
            else:
                restore_all(board, before)
        restore()


def restore_all(board, before):
    for key in set(board.all_keys()) - set(before):
        board.client.delete(key)
    for key, raw in before.items():
        board.client.restore(key, 0, raw, replace=True)


@pytest.mark.parametrize(("room", "verb"), [script for script in BOARD if script[1] not in READERS])
def test_script_looks_at_the_types_before_all_else(room, verb):
    _, body = header_and_body(room, verb)

    first = next(line for line in body.splitlines() if line.strip())
    # That looks first, where it ends what is due.
    assert first == "look_at_types()" or (first == "expire_due()" and EXPIRY in needs(text_of(room, verb)))


def test_library_looks_at_each_key_that_has_one_name():
    _, body = header_and_body("coordination", "lib/types")

    commands = {"hash": "HLEN", "zset": "ZCARD", "set": "SCARD", "stream": "XLEN"}
    expected = {(commands[key.type], key.name.upper()) for key in SCRIPT_KEYS if key.name in FIXED}
    # Each script reads the counters before.
    assert set(re.findall(r'call\("(\w+)", (\w+)\)', body)) == expected - {("HLEN", "COUNTERS")}


@pytest.mark.parametrize("name", FIXED)
def test_process_names_the_key_its_type_and_the_expected_one(board, everything, name):
    restore = replaced(board, board.keys.named(name))
    kind = next(key.type for key in SCRIPT_KEYS if key.name == name)
    before = everything()

    with pytest.raises(
        WrongType, match=rf"{board.keys.named(name)} is a list: expected a {kind}\. Nothing was changed"
    ):
        board.join(RunRequest("ServerTasks-5"), {"Machines-10"})

    assert everything() == before
    restore()
    assert board.join(RunRequest("ServerTasks-5"), {"Machines-10"}).is_granted


def test_fixed_keys_are_those_of_one_name(board):
    assert fixed_keys(board.keys) == [board.keys.named(name) for name in FIXED]


#: Keys beside the board that their scripts are tried with, and arguments of theirs.
BESIDE = {
    "take_permit": (["octopus-permits", "octopus-pause", "octopus-calls"], ["0", 5, 60000, "other", 60000]),
    "pause_requests": (["octopus-pause", "octopus-pause-urgent"], ["0", 60000, 60000]),
    "renew_leader_lock": (["scheduler"], ["token", 1000]),
    "release_leader_lock": (["scheduler"], ["token"]),
    "trim_stream": (["kept"], ["1-0", "1"]),
}


def test_every_script_beside_the_board_is_tried():
    assert {verb for _, verb in OTHERS} == {*BESIDE, "find_records"}


@pytest.mark.parametrize(("room", "verb"), [script for script in OTHERS if script[1] in BESIDE])
def test_script_beside_the_board_breaks_off_before_it_changes_anything(board, everything, room, verb):
    names, arguments = BESIDE[verb]
    keys = [board.keys.named(name) for name in names]
    script = SideScript(board.client, board.keys, room, verb)
    if verb == "take_permit":
        # So that the oldest permit is to go.
        board.client.rpush(keys[0], 1)

    for key in keys:
        restore = replaced(board, key)
        before = everything()
        with pytest.raises(WrongType, match=re.escape(key)):
            script(keys, arguments)
        assert everything() == before
        restore()


@pytest.mark.parametrize(
    ("kind", "value"),
    [("run", "ServerTasks-1"), ("machine", "Machines-7"), ("project", "Projects-1"),
     ("environment", "Environments-1")],
)  # fmt: skip
def test_foreign_index_keeps_nobody_from_its_machines(board, everything, kind, value):
    audit, index = Audit(board.script, board.client, board.keys), board.keys.index(kind, value)
    replaced(board, index)

    assert board.release("ServerTasks-1") == "released"

    assert board.place("ServerTasks-2").is_granted
    assert audit.look() == [Flaw("foreign_key", None, (), index)]
    assert audit.repair() == [Flaw("foreign_key", None, (), index)]
    assert audit.look() == []


def test_foreign_memory_of_a_process_keeps_nobody_from_its_machines(board):
    teller = Teller(board, Clock(board))
    board.join(RunRequest("ServerTasks-1", info=PROCESS), {"Machines-7"})
    board.release("ServerTasks-1")
    plans = [key for key in board.all_keys() if b":plan:" in key]
    assert len(plans) == 2
    restores = [replaced(board, plan) for plan in plans]

    assert teller.tells(Effect.STARTED, "ServerTasks-2", info=PROCESS) == "unresolved"
    assert board.join(RunRequest("ServerTasks-3", info=PROCESS), {"Machines-8"}).is_granted

    assert Audit(board.script, board.client, board.keys).look()[0].code == "foreign_key"
    for restore in restores:
        restore()


def test_poll_of_a_waiter_that_breaks_off_leaves_its_life_as_it_was(board, clock, everything):
    restore = replaced(board, board.keys.machines)
    clock.advance(timedelta(seconds=5))
    before = everything()

    with pytest.raises(WrongType, match="machines is a list"):
        board.poll("ServerTasks-2", claim="a" * 32)

    assert everything() == before
    restore()
