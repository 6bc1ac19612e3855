import re
from datetime import timedelta

import pytest

from app.domain.run import RunRequest, State
from app.store import script_text
from app.store.connection import connect
from app.store.errors import StoreError, StoreUnreachable
from app.store.keys import NAMES
from app.store.script_text import APP, DUE, EXPIRY, needs, source
from app.store.scripts import load
from tests.conftest import opened
from tests.lua_names import defined, inner, used
from tests.open_board import OpenBoard


def text_of(room, name):
    return (APP / room / "lua" / f"{name}.lua").read_text()


ROOMS = ("coordination", "history")

#: Scripts as (room, verb), parts of the library as (room, lib/part).
VERBS = sorted((room, path.stem) for room in ROOMS for path in (APP / room / "lua").glob("*.lua"))
PARTS = sorted((room, f"lib/{path.stem}") for room in ROOMS for path in (APP / room / "lua/lib").glob("*.lua"))

#: Those of the board, which make the names of its keys; the others bring their own.
BOARD = [(room, verb) for room, verb in VERBS if "lib/keys.lua: " in source(room, verb)]
LIGHT = [(room, verb) for room, verb in BOARD if DUE in needs(text_of(room, verb))]
OTHERS = [script for script in VERBS if script not in BOARD]

#: Commands that Redis 6.2 has, as far as scripts may want them.
REDIS_6_2 = set(
    """
    TIME DEL EXISTS EXPIRE PEXPIRE PTTL TTL TYPE UNLINK GET SET INCR INCRBY MGET
    HGET HSET HSETNX HDEL HINCRBY HMGET HGETALL HEXISTS HLEN HKEYS HVALS
    LPUSH RPUSH LPOP RPOP LRANGE LLEN LTRIM LINDEX SADD SREM SISMEMBER SMEMBERS SCARD
    ZADD ZREM ZSCORE ZMSCORE ZCARD ZCOUNT ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZLEXCOUNT ZREMRANGEBYSCORE ZREMRANGEBYLEX
    ZRANK ZPOPMIN XADD XLEN XRANGE XREVRANGE XTRIM XDEL PUBLISH
    """.split()
)


#: What has Redis carry out a command; Lua's own pcall has not.
_CALL = r"(?:\bcall|\bredis\.pcall|\bin_bulk)"


def header_and_body(room, name):
    lines = text_of(room, name).splitlines()
    length = next(number for number, line in enumerate(lines) if not line.startswith("--"))
    body = [re.sub(r"--.*", "", line) for line in lines[length:]]
    return "\n".join(lines[:length]), "\n".join(body)


def numbers(name, text):
    """The numbers of ARGV or KEYS in *text*."""
    return {int(number) for number in re.findall(rf"{name}\[(\d+)\]", text)}


def listed(name, header):
    return [int(number) for number in re.findall(rf"^-- {name}\[(\d+)\] +\S", header, re.M)]


def parts_of(room, verb):
    """The parts in front of a script, in order."""
    return re.findall(r"^-- (lib/\w+)\.lua: ", source(room, verb), re.M)


def test_every_room_with_scripts_is_looked_at():
    assert {path.parent.name for path in APP.rglob("lua") if path.is_dir()} == set(ROOMS)


@pytest.mark.parametrize(("room", "verb"), VERBS)
def test_header_lists_the_arguments_that_the_body_uses(room, verb):
    header, body = header_and_body(room, verb)

    # The first one of those that ask for the time is how much the clock is ahead.
    first = 2 if "lib/clock" in parts_of(room, verb) else 1
    assert set(listed("ARGV", header)) == numbers("ARGV", body)
    assert listed("ARGV", header) == list(range(first, first + len(listed("ARGV", header))))


@pytest.mark.parametrize(("room", "verb"), VERBS)
def test_header_starts_with_the_name_and_says_what_comes_back(room, verb):
    header, body = header_and_body(room, verb)

    assert header.startswith(f"-- {verb}.lua: ")
    assert "\n-- Returns {" in header
    answers = set(re.findall(r'^ *return (?:\{ "|view\(")(\w+)"', body, re.M))
    assert answers <= set(re.findall(r'\{"(\w+)"', header))


@pytest.mark.parametrize(("room", "verb"), BOARD)
def test_scripts_of_the_board_know_no_numbers_of_keys(room, verb):
    assert room == "coordination"
    assert not numbers("KEYS", header_and_body(room, verb)[1])


@pytest.mark.parametrize(("room", "verb"), OTHERS)
def test_header_lists_the_keys_that_the_body_uses(room, verb):
    header, body = header_and_body(room, verb)

    assert set(listed("KEYS", header)) == numbers("KEYS", body) == set(range(1, 1 + len(listed("KEYS", header))))


@pytest.mark.parametrize(("room", "part"), PARTS)
def test_parts_of_the_library_start_with_their_names_and_only_two_know_what_comes_in(room, part):
    header, body = header_and_body(room, part)

    assert header.startswith(f"-- {part}.lua: ")
    assert numbers("ARGV", body) == ({1} if part == "lib/clock" else set())
    assert part == "lib/keys" or not numbers("KEYS", body)


