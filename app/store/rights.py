"""What each process does in Redis, and the rules of an access control list that let it do that and little else.

Source: what the processes called on Redis 7.0 and Valkey 9.1, which ``ACL LOG`` was read of; the scripts in ``*.lua``.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from app.store.keys import Keys

#: Those of octowait, and the step that blocks on Redis itself (``Octowait.RedisUrl``).
PROCESSES = ("web", "worker", "scheduler", "step")

#: Commands by category, so that a new version finds its rights there: reading and changing data, and nothing of the
#: server; the scripts that it has loaded, and no others; no list of everybody's keys. In an order that Redis 6.2 takes:
#: there INFO and all of CLIENT are dangerous, and TIME and WAIT in no category that is given.
_OF_OCTOWAIT = (
    "-@all +@read +@write +@transaction +@connection +@pubsub -@dangerous -@scripting -scan -randomkey "
    "+evalsha +script|load +time +info +wait +client|setname +client|info"
)

#: What is called, with KEY for one of octowait's keys, QUEUE for one of RQ's, and CHANNEL for that of the wakes.
_CALLS = """
GET KEY, SET KEY 1, MGET KEY, DEL KEY, GETDEL KEY, EXISTS KEY, EXPIRE KEY 1, PEXPIRE KEY 1, TTL KEY, PTTL KEY, TYPE KEY,
INCRBY KEY 1, HGET KEY 1, HSET KEY 1 1, HSETNX KEY 1 1, HDEL KEY 1, HMGET KEY 1, HGETALL KEY, HKEYS KEY, HVALS KEY,
HLEN KEY, HEXISTS KEY 1, HINCRBY KEY 1 1, HSCAN KEY 0, LINDEX KEY 0, LPUSH KEY 1, RPUSH KEY 1, RPOP KEY,
LRANGE KEY 0 0, SADD KEY 1, SREM KEY 1, SCARD KEY, SISMEMBER KEY 1, SMEMBERS KEY,
ZADD KEY 1 1, ZREM KEY 1, ZCARD KEY, ZCOUNT KEY 0 0,
ZLEXCOUNT KEY - +, ZRANGE KEY 0 0, ZRANGEBYLEX KEY - +, ZRANGEBYSCORE KEY 0 0, ZREMRANGEBYSCORE KEY 0 0,
ZREMRANGEBYRANK KEY 0 0, ZSCORE KEY 1, ZMSCORE KEY 1, XADD KEY * 1 1, XDEL KEY 1-1, XLEN KEY, XRANGE KEY - +,
XREVRANGE KEY + -, XREAD STREAMS KEY 0, XTRIM KEY MAXLEN 1, PUBLISH CHANNEL 1, SUBSCRIBE CHANNEL,
EVALSHA 0000000000000000000000000000000000000000 1 KEY, SCRIPT LOAD 1, TIME, INFO, PING, WAIT 0 1,
LPOS QUEUE 1, RPUSH QUEUE 1, SADD rq:queues 1, SMEMBERS rq:workers, HMGET JOB 1, HSET JOB 1 1, EXISTS rq:worker:1
"""

#: What only the worker does, for RQ.
_CALLS_OF_WORKER = """
BLPOP QUEUE 1, LREM QUEUE 0 1, PERSIST JOB, HINCRBYFLOAT rq:worker:1 1 1, DEL rq:clean_registries:1, SADD rq:workers 1,
ZADD rq:wip:1 1 1, SUBSCRIBE rq:pubsub:1, UNSUBSCRIBE rq:pubsub:1, CLIENT SETNAME octowait, CLIENT INFO
"""


def rules(process: str, namespace: str) -> list[str]:
    """The rules for ``ACL SETUSER`` that give *process*, one of `PROCESSES`, its rights and take all others."""
    channels, keys = (["resetchannels", *_channels(process, namespace)], ["resetkeys", *_keys(process, namespace)])
    commands = "-@all +blpop" if process == "step" else _OF_OCTOWAIT
    return [*channels, *keys, *commands.split()]


def calls(process: str, namespace: str) -> list[tuple[str, ...]]:
    """Everything that *process* calls, each command once with arguments that it would take."""
    keys = Keys(namespace)
    if process == "step":
        return [("BLPOP", keys.wake("rehearsal"), "1")]
    # Of names that nobody uses.
    words = {
        "KEY": f"{keys.prefix}rehearsal", "CHANNEL": keys.wakes, "QUEUE": f"rq:queue:octowait-{namespace}",
        "JOB": f"rq:job:octowait-{namespace}-rehearsal",
    }  # fmt: skip
    texts = _CALLS + ("," + _CALLS_OF_WORKER if process == "worker" else "")
    return [tuple(words.get(word, word) for word in text.split()) for text in texts.split(",")]


def missing_right(call: Sequence[str], refusal: str, process: str, namespace: str) -> str:
    """The rule that would let *process* make a call, e.g. ``+time`` or ``&octowait:{default}:wakes``.

    Args:
        refusal: What Redis says of it; which words it takes for that differs by version.
    """
    patterns = {"channel": _channels(process, namespace), "key": _keys(process, namespace)}
    if "to run" not in refusal:
        for pattern in patterns["channel" if "channel" in refusal else "key"]:
            if any(fnmatchcase(word, pattern[1:]) for word in call[1:]):
                return pattern
    name = "|".join(call[:2]) if call[0] in ("SCRIPT", "CLIENT") else call[0]
    return f"+{name.lower()}"


def _channels(process: str, namespace: str) -> list[str]:
    wakes = f"&{Keys(namespace).wakes}"
    return {"step": [], "worker": [wakes, "&rq:pubsub:*"]}.get(process, [wakes])


def _keys(process: str, namespace: str) -> list[str]:
    keys = Keys(namespace)
    if process == "step":
        return [f"~{keys.wake('*')}"]
    every = f"~{keys.prefix}*"
    if process == "worker":
        return [every, "~rq:*"]
    name = f"octowait-{namespace}"
    return [every, f"~rq:queue:{name}*", f"~rq:job:{name}-*", "~rq:queues", "~rq:workers*", "~rq:worker:*"]
