"""Hand-offs of a lock library with many threads that wait.

``python -m tests.bench.waiting NAME URL WAITERS SECONDS HOLD``: a process of its own, which ends with its threads, and
prints milliseconds as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

from app.store.connection import connect
from tests.bench.handoff import Contest, PythonRedisLock, RedisPyLock
from tests.conftest import ROOT, eventually

PEERS = {PythonRedisLock.name: PythonRedisLock, RedisPyLock.name: RedisPyLock}

#: Bytes of a thread's stack.
STACK = 512 * 1024

#: Seconds in which all threads must have begun to wait.
START_SECONDS = 60


def peer_hand_offs(name: str, url: str, waiters: int, seconds: float, hold: float) -> list[float]:
    """Milliseconds from one thread's release to the next one's lock, with *waiters* in line, in *seconds*.

    Each keeps the lock for *hold* seconds.

    Nothing where the library cannot have so many wait on this machine; that is said.
    """
    command = [sys.executable, "-m", "tests.bench.waiting", name, url, *map(str, (waiters, seconds, hold))]
    try:
        took: list[float] = json.loads(subprocess.check_output(command, cwd=ROOT, timeout=START_SECONDS + seconds))
    except (subprocess.SubprocessError, ValueError) as error:
        print(f"{name} with {waiters:,} waiters was not measured: {error}", flush=True)
        return []
    return took


def main(name: str, url: str, waiters: int, seconds: float, hold: float) -> list[float]:
    threading.stack_size(STACK)
    lock = PEERS[name](url, connections=waiters + 10)
    client = connect(url)
    game = Contest(lock, waiters + 1, float("inf"), hold)
    held = lock.acquire()
    # One of them holds at any time, once this one has given it back.
    for number in range(waiters + 1):
        threading.Thread(target=game.play, args=(number,), daemon=True).start()
    if name == PythonRedisLock.name:
        # Those of redis-py sleep between two tries.
        eventually(lambda: client.info("clients")["blocked_clients"] > waiters, timeout=START_SECONDS)
    time.sleep(0.2)
    game.until = time.perf_counter() + seconds
    game.released_at = time.perf_counter()
    lock.release(held)
    time.sleep(seconds)
    return [1000 * took for took in list(game.handoffs)]


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *map(float, sys.argv[4:]))), flush=True)
    # Its threads wait for ever.
    os._exit(0)
