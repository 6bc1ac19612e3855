import inspect
import re

import pytest

from app.coordination.board import Board
from app.coordination.reach import Reach
from app.domain.run import Run
from app.store import scripts
from app.store.connection import connect
from app.store.errors import StoreError, StoreUnreachable
from app.store.keys import NAMES
from tests.conftest import opened

LUA = scripts.LUA
SCRIPTS = sorted(path.stem for path in LUA.glob("*.lua"))

#: Commands that Redis 6.2 has, as far as scripts may want them.
REDIS_6_2 = set(
    """
    TIME DEL EXISTS EXPIRE PEXPIRE PTTL TTL TYPE UNLINK GET SET INCR INCRBY MGET
    HGET HSET HSETNX HDEL HINCRBY HMGET HGETALL HEXISTS HLEN
    LPUSH RPUSH LPOP RPOP LRANGE LLEN LTRIM SADD SREM SISMEMBER SMEMBERS SCARD
    ZADD ZREM ZSCORE ZMSCORE ZCARD ZCOUNT ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZLEXCOUNT ZREMRANGEBYSCORE ZREMRANGEBYLEX
    ZRANK ZPOPMIN XADD XLEN XRANGE XREVRANGE XTRIM XDEL PUBLISH
    """.split()
)


def header_and_body(name):
    lines = (LUA / f"{name}.lua").read_text().splitlines()
    length = next(number for number, line in enumerate(lines) if not line.startswith("--"))
    body = [re.sub(r"--.*", "", line) for line in lines[length:]]
    return "\n".join(lines[:length]), "\n".join(body)


def arguments(text):
    return {int(number) for number in re.findall(r"ARGV\[(\d+)\]", text)}


@pytest.mark.parametrize("name", SCRIPTS)
def test_header_lists_the_arguments_that_the_body_uses(name):
    header, body = header_and_body(name)

    listed = arguments("\n".join(re.findall(r"^-- ARGV\[\d+\] ", header, re.M)))
    assert listed == arguments(body)
    assert sorted(listed) == list(range(2, 2 + len(listed)))


@pytest.mark.parametrize("name", SCRIPTS)
def test_header_starts_with_the_name_and_says_what_comes_back(name):
    header, body = header_and_body(name)

    assert header.startswith(f"-- {name}.lua: ")
    assert "\n-- Returns {" in header
    assert "KEYS[" not in body


def test_library_is_all_there_is():
    assert sorted(scripts.LIBRARY) == sorted(f"lib/{path.stem}" for path in (LUA / "lib").glob("*.lua"))


@pytest.mark.parametrize("name", scripts.LIBRARY[1:])
def test_parts_of_the_library_start_with_their_names_and_know_no_keys(name):
    header, body = header_and_body(name)

    assert header.startswith(f"-- {name}.lua: ")
    assert not re.search(r"KEYS\[|ARGV\[", body)


def test_header_of_the_library_lists_the_keys_that_come_in():
    header, body = header_and_body(scripts.LIBRARY[0])

    listed = re.findall(r"^-- KEYS\[(\d+)\] +(\w+)", header, re.M)
    assert [(int(number), name) for number, name in listed] == [
        (number, name.rstrip(":")) for number, name in enumerate(NAMES, start=1)
    ]
    assert {int(number) for number in re.findall(r"KEYS\[(\d+)\]", body)} == {int(number) for number, _ in listed}
    assert arguments(body) == {1}


def test_every_script_has_a_method_that_calls_it():
    source = inspect.getsource(Board) + inspect.getsource(Reach)
    called = set(re.findall(r'self\.(?:_?script|_word)\(\s*"(\w+)"', source))

    assert called == set(SCRIPTS)


@pytest.mark.parametrize("name", [*scripts.LIBRARY, *SCRIPTS])
def test_scripts_use_commands_of_redis_6_2_only(name):
    _, body = header_and_body(name)

    commands = re.findall(r'\bcall\(\s*"(\w+)"', body)
    assert len(commands) == len(re.findall(r"\bp?call\(", body))
    assert set(commands) <= REDIS_6_2


def test_scripts_are_loaded_again_when_the_server_has_forgotten_them(board, a_run):
    board.join(a_run(), {"Machines-7"})
    board.client.script_flush()

    assert board.join(a_run(), {"Machines-7"}).is_waiting


def test_error_of_a_script_is_an_error_of_the_store(board, a_run):
    board.client.set(board.keys.runs, "no hash")

    with pytest.raises(StoreError, match="WRONGTYPE"):
        board.join(a_run(), {"Machines-7"})
    board.client.delete(board.keys.runs)


def test_server_that_is_not_there_is_unreachable(tmp_path):
    board = Board(connect(f"unix://{tmp_path}/none.sock"))

    with pytest.raises(StoreUnreachable, match="does not answer"):
        board.join(Run("ServerTasks-1"), {"Machines-7"})


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
    other = opened(Board(board.client, namespace=f"{board.keys.namespace}x"))
    board.join(a_run(), {"Machines-7"})

    assert other.join(a_run(), {"Machines-7"}).is_granted
