"""Calls over connections that are not looked at before: no answer is ever read as that of another call."""

import contextvars
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from app.store.connection import connect
from app.store.exchange import Exchange
from app.store.fairness import serve
from tests.conftest import eventually


class Interrupted(BaseException):
    """As the time-out of a job comes, at any place."""


@pytest.fixture
def client(redis_url):
    with connect(redis_url, max_connections=1) as client:
        yield client


@pytest.fixture
def exchange(client):
    return Exchange(client)


def echo(text):
    return ("ECHO", text)


@pytest.fixture
def connection(client, exchange):
    """The one connection of the client, which lies in its pool with all answers read."""
    exchange([echo("first")])
    pool = client.connection_pool
    connection = pool.take()
    connection.is_settled = True
    pool.release(connection)
    return connection


def test_answers_come_in_order_and_an_error_is_the_answer_of_its_command(exchange):
    first, error, last = exchange([echo("1"), ("HSET", "too few"), echo("2")])

    assert (first, last) == (b"1", b"2") and isinstance(error, redis.ResponseError)
    assert exchange([echo("3")]) == [b"3"]


@pytest.mark.parametrize("at", ["send_packed_command", "read_response"])
def test_answer_that_nobody_has_read_is_not_that_of_the_next_call(exchange, connection, at):
    method = getattr(connection, at)

    def interrupted(*args, **options):
        if at == "send_packed_command":
            method(*args, **options)
        raise Interrupted

    setattr(connection, at, interrupted)
    with pytest.raises(Interrupted):
        exchange([echo("of one who was interrupted")])
    setattr(connection, at, method)

    assert exchange([echo("mine")]) == [b"mine"]


def test_answer_that_the_library_has_left_unread_is_not_that_of_the_next_call(client, exchange, connection):
    lent = client.connection_pool.get_connection()
    lent.send_command("ECHO", "of somebody else")
    eventually(lent.can_read)
    client.connection_pool.release(lent)

    assert exchange([echo("mine")]) == [b"mine"]


def test_connection_that_the_server_has_closed_is_made_anew(redis_url, exchange, connection):
    number = exchange([("CLIENT", "ID")])[0]
    with connect(redis_url) as other:
        other.client_kill_filter(_id=number)

    assert exchange([echo("mine")]) == [b"mine"]
    assert exchange([("CLIENT", "ID")])[0] != number


def test_settled_connection_is_not_looked_at_before_a_call(exchange, connection):
    connection.can_read = None

    assert exchange([echo("mine")]) == [b"mine"]


def test_connection_of_the_process_before_a_fork_is_not_lent_again(client, exchange, connection):
    number = exchange([("CLIENT", "ID")])[0]
    connection.pid = -1

    assert exchange([echo("mine")]) == [b"mine"]
    assert exchange([("CLIENT", "ID")])[0] != number


def test_those_who_wait_for_a_connection_get_it_while_others_give_it_back(redis_url):
    # Each keeps the one connection for a while, and the last waits for longer than the time in which none comes back.
    with connect(redis_url, max_connections=1) as client:
        client.connection_pool.timeout = 1.5
        exchange = Exchange(client)
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda number: exchange([("BLPOP", f"none:{number}", 0.4)]), range(6)))

    assert answers == [[None]] * 6


def test_call_whose_group_has_become_dear_while_it_waited_waits_for_its_turn(redis_url):
    """Where many come at the same time, the first answer tells what the others are."""
    with connect(redis_url, max_connections=2) as client:
        pool, exchange = client.connection_pool, Exchange(client)
        lent = [pool.take(), pool.take()]
        asked = []

        def ask(number):
            serve("wide")
            asked.append(exchange(lambda: asked.append(number) or [("BLPOP", "none", 0.2)]))

        with ThreadPoolExecutor(4) as threads:
            calls = [threads.submit(ask, number) for number in range(4)]
            eventually(lambda: len(pool.pool._waiting) == 4)
            contextvars.copy_context().run(lambda: (serve("wide"), pool.dear.note(80)))
            for connection in lent:
                pool.give_back(connection)
            for call in calls:
                call.result(10)

    # Each is asked when the one before has its answer.
    assert [None if each == [None] else "asks" for each in asked] == ["asks", None] * 4
