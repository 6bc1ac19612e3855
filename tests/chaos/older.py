"""A Redis that comes back older, each case acted out: it yields what is wrong.

``python -m tests.chaos.older`` acts out all of them, also the fail-over of Sentinel, which takes a minute.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.chaos import failover
from tests.chaos.expected import ONE, THREE, TWO, a_gate, a_network
from tests.chaos.gate import happens
from tests.chaos.proxy import Mood
from tests.chaos.store import Store


def older_file(where: Path) -> Iterator[str]:
    with a_gate(where, ttl=30) as gate:
        gate.put(ONE, "Machines-1")
        copy = gate.store.copy("backup")
        gate.delete(ONE)
        gate.put(TWO, "Machines-1")
        token = gate.token(TWO)
        gate.store.kill()
        gate.store.go_back_to(copy)
        gate.store.start()
        gate.delete(ONE)
        if gate.put(THREE, "Machines-1") == "granted":
            yield f"{THREE} was granted while {TWO} works"
            if gate.token(THREE) == token:
                yield f"both have the token {token}"


def told_by_a_closed_board(where: Path) -> Iterator[str]:
    with a_gate(where, ttl=30) as gate:
        gate.put(ONE, "Machines-1")
        gate.put(TWO, "Machines-1")
        gate.delete(ONE)
        copy = gate.store.copy("backup")
        # Nobody has come for the grant when it is taken back, and another works.
        gate.call("POST", f"/api/waits/{TWO}/force-release", {"reason": "it does not answer", "confirm": True})
        assert gate.put(THREE, "Machines-1") == "granted"
        gate.store.kill()
        gate.store.go_back_to(copy)
        gate.store.start()
        # An operator knows that it is older, and closes the board before anybody asks.
        gate.call("POST", "/api/rebuild", {"reason": "a backup was restored"})
        if gate.get(TWO) == "granted":
            yield f"{TWO} is told of its grant by a closed board, while {THREE} works"


def lost_by_a_replica(where: Path) -> Iterator[str]:
    """A fail-over of Sentinel, where networks of its own are allowed."""
    try:
        yield from failover.lost_in_a_failover(where)
    except failover.NoNetworks as error:
        print(f"no fail-over of Sentinel, but a proxy in its place: {error}")
        yield from lost_behind_a_proxy(where)


def lost_behind_a_proxy(where: Path) -> Iterator[str]:
    """The variant without networks of its own: a proxy between the two, which passes nothing on any more."""
    primary, replica = Store("valkey", where / "primary"), Store("valkey", where / "replica")
    for store in (primary, replica):
        store.directory.mkdir()
        store.start()
    with (
        a_network(primary.port) as copies, a_network(primary.port) as front,
        a_gate(where, ttl=30, store=primary, redis_url=front.url) as gate,
    ):  # fmt: skip
        replica.client().replicaof("127.0.0.1", copies.port)
        gate.put("ServerTasks-9", "Machines-9")
        assert happens(lambda: replica.client().hexists("octowait:{chaos}:runs", "servertasks-9"))
        copies.be(Mood.DEAD)
        gate.put(ONE, "Machines-1")
        primary.kill()
        replica.client().replicaof("NO", "ONE")
        front.target(replica.port)
        if gate.put(TWO, "Machines-1") == "granted":
            yield f"{TWO} was granted while {ONE} works, whose grant only the old primary knew"
    replica.kill()


def main() -> int:
    is_wrong = False
    for act in (older_file, told_by_a_closed_board, lost_behind_a_proxy, lost_by_a_replica):
        with tempfile.TemporaryDirectory(prefix="octowait-chaos-") as where:
            wrong = list(act(Path(where)))
        is_wrong |= bool(wrong)
        print(f"{act.__name__.replace('_', ' ')}: {'; '.join(wrong) or 'nothing is granted'}", flush=True)
    return int(is_wrong)


if __name__ == "__main__":
    sys.exit(main())