def test_library_lists_and_makes_the_keys_of_the_board():
    header, body = header_and_body("coordination", "lib/keys")

    assert re.findall(r"^--   (\w+)", header, re.M) == [name.rstrip(":") for name in NAMES]
    assert re.findall(r'KEYS\[1\] \.\. "(\S+)"', body) == list(NAMES)
    assert numbers("KEYS", body) == set(listed("KEYS", header)) == {1}


@pytest.mark.parametrize("name", NAMES)
def test_library_makes_the_name_of_a_key_as_the_processes_do(board, name):
    text = "".join(text_of("coordination", f"lib/{part}") for part in ("clock", "schema", "keys"))
    made = f"{text}\nreturn {name.rstrip(':').upper()}"

    assert board.client.eval(made, 1, board.keys.prefix, "0").decode() == board.keys.named(name)


def test_header_of_the_library_lists_the_kinds_of_deadlines_and_holders():
    header, _ = header_and_body("coordination", "lib/keys")
    code = "".join(text_of(*script) for script in (*BOARD, *(("coordination", part) for _, part in PARTS)))

    written = set(re.findall(r'"ZADD", DEADLINES, [^"]+"(\w+)\\0"', code))
    assert written == set(re.search(r"deadlines +zset +(\S+) NUL task", header)[1].split("|")) | {"reservation"}
    written = set(re.findall(r'\bhold\("(\w+)"', code))
    assert written == set(re.search(r"NUL (\S+) NUL task id, and machine NUL reservation", header)[1].split("|"))


def test_header_of_the_library_lists_the_fields_of_the_counters():
    header, _ = header_and_body("coordination", "lib/keys")
    code = "".join(text_of(*script) for script in (*BOARD, *(("coordination", part) for _, part in PARTS)))

    written = set(re.findall(r'"H\w+", COUNTERS, "(\w+)"', code))
    for counters in re.findall(r"write_counters\((.*)\)", code):
        written |= set(re.findall(r'"(\w+)"', counters))
    words = header.partition("counters      hash    ")[2].partition("\n--   machines")[0]
    ends = (
        "_at",
        "order",
        "token",
        "family",
        "stamp",
        "replicas",
        "epoch",
        "change",
        "word",
        "lost",
        "_cause",
        "shift_ms",
        "shift_changes",
        "unrecorded",
        "unrecorded_run",
        "offset_least",
        "soonest",
        "schema",
        "_writer",
        "foreign_key",
    )
    named = {name for name in re.findall(r"\w+", words) if name.endswith(ends)}
    assert {name for name in written if not name.startswith("octopus_")} == named
    for name in written - named:
        assert name in words or f" {name.removeprefix('octopus')}" in words


@pytest.mark.parametrize(("room", "verb"), VERBS)
def test_header_lists_the_fields_of_json_that_the_body_reads(room, verb):
    header, body = header_and_body(room, verb)

    for names, values in re.findall(r"^ *local ([\w, ]+) = (.*cjson\.decode\(ARGV.*)$", body, re.M):
        for name, value in zip(names.split(", "), re.findall(r"cjson\.decode\(ARGV|[^,]+", values), strict=False):
            if value.startswith("cjson"):
                assigned = " ".join(re.findall(rf"^ *((?:{name}\.\w+(?:, )?)+) =", body, re.M))
                fields = set(re.findall(rf"\b{name}\.(\w+)", body)) - set(re.findall(rf"{name}\.(\w+)", assigned))
                assert fields <= set(re.findall(r"\w+", header))


def parts_with(room, names):
    """The parts that define one of *names*."""
    return {
        part.removeprefix("lib/") for where, part in PARTS if where == room and defined(text_of(room, part)) & names
    }


@pytest.mark.parametrize(("room", "name"), [*VERBS, *PARTS])
def test_needs_are_the_parts_that_define_what_is_used(room, name):
    text = text_of(room, name)

    # Two parts define expire_due, and one of them is named.
    chosen = {DUE, EXPIRY} & set(needs(text))
    assert len(chosen) == ("expire_due" in used(text))
    assert set(needs(text)) == parts_with(room, used(text) - {"expire_due"}) | chosen
    assert len(needs(text)) == len(set(needs(text)))


@pytest.mark.parametrize(("room", "name"), [*VERBS, *PARTS])
def test_nothing_has_the_name_of_what_a_needed_part_defines(room, name):
    """Else it would be taken for that, or that for it, when what is shared becomes a field of a table."""
    text = text_of(room, name)

    for part in needs(text):
        assert not inner(text) & (defined(text_of(room, f"lib/{part}")) - {"expire_due"})


@pytest.mark.parametrize(("room", "verb"), VERBS)
def test_only_who_ends_runs_carries_what_ends_those_that_are_due(room, verb):
    names = needs(text_of(room, verb))

    assert (EXPIRY in names) == ("ends" in names)


