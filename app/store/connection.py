"""The one place where Redis clients are made, with limits that a service needs and the library does not set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from app.store.errors import BadStoreAddress
from app.store.fair_queue import DearTurns, FairQueue

Client = redis.Redis

#: Seconds for one command. A script takes microseconds; this is for a server that is paging, saving or gone.
COMMAND_TIMEOUT = 5.0

#: Connections of one process. Web processes stay far below it: they share a few and block on none.
MAX_CONNECTIONS = 50

EXPECTED = (
    "redis://, rediss://, unix:///path or sentinel://host:26379,host:26379/service?db=0 (rediss+sentinel:// with TLS)"
)


class _InTurns:
    """A pool of connections of which those whose calls take long have one at a time (`DearTurns`).

    Also for what is no script: a command waits in Redis as long as a script does, and keeps its connection meanwhile.
    """

    #: None where connections block: who waits for something keeps nobody waiting.
    dear: DearTurns | None = None

    def get_connection(self, *args: Any, **options: Any) -> Any:
        return self._in_turn(lambda: super(_InTurns, self).get_connection(*args, **options))  # type: ignore[misc]

    def release(self, connection: Any) -> None:
        try:
            super().release(connection)  # type: ignore[misc]
        finally:
            self._leave(connection)

    def _in_turn(self, get: Callable[[], Any]) -> Any:
        while True:
            is_dear = self.dear is not None and self.dear.enter()
            try:
                connection = get()
            except BaseException:
                if self.dear and is_dear:
                    self.dear.leave()
                raise
            connection.has_dear_turn = is_dear
            if self.dear is None or not self.dear.needs_turn():
                return connection
            # Others of its group have shown that it is dear, while it waited for a connection.
            self.release(connection)

    def _leave(self, connection: Any) -> None:
        if self.dear and getattr(connection, "has_dear_turn", False):
            connection.has_dear_turn = False
            self.dear.leave()


class Pool(_InTurns, redis.BlockingConnectionPool):
    """Says without asking the system of a connection that all answers on it were read: of those of `Exchange`."""

    def get_connection(self, *args: Any, **options: Any) -> Any:
        connection: Any = super().get_connection(*args, **options)
        connection.is_settled = False
        return connection

    def take(self) -> Any:
        """A connection without unread answers; its server may have closed it.

        Raises:
            redis.ConnectionError: all are in use and none comes back, or none can be made.
        """
        self._checkpid()
        return self._in_turn(self._settled)

    def _settled(self) -> Any:
        connection = self.pool.get(timeout=self.timeout)
        if not getattr(connection, "is_settled", False):
            self.pool.put_back(connection)
            connection = redis.BlockingConnectionPool.get_connection(self)  # type: ignore[no-untyped-call]
        connection.is_settled = False
        return connection

    def give_back(self, connection: Any) -> None:
        """As `release`, without what the library measures."""
        if connection.pid != self.pid or self._in_maintenance or connection.should_reconnect():
            self.release(connection)
            return
        self.pool.put_nowait(connection)
        self._leave(connection)


def connect(
    url: str, *, blocking: bool = False, max_connections: int = MAX_CONNECTIONS,
    greet: Callable[[Any], None] | None = None,
) -> Client:  # fmt: skip
    """A client for *url*; it connects when it is first used.

    Args:
        blocking: For subscriptions and blocking reads: no time-out of its own, and nothing is sent twice, since a
            repeated blocking read would queue anew.
        max_connections: More at once wait for a free one.
        greet: Called with each new connection, which it has to prepare, in the place of what the library does.

    Raises:
        BadStoreAddress: *url* has another form than redis-py and Sentinel URLs have.
    """
    options: dict[str, Any] = {
        "socket_timeout": None if blocking else COMMAND_TIMEOUT,
        "socket_connect_timeout": COMMAND_TIMEOUT,
        # One shape of answers on Redis 6.2 and on whatever comes.
        "protocol": 2,
        # A script is idempotent or answers the same again, so one more try over a fresh connection is safe.
        "retry": Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), 0 if blocking else 2),
        "health_check_interval": 0 if blocking else 30,
    }
    waiting: dict[str, Any] = {"timeout": COMMAND_TIMEOUT, "queue_class": FairQueue}
    if greet:
        options["redis_connect_func"] = greet
    if not url.startswith("unix:"):
        options["socket_keepalive"] = True
    try:
        if "sentinel://" in url:
            client = _from_sentinel(url, options, max_connections, waiting)
            pool: Any = client.connection_pool
            pool.dear = None if blocking else DearTurns()
            return client
        pool = Pool.from_url(url, max_connections=max_connections, **waiting, **options)
        pool.dear = None if blocking else DearTurns()
        return redis.Redis.from_pool(pool)
    except ValueError as error:
        server = url.partition("?")[0].split("@")[-1]
        raise BadStoreAddress(f"{server}: expected {EXPECTED}") from error


class _SentinelPool(_InTurns, SentinelConnectionPool, redis.BlockingConnectionPool):
    """The connections to whichever server Sentinel names, of which more at once wait for a free one.

    By itself the library's opens as many as are asked for.
    """


def _from_sentinel(url: str, options: dict[str, Any], max_connections: int, waiting: dict[str, Any]) -> Client:
    """``sentinel://[user:password@]host:port,host:port/service[?db=0&sentinel_password=…]``, its primary."""
    parts = urlsplit(url)
    secret, _, places = parts.netloc.rpartition("@")
    query = dict(parse_qsl(parts.query))
    service = parts.path.strip("/")
    if parts.scheme not in ("sentinel", "rediss+sentinel") or not service or not places:
        raise ValueError(url)
    hosts = [(host, int(port or 26379)) for host, _, port in (place.partition(":") for place in places.split(","))]
    user, _, password = secret.partition(":")
    tls = {"ssl": True} if parts.scheme.startswith("rediss") else {}
    common = {k: v for k, v in options.items() if k != "health_check_interval"}
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        hosts, sentinel_kwargs={**common, **tls, "password": query.get("sentinel_password")}, **common, **tls
    )
    client: Client = sentinel.master_for(  # type: ignore[no-untyped-call]
        service, connection_pool_class=_SentinelPool, max_connections=max_connections, **waiting,
        db=int(query.get("db", 0)), username=unquote(user) or None, password=unquote(password) or None,
    )  # fmt: skip
    return client
