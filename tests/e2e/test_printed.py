"""What steps print of our answers is never a command to Octopus, whatever people call their things."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from app.coordination.board import Board
from tests.conftest import Service
from tests.e2e.boards import name_machine

SET = "##octopus[setVariable name='eA==' value='eQ==']"
FULLWIDTH = "".join(chr(ord(letter) + 0xFEE0) for letter in "##octopus[")

#: What people can call a project, and what a step that prints it must not do.
NAMES = [SET, f"###{SET}", f"#\r{SET[1:]}", f"\x1b[2K{SET}", f"#\u202e{SET[1:]}", FULLWIDTH, f"{SET} #", "a\u2028b#"]

FORMS = ["application/json", "text/plain"]


def is_safe(text: str) -> bool:
    as_printed = unicodedata.normalize("NFKC", text)
    kinds = {unicodedata.category(character) for character in text}
    is_open = as_printed.endswith("#") or "##" in as_printed
    return not is_open and not kinds & {"Cc", "Cf", "Zl", "Zp"}


def lines(answer: Any) -> Iterator[str]:
    """Every text of an answer as a step can print it."""
    if isinstance(answer, str):
        yield from answer.rstrip("\n").split("\n")
    elif isinstance(answer, dict | list):
        for inner in answer.values() if isinstance(answer, dict) else answer:
            yield from lines(inner)


def asked(service: Service, method: str, path: str, body: Any = None, *, accept: str) -> Any:
    return service.call(method, path, body, headers={"Accept": accept})[1]


def info(name: str) -> dict[str, Any]:
    return {
        "project": {"id": name, "name": name}, "environment": {"name": name}, "release": {"version": name},
        "tenant": {"name": name}, "url": f"https://octopus.example.com/{name}",
    }  # fmt: skip


@pytest.mark.parametrize("accept", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_no_name_and_no_reason_is_a_command(service: Service, board: Board, name: str, accept: str) -> None:
    name_machine(board, 7, name)
    wanted = {"machines": ["Machines-7"], **info(name)}
    answers = [asked(service, "PUT", f"/api/waits/ServerTasks-{n}", wanted, accept=accept) for n in (1, 2)]
    answers.append(asked(service, "GET", "/api/waits/ServerTasks-2", accept=accept))
    service.call("POST", "/api/waits/ServerTasks-2/force-release", {"reason": name, "confirm": True})
    answers.append(asked(service, "GET", "/api/waits/ServerTasks-2", accept=accept))
    service.call("PUT", "/api/machines/Machines-8/reservation", {"note": name, "create": True})
    answers.append(asked(service, "PUT", "/api/waits/ServerTasks-3", {"machines": ["Machines-8"]}, accept=accept))
    answers.append(asked(service, "DELETE", f"/api/waits/ServerTasks-3?reason={quote(name)}", accept=accept))
    answers.append(asked(service, "GET", "/api/waits/ServerTasks-3", accept=accept))

    said = [line for answer in answers for line in lines(answer)]
    assert [line for line in said if not is_safe(line)] == []
    readable = "octopus" if "octopus" in name else unicodedata.normalize("NFKC", name)[:1]
    assert readable in unicodedata.normalize("NFKC", "".join(said))


@pytest.mark.parametrize("accept", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_no_error_is_a_command(service: Service, name: str, accept: str) -> None:
    task = f"/api/waits/{quote(name, safe='')}"
    answers = [
        asked(service, "GET", task, accept=accept),
        asked(service, "PUT", task, {"machines": ["Machines-7"]}, accept=accept),
        asked(service, "PUT", "/api/waits/ServerTasks-1", {"machines": [name]}, accept=accept),
        asked(service, "PUT", "/api/waits/ServerTasks-1", {"machines": ["Machines-7"], name: 1}, accept=accept),
        asked(service, "GET", f"/api/waits/ServerTasks-1?{quote(name)}=1", accept=accept),
        asked(service, "PUT", "/api/waits/ServerTasks-1", json.dumps(name)[:-1].encode(), accept=accept),
        asked(service, "DELETE", f"{task}/{quote(name, safe='')}", accept=accept),
        asked(service, "PATCH", task, accept=accept),
    ]

    assert all(answer["status"] >= 400 for answer in answers)
    assert [line for answer in answers for line in lines(answer) if not is_safe(line)] == []


def test_what_a_program_needs_stays_as_it_is(service: Service) -> None:
    link = "https://octopus.example.com/app#/Spaces-1/tasks/ServerTasks-1"
    service.call("PUT", "/api/waits/ServerTasks-1", {"machines": ["Machines-7"], "url": link})

    answer = asked(service, "PUT", "/api/waits/ServerTasks-2", {"machines": ["Machines-7"]}, accept=FORMS[0])

    assert answer["machines"][0]["holders"][0]["url"] == link
    assert answer["wake_key"].endswith(":wake:ServerTasks-2")