@pytest.mark.parametrize("is_closed", [False, True])
@pytest.mark.parametrize(("room", "verb"), LIGHT)
def test_script_changes_nothing_where_another_text_has_to_end_what_is_due(
    board, clock, a_run, namespace, room, verb, is_closed
):
    def everything():
        return {key: board.client.dump(key) for key in board.client.keys(f"*{namespace}*")}

    board.join(a_run(), {"Machines-7"})
    board.join(a_run(), {"Machines-7"})
    if is_closed:
        board.close(by="ann", reason="")
    else:
        clock.advance(timedelta(hours=1))
    before = everything()

    arguments = [board.script.offset_ms, *("1" for _ in listed("ARGV", text_of(room, verb)))]
    assert load(board.client, room, verb)([board.keys.prefix], arguments) == [b"due"]

    assert everything() == before and len(before) > 5


@pytest.mark.parametrize(("room", "verb"), LIGHT)
def test_texts_of_a_script_differ_in_the_parts_in_front_of_it(room, verb):
    (light, own), (full, full_own) = (
        script_text.parts_of(room, verb, with_expiry=with_expiry) for with_expiry in (False, True)
    )

    assert own == full_own and text_of(room, verb) in own
    assert light[DUE] == text_of(room, f"lib/{DUE}") and EXPIRY not in light
    assert full[EXPIRY] == text_of(room, f"lib/{EXPIRY}") and DUE not in full


def test_what_is_due_ends_before_a_script_that_carries_little_answers(board, clock, a_run):
    board.join(a_run(), {"Machines-7"})
    waiter = a_run()
    board.join(waiter, {"Machines-7"}, ttl=timedelta(seconds=10))
    clock.advance(timedelta(seconds=11))

    assert board.place(waiter.task_id).state == State.EXPIRED


@pytest.mark.parametrize(("room", "name"), [*VERBS, *PARTS])
def test_every_name_is_defined_by_somebody(room, name):
    names = {defined_name for where, part in PARTS if where == room for defined_name in defined(text_of(room, part))}

    assert used(text_of(room, name)) <= names


def test_no_name_is_defined_twice():
    names = [name for room, part in PARTS for name in defined(text_of(room, part))]

    assert len(names) > 50 and sorted(names) == sorted([*set(names), "expire_due"])


@pytest.mark.parametrize(("room", "verb"), VERBS)
def test_parts_stand_behind_those_that_they_need_each_once(room, verb):
    parts = parts_of(room, verb)

    assert len(parts) == len(set(parts))
    for at, part in enumerate(parts):
        assert {f"lib/{name}" for name in needs(text_of(room, part))} <= set(parts[:at])


def test_every_script_has_a_method_that_calls_it():
    calls = r'self\.(?:_?script|script\.queue|_word|_execute|_call_due)\(\s*(?:pipe, )?"(\w+)"'
    called = set()
    for path in APP.rglob("*.py"):
        text = path.read_text()
        called |= {("coordination", verb) for verb in re.findall(calls, text)}
        called |= set(re.findall(r'\b(?:load\(client|SideScript\(client, keys), "(\w+)", "(\w+)"\)', text))

    assert called == set(VERBS)


@pytest.mark.parametrize(("room", "name"), [*VERBS, *PARTS])
def test_scripts_use_commands_of_redis_6_2_only(room, name):
    _, body = header_and_body(room, name)

    commands = re.findall(rf'{_CALL}\(\s*"(\w+)"', body)
    # One function calls what others name.
    unnamed = 2 if "function in_bulk(command" in body else 0
    assert len(commands) + unnamed == len(re.findall(rf"{_CALL}\(", body))
    assert set(commands) <= REDIS_6_2


def test_scripts_are_loaded_again_when_the_server_has_forgotten_them(board, a_run):
    board.join(a_run(), {"Machines-7"})
    board.client.script_flush()

    assert board.join(a_run(), {"Machines-7"}).is_waiting


def test_error_of_a_script_is_an_error_of_the_store(board, a_run):
    board.client.set(board.keys.runs, "no hash")

    with pytest.raises(StoreError, match="runs is a string: expected a hash"):
        board.join(a_run(), {"Machines-7"})
    board.client.delete(board.keys.runs)


def test_server_that_is_not_there_is_unreachable(tmp_path):
    board = OpenBoard(connect(f"unix://{tmp_path}/none.sock"))

    with pytest.raises(StoreUnreachable, match="does not answer"):
        board.join(RunRequest("ServerTasks-1"), {"Machines-7"})


def test_everything_a_board_writes_has_the_hash_tag_of_its_namespace(board, a_run, namespace):
    before = set(board.client.keys("*"))
    holder, waiter = a_run(info={"project": {"id": "Projects-7"}, "deployment_id": "Deployments-1"}), a_run()
    board.join(holder, {"Machines-7"})
    board.join(waiter, {"Machines-7"})
    board.reserve("Machines-8", note="disk", by="ann")
    board.release(holder.task_id)

    written = set(board.client.keys(f"*{namespace}*")) - before

    assert len(written) > 10
    assert all(key.startswith(f"octowait:{{{namespace}}}:".encode()) for key in written)


def test_namespaces_know_nothing_of_each_other(board, a_run):
    other = opened(OpenBoard(board.client, namespace=f"{board.keys.namespace}x"))
    board.join(a_run(), {"Machines-7"})

    assert other.join(a_run(), {"Machines-7"}).is_granted
