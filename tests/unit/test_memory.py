"""A cache that forgets."""

from __future__ import annotations

from datetime import timedelta

from workers.resolving.memory import Cache


def test_value_is_forgotten_after_its_time():
    now = [0.0]
    cache: Cache[str, int | None] = Cache(ttl=timedelta(seconds=10), most=5, now=lambda: now[0])
    cache.put("a", 1)
    cache.put("b", None)
    now[0] = 9.9
    assert (cache.get("a"), "b" in cache, "c" in cache) == (1, True, False)

    now[0] = 10.0

    assert (cache.get("a"), "b" in cache) == (None, False)


def test_oldest_go_where_there_are_too_many():
    cache: Cache[int, int] = Cache(ttl=timedelta(hours=1), most=2)
    for number in (1, 2, 1, 3):
        cache.put(number, number)

    assert [cache.get(number) for number in (1, 2, 3)] == [1, None, 3]
