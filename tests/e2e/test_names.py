"""A name is taken wherever an id is: by the API, the command, the forms and the addresses of pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Service
from tests.e2e.test_cli import Cli

MACHINES = {"Machines-5": "web-05", "Machines-6": "web-06", "Machines-7": "Same", "Machines-8": "same"}

#: What one run has of each kind: its id and its name.
THINGS = {
    "machine": ("Machines-5", "web-05"), "project": ("Projects-7", "Web shop"),
    "environment": ("Environments-2", "Production (EU)"),
}  # fmt: skip


@pytest.fixture
def known(service: Service, board: Any) -> Service:
    """An octowait that has seen two runs of different projects, and machines of which two share a name."""
    for number, (machine, name) in enumerate(MACHINES.items()):
        project = {"id": f"Projects-{7 + number}", "name": "Web shop" if not number else "Twin"}
        environment = {"id": f"Environments-{2 + number}", "name": "Production (EU)" if not number else "Test"}
        body = {"machines": [machine], "project": project, "environment": environment}
        assert service.call("PUT", f"/api/waits/ServerTasks-{number}", body)[0] == 201
        board.name(f"ServerTasks-{number}", {}, [{"id": machine, "name": name}])
    return service


Ask = Callable[[Service, str, str], tuple[int, Any]]


def _query(text: str, kind: str) -> str:
    from urllib.parse import urlencode

    return urlencode({f"{kind}_id": text})


#: Every call that takes an id, with the kinds that it takes; its answer is the same for the name.
CALLS: dict[str, tuple[tuple[str, ...], Ask]] = {
    "timeline": (("machine", "project", "environment"), lambda s, k, t: s.call("GET", f"/api/timeline?{_query(t, k)}")),
    "timeline as lines": (
        ("machine", "project", "environment"),
        lambda s, k, t: s.call("GET", f"/api/timeline?format=ndjson&{_query(t, k)}"),
    ),
    "ledger": (("machine", "project"), lambda s, k, t: s.call("GET", f"/api/ledger?by=week&to_ms=1&{_query(t, k)}")),
    "report": (("machine", "project"), lambda s, k, t: s.call("GET", f"/api/report?to_ms=1&{_query(t, k)}")),
    "machine": (("machine",), lambda s, k, t: s.call("GET", f"/api/machines/{t}")),
    "reserve": (("machine",), lambda s, k, t: s.call("PUT", f"/api/machines/{t}/reservation", {"note": "a test"})),
    "unreserve": (("machine",), lambda s, k, t: s.call("DELETE", f"/api/machines/{t}/reservation")),
    "timeline page": (
        ("machine", "project", "environment"),
        lambda s, k, t: s.call("GET", f"/timeline?{_query(t, k)}"),
    ),
    "ledger page": (("machine", "project"), lambda s, k, t: s.call("GET", f"/ledger?{_query(t, k)}")),
    "machine page": (("machine",), lambda s, k, t: s.call("GET", f"/machines/{t}")),
}
CASES = [(call, kind) for call, (kinds, _) in CALLS.items() for kind in kinds]
PAGES = {"timeline page", "ledger page"}


@pytest.mark.parametrize(("call", "kind"), CASES)
def test_a_name_stands_for_its_id_everywhere(known: Service, call: str, kind: str) -> None:
    ask = CALLS[call][1]
    own_id, name = THINGS[kind]

    for text in (own_id, own_id.upper(), name, name.upper()):
        status, answer = ask(known, kind, text)
        assert status == 200, answer
        if call in PAGES:
            assert "octowait knows" not in answer and f"{kind}_id={own_id}".lower() in answer.lower()
        elif call.startswith("timeline"):
            assert own_id in str(answer)
    assert not [m for m in known.call("GET", "/api/machines")[1]["machines"] if m["id"].lower().startswith("web")]


def own_prefix(kind: str) -> str:
    return THINGS[kind][0].partition("-")[0]


@pytest.mark.parametrize(("call", "kind"), CASES)
def test_an_unknown_name_is_an_error_with_the_nearest(known: Service, call: str, kind: str) -> None:
    name = {"machine": "wbe-05", "project": "Web shpo", "environment": "Prodction (EU)"}[kind]

    for text in (name, f"{own_prefix(kind)}-99"):
        status, answer = CALLS[call][1](known, kind, text)
        said = answer if isinstance(answer, str) else answer["detail"]
        if call not in PAGES:
            assert status == 404, answer
        assert f"is no {kind} that octowait knows" in said
        if text == name:
            assert THINGS[kind][1] in said and THINGS[kind][0] in said
    assert {m["id"] for m in known.call("GET", "/api/machines")[1]["machines"]} == set(MACHINES)


@pytest.mark.parametrize(("call", "kind"), CASES)
def test_a_name_that_several_share_asks_which(known: Service, call: str, kind: str) -> None:
    name, ids = {
        "machine": ("same", "Machines-7, Machines-8"), "project": ("twin", "Projects-8, Projects-9, Projects-10"),
        "environment": ("test", "Environments-3, Environments-4, Environments-5"),
    }[kind]  # fmt: skip

    status, answer = CALLS[call][1](known, kind, name)

    said = answer if isinstance(answer, str) else answer["detail"]
    assert call in PAGES or status == 409
    assert "say which by its id" in said
    assert set(ids.split(", ")) <= set(said.replace(".", " ").replace(",", " ").split())


def test_a_run_that_asks_for_a_name_stands_in_the_line_of_its_machine(known: Service) -> None:
    place = known.call("PUT", "/api/waits/ServerTasks-90", {"machines": ["web-05", "Machines-6"]})[1]
    assert [machine["id"] for machine in place["machines"]] == ["Machines-5", "Machines-6"], "in the order of the ids"

    status, answer = known.call("PUT", "/api/waits/ServerTasks-91", {"machines": ["SAME"]})
    assert (status, answer["code"]) == (409, "ambiguous_name")

    unused = known.call("PUT", "/api/waits/ServerTasks-92", {"machines": ["new-01"]})[1]
    assert unused["state"] == "granted"


def test_the_command_reserves_the_machine_of_that_name_and_makes_none_up(known: Service, tmp_path: Path) -> None:
    octowait = Cli(known, "http", tmp_path)

    assert octowait("reserve", "WEB-05", "--note", "disk").startswith("WEB-05 (Machines-5) is reserved: disk")
    unknown = octowait("reserve", "web-50", "--note", "disk", status=1)
    assert "web-05 (Machines-5)" in unknown and "--create" in unknown
    assert octowait("reserve", "Machines-50", "--note", "new", "--create").startswith("Machines-50 is reserved")
    assert "Nobody" not in octowait("timeline", "--machine", "web-05")
    assert "is no project" in octowait("ledger", "--project", "Shop", status=1)
    assert "is no environment" in octowait("timeline", "--environment", "Moon", status=1)
