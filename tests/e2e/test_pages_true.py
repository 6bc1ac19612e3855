"""What pages and commands say of a board on which little is known: no gap shows, and no sentence is broken."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from app.coordination.board import Board
from app.domain.run import RunRequest
from tests.conftest import Service, a_delivery
from tests.e2e.boards import name_machine
from tests.e2e.test_cli import Cli

#: What no page and no command is to say, and why.
FAULTY = {
    r"\bNone\b": "a value that is missing",
    r"\bundefined\b": "a value that is missing",
    r"[^.]\.\.(?!\.)": "two full stops",
    r" ,| \.(?=\s|$)|\( | \)": "a blank before a sign",
    r"\b1 (runs|waits|jobs|events|machines|deliveries|times|records|stretches)\b": "one thing in the plural",
    r"\(EU(?!\))": "a bracket that is not closed",
    r"(?<!token )(?<!token=)\b\d{13}\b(?!-\d)": "raw milliseconds",
    r"\w+_ms\b": "the name of a field",
}

#: Runs as little as they can say of themselves, and names with a full stop or brackets.
RUNS: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"project": {"name": "Web (old)"}, "environment": {"name": "Production (EU)"}}, ("Machines-1", "Machines-2")),
    ({}, ("Machines-1",)),
    ({"project": {"id": "Projects-9"}, "release": {"version": "1.0."}}, ("Machines-1",)),
    ({"project": {"name": "Api."}, "environment": {"id": "Environments-3", "name": "Test (EU)"}}, ("Machines-2",)),
]

PAGES = ("/", "/timeline", "/health", "/machines/Machines-1", "/machines/Machines-2", "/machines/Machines-3",
         *(f"/ledger?by={by}" for by in ("machine", "project", "blocker", "environment", "week")),
         *(f"/runs/ServerTasks-{number}" for number in range(6)))  # fmt: skip

COMMANDS: list[tuple[str, ...]] = [
    ("status",), ("machines",), ("machines", "web-01"), ("waits",), ("timeline",), ("kept",), ("dead-letters",),
    ("run", "ServerTasks-0"), ("explain", "ServerTasks-1"), ("explain", "ServerTasks-3"), ("ledger",),
    ("ledger", "--by", "project"), ("ledger", "--by", "blocker"), ("run", "ServerTasks-5"),
]  # fmt: skip


@pytest.fixture
def sparse(service: Service, board: Board) -> Iterator[Service]:
    name_machine(board, 1, "web-01")
    for number, (info, machines) in enumerate(RUNS):
        board.join(RunRequest(f"ServerTasks-{number}", info), set(machines), ttl=timedelta(hours=1))
    board.poll("ServerTasks-0")
    board.release("ServerTasks-0", cause="forced", by="ann", reason="its server died.")
    board.poll("ServerTasks-1")
    board.reserve("Machines-3", note="disk swap.", by="ann")
    board.join(RunRequest("ServerTasks-4", {}), {"Machines-3", "Machines-1"}, ttl=timedelta(hours=1))
    service.deliver(a_delivery(task=5, number=1))
    service.deliver({"nothing": "known"})
    yield service


def text_of(page: str) -> str:
    """What a reader sees of a page: its text, and what pointing at things says."""
    titles = " \n ".join(re.findall(r'(?:title|aria-label)="([^"]*)"', page))
    body = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.S)
    return unescape(re.sub(r"[ \t]*<[^>]+>", "", body.replace("</", "\n</")) + "\n" + titles)


def faults(text: str) -> list[str]:
    return [
        f"{why}: …{text[max(0, found.start() - 60) : found.end() + 20]!r}"
        for pattern, why in FAULTY.items()
        for found in re.finditer(pattern, text)
    ]


@pytest.mark.parametrize("path", PAGES)
def test_no_page_shows_a_gap_or_a_broken_sentence(sparse: Service, path: str) -> None:
    status, page = sparse.call("GET", path)

    assert status == 200
    assert faults(text_of(page)) == []


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_command_shows_a_gap_or_a_broken_sentence(sparse: Service, tmp_path: Path, words: tuple[str, ...]) -> None:
    said = Cli(sparse, "http", tmp_path)(*words)

    assert faults(said) == []


def test_a_free_machine_with_a_line_is_not_idle(sparse: Service, board: Board) -> None:
    board.release("ServerTasks-1")
    board.release("ServerTasks-2")

    page = sparse.call("GET", "/machines/Machines-1")[1]
    assert board.place("ServerTasks-4").is_waiting
    assert "Free, 1 in line" in page and "status idle" not in page


def test_a_run_that_holds_nothing_is_not_offered_to_lose_its_machines(sparse: Service) -> None:
    page = sparse.call("GET", "/runs/ServerTasks-5")[1]

    assert "Count it as ended" in page and "Take its machines away" not in page


def test_what_keeps_a_run_is_said_in_one_panel(sparse: Service, board: Board) -> None:
    """One machine and one blocker: the chain says it all; neither the story nor a list of stretches does so again."""
    board.join(RunRequest("ServerTasks-6", {}), {"Machines-1"}, ttl=timedelta(hours=1))

    page = sparse.call("GET", "/runs/ServerTasks-6")[1]

    assert 'class="chain"' in page
    assert 'class="blockers"' not in page and 'class="stretches"' not in page


def test_without_an_api_key_nobody_is_said_to_ask_octopus(sparse: Service) -> None:
    for path in PAGES:
        text = text_of(sparse.call("GET", path)[1])
        assert not re.search(r"a worker (asks|is asking)|is finding out from Octopus|not known yet: until", text), path
