"""The scripts' own time, as Redis itself counts it: what a client waits beyond it is the way there and back."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from app.store.connection import Client
from app.store.script_text import APP, source
from tests.bench.report import both

#: Entries of the server's log at most; it is a list in its memory.
MOST_ENTRIES = 100_000


@cache
def _names() -> Mapping[str, str]:
    """The scripts of the board by their SHA-1, in each form in which octowait calls them."""
    verbs = [path.stem for path in (APP / "coordination/lua").glob("*.lua")]
    forms = [(verb, expiry, witnessed) for verb in verbs for expiry in (False, True) for witnessed in (False, True)]
    texts = {source("coordination", verb, with_expiry=e, witnessed=w): verb for verb, e, w in forms}
    return {hashlib.sha1(text.encode()).hexdigest(): verb for text, verb in texts.items()}


def script_name(sha: str) -> str:
    """The verb of the board whose text has this SHA-1."""
    return _names().get(sha, "(another)")


@contextmanager
def script_times(client: Client) -> Iterator[dict[str, list[float]]]:
    """Collects µs of each call by the name of its script, which are there when the block has ended.

    The server logs every command meanwhile, which takes about 1 µs each. Source: ``SLOWLOG``.
    """
    took: dict[str, list[float]] = defaultdict(list)
    client.config_set("slowlog-max-len", MOST_ENTRIES)
    client.slowlog_reset()
    client.config_set("slowlog-log-slower-than", 0)
    try:
        yield took
    finally:
        client.config_set("slowlog-log-slower-than", -1)
        for entry in client.slowlog_get(MOST_ENTRIES):
            words = bytes(entry["command"]).split(None, 2)
            if words[0].upper() == b"EVALSHA":
                took[script_name(words[1].decode())].append(float(entry["duration"]))
        client.slowlog_reset()


def script_rows(took: Mapping[str, Sequence[float]]) -> list[list[object]]:
    """Lines of a table: script, calls, p50, p99 and most µs."""
    return [[name, len(times), *both(times), max(times)] for name, times in sorted(took.items()) if times]


SCRIPT_COLUMNS = ("script", "calls", "p50 µs in Redis", "p99 µs in Redis", "most")


def script_seconds(client: Client) -> float:
    """Seconds that scripts have taken in Redis since it began. Source: ``INFO commandstats``."""
    stats: Mapping[str, Mapping[str, Any]] = client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("usec", 0) for name in ("evalsha", "eval")) / 1e6


def redis_pid(client: Client) -> int:
    return int(client.info("server")["process_id"])
