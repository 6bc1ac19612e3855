"""No two test processes are given the same port, while the server that will listen there has not begun."""

from __future__ import annotations

import socket
import subprocess
import sys

from tests.conftest import ROOT
from tests.ports import BLOCK, END, FIRST, free_port

ASK = "from tests.ports import free_port, BLOCK\nprint(*(free_port() for _ in range(BLOCK)), flush=True)\ninput()"


def test_ports_of_two_processes_differ():
    asked = [
        subprocess.Popen(
            [sys.executable, "-c", ASK], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    ports = [{int(port) for port in each.stdout.readline().split()} for each in asked]
    for each in asked:
        each.communicate("\n")

    assert all(len(of_one) > BLOCK / 2 for of_one in ports)
    assert not ports[0] & ports[1]
    assert all(FIRST <= port < END for of_one in ports for port in of_one)


def test_port_on_which_something_listens_is_not_given():
    with socket.create_server(("127.0.0.1", free_port())) as server:
        given = {free_port() for _ in range(BLOCK)}

        assert server.getsockname()[1] not in given
