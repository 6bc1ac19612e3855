"""Whoever reads for long lets others have their turn, also those who wait for a socket."""

import subprocess
import sys

from app.store.fairness import in_turns_by_size
from tests.conftest import ROOT

PROGRAM = """
from gevent import monkey
monkey.patch_all()
import gevent, socket
from app.store.fairness import in_turns

ours, theirs = socket.socketpair()
item = turn = None

def wait():
    global turn
    theirs.recv(1)
    turn = item

gevent.spawn(wait)
gevent.sleep(0.01)
ours.send(b"x")
for item in in_turns(range(40), 1):
    pass
print(turn)
"""


def test_who_waits_for_a_socket_has_a_turn_between_the_first_items():
    printed = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)

    assert int(printed.stdout) <= 3


def test_turns_by_size_come_behind_as_much_as_is_read_at_once(monkeypatch):
    turns = []
    monkeypatch.setattr("app.store.fairness.time.sleep", lambda _: turns.append(len(read)))
    read = []

    for item in in_turns_by_size([1, 1, 9, 1, 10, 3, 3, 3, 3], int, 10):
        read.append(item)

    assert turns == [3, 5, 9]
