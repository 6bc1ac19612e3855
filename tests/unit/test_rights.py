"""Nothing is called on Redis that the rights of octowait's processes do not know, and the page of them is true."""

from __future__ import annotations

import re

from app.store.rights import PROCESSES, calls, rules
from tests.conftest import ROOT

#: Methods of redis-py that are no command, or that it calls otherwise.
METHODS = {
    "delete": {"DEL"}, "incr": {"INCRBY"}, "hscan_iter": {"HSCAN"}, "register_script": {"SCRIPT", "EVALSHA"},
    "script_load": {"SCRIPT"},
    "pipeline": set(), "execute": set(), "transaction": set(), "close": set(), "multi": set(), "listen": set(),
    "watch": set(), "execute_command": {"WAIT"}, "config_get": set(), "pubsub": set(), "settimeout": set(),
    "gettimeout": set(),
}  # fmt: skip


def commands(process: str) -> set[str]:
    return {call[0] for call in calls(process, "default")}


def test_scripts_call_what_every_process_may():
    called = {
        command.upper()
        for path in (ROOT / "app").rglob("*.lua")
        for command in re.findall(r"\bcall\(\s*[\"'](\w+)[\"']", path.read_text())
    }

    assert len(called) > 25
    assert called - commands("web") == set()


def test_code_calls_what_its_process_may():
    called: dict[str, str] = {}
    for room in ("app", "workers"):
        for path in (ROOT / room).rglob("*.py"):
            if path.parent.name == "octopus" or room == "app" and path.parent.name in ("doctor", "provision"):
                continue  # The client there is Octopus's.
            for method in re.findall(r"\b(?:pipe|_?client|_blocking|pubsub)\.([a-z_]+)\(", path.read_text()):
                for command in METHODS.get(method, {method.upper()}):
                    called[command] = f"{path.name}: {method}"
    known = commands("worker") | {"AUTH"}

    # What is called on another client: of Octopus, of HTTP.
    others = {each for each in called if not hasattr(__import__("redis").Redis, each.lower()) and each not in known}
    assert len(called) > 40
    assert {command: where for command, where in called.items() if command not in known | others} == {}


def test_page_has_the_rights():
    page = (ROOT / "docs" / "how-to" / "production.md").read_text()

    lines = re.findall(r"^ACL SETUSER octowait-(\S+) reset on >PASSWORD (.+)$", page, re.MULTILINE)
    assert lines == [(process, " ".join(rules(process, "default"))) for process in PROCESSES]
