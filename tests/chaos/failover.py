"""A fail-over of Sentinel between hosts that are network namespaces, with the cable of one of them pulled out.

``python -m tests.chaos.failover DIRECTORY`` is run in the namespace of the clients, by `lost_in_a_failover`. Its
addresses exist in these namespaces only, and go with them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.gate import Gate, happens
from tests.chaos.processes import ROOT
from tests.chaos.store import Store, binary

#: Hosts, and the switch between them.
HOSTS, SWITCH = ("primary", "replica", "clients"), "switch"

#: The name of what Sentinel watches, and its port.
SERVICE, SENTINEL_PORT = "octowait", 26379

#: Seconds for Sentinel to agree that the primary is dead and to make the other one primary, and for octowait to see it.
FAILOVER_SECONDS = 60.0


class NoNetworks(Exception):
    """Namespaces are forbidden here, or there is no ``ip``; the message is its own."""


def address(host: str) -> str:
    return f"10.77.0.{1 + HOSTS.index(host)}"


def ip(*words: str) -> None:
    """Raises: NoNetworks."""
    try:
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise NoNetworks("there is no ip; on Debian: apt-get install iproute2") from error
    except subprocess.CalledProcessError as error:
        raise NoNetworks(f"ip {' '.join(words)}: {error.stderr.strip()}") from error


class Networks:
    """Three hosts on one switch, each a namespace. Raises: NoNetworks."""

    def __init__(self) -> None:
        self.prefix = f"chaos{os.getpid() % 100_000}"

    def name(self, host: str) -> str:
        return f"{self.prefix}-{host}"

    def __enter__(self) -> Networks:
        try:
            for host in (SWITCH, *HOSTS):
                ip("netns", "add", self.name(host))
                ip("-n", self.name(host), "link", "set", "lo", "up")
            ip("-n", self.name(SWITCH), "link", "add", "bridge", "type", "bridge")
            ip("-n", self.name(SWITCH), "link", "set", "bridge", "up")
            for host in HOSTS:
                self._plug_in(host)
        except NoNetworks:
            self.__exit__()
            raise
        return self

    def _plug_in(self, host: str) -> None:
        own, switch = self.name(host), self.name(SWITCH)
        ip("-n", own, "link", "add", "cable", "type", "veth", "peer", "name", host, "netns", switch)
        ip("-n", own, "address", "add", f"{address(host)}/24", "dev", "cable")
        ip("-n", own, "link", "set", "cable", "up")
        ip("-n", switch, "link", "set", host, "master", "bridge", "up")

    def __exit__(self, *_: object) -> None:
        for host in (*HOSTS, SWITCH):
            subprocess.run(["ip", "netns", "delete", self.name(host)], capture_output=True)


def lost_in_a_failover(where: Path) -> Iterator[str]:
    """An acknowledged grant that the replica had not copied. Raises: NoNetworks."""
    with Networks() as networks:
        answer = subprocess.run(
            ["ip", "netns", "exec", networks.name("clients"), sys.executable, "-m", "tests.chaos.failover", str(where),
             networks.prefix],
            cwd=ROOT, capture_output=True, text=True, timeout=150,
        )  # fmt: skip
    assert answer.returncode == 0, answer.stderr[-3000:]
    yield from json.loads(answer.stdout.splitlines()[-1])


def act(where: Path, prefix: str) -> list[str]:
    """What is wrong; in the namespace of the clients."""
    wrong = []
    with _servers(where, prefix) as (primary, replica, url):
        gate = Gate(where, ttl=30, store=primary, redis_url=url)
        try:
            gate.put("ServerTasks-9", "Machines-9")
            copied = replica.client()
            assert happens(lambda: copied.hexists("octowait:{chaos}:runs", "servertasks-9"))
            _cable(prefix, "replica", "down")
            gate.put("ServerTasks-1", "Machines-1")
            # A host that loses power sends nothing that is still in its buffers.
            _cable(prefix, "primary", "down")
            primary.kill()
            _cable(prefix, "replica", "up")
            assert happens(lambda: copied.info("replication")["role"] == "master", FAILOVER_SECONDS), "no fail-over"
            _, answer = gate.call(
                "PUT", "/api/waits/ServerTasks-2", {"machines": ["Machines-1"]}, seconds=FAILOVER_SECONDS
            )
            if answer["state"] == "granted":
                wrong.append("ServerTasks-2 was granted while ServerTasks-1 works, which only the old primary knew")
        finally:
            gate.stop()
    return wrong


def _cable(prefix: str, host: str, state: str) -> None:
    ip("-n", f"{prefix}-{SWITCH}", "link", "set", host, state)


@contextmanager
def _servers(where: Path, prefix: str) -> Iterator[tuple[Store, Store, str]]:
    """A primary, its replica, a Sentinel on each host, and how octowait finds them."""
    stores = []
    for host in ("primary", "replica"):
        (where / host).mkdir()
        stores.append(Store("valkey", where / host, host=address(host), within=f"{prefix}-{host}"))
        stores[-1].start()
    primary, replica = stores
    replica.client().replicaof(primary.host, primary.port)
    sentinels = [_sentinel(where, prefix, host, primary) for host in HOSTS]
    try:
        places = ",".join(f"{address(host)}:{SENTINEL_PORT}" for host in HOSTS)
        yield primary, replica, f"sentinel://{places}/{SERVICE}"
    finally:
        for process in sentinels:
            process.kill()
            process.wait(10)
        for store in stores:
            store.kill()


def _sentinel(where: Path, prefix: str, host: str, primary: Store) -> subprocess.Popen[bytes]:
    file = where / f"sentinel-{host}.conf"
    file.write_text(
        f"port {SENTINEL_PORT}\nbind {address(host)}\nprotected-mode no\n"
        f"dir {where}\nlogfile {where}/sentinel-{host}.log\n"
        f"sentinel monitor {SERVICE} {primary.host} {primary.port} 2\n"
        f"sentinel down-after-milliseconds {SERVICE} 1500\nsentinel failover-timeout {SERVICE} 6000\n"
    )
    command = ["ip", "netns", "exec", f"{prefix}-{host}", binary("valkey"), str(file), "--sentinel"]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    assert shutil.which("ip")
    print(json.dumps(act(Path(sys.argv[1]), sys.argv[2])))
