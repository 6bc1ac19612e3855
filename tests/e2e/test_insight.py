"""Ledger, explanations and ETAs of a real server and a real command, on what really happened."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.domain.run import RunRequest
from app.followers.learner import Learner
from app.store.connection import connect
from app.store.keys import Keys
from tests.conftest import Service, a_delivery, eventually
from tests.e2e.test_cli import Cli
from tests.open_board import OpenBoard

URL = "https://octopus.example.com/app#/Spaces-1/tasks/"


def join(service: Service, number: int, *machines: str, project: str = "Web", **more: Any) -> dict[str, Any]:
    body = {
        "machines": machines or ("Machines-7",),
        "project": {"id": f"Projects-{project}", "name": project},
        "environment": {"id": "Environments-2", "name": "Production"},
        "url": f"{URL}ServerTasks-{number}",
        **more,
    }
    status, answer = service.call("PUT", f"/api/waits/ServerTasks-{number}", body, role="step")
    assert status in (200, 201), answer
    return dict(answer)


def release(service: Service, number: int) -> None:
    assert service.call("DELETE", f"/api/waits/ServerTasks-{number}", role="step") == (
        200, {"outcome": "released", "claim": None},
    )  # fmt: skip


def get(service: Service, path: str) -> Any:
    status, answer = service.call("GET", path, role="viewer")
    assert status == 200, answer
    return answer


@pytest.fixture
def service(make_service: Callable[..., Service]) -> Service:
    """One whose waiters outlast the start of a few commands."""
    return make_service(OCTOWAIT_WAITER_TTL_SECONDS="300")


@pytest.fixture
def worked(service: Service) -> Service:
    """Api and Web were deployed to Machines-7 one after the other; what they took is learned."""
    for number in (1, 3, 5):
        join(service, number, project="Api")
        join(service, number + 1)
        release(service, number)
        release(service, number + 1)
    client = connect(service.env["OCTOWAIT_REDIS_URL"])
    Learner(client, Keys(service.env["OCTOWAIT_NAMESPACE"])).learn()
    client.close()
    return service


def test_ledger_adds_up_to_what_the_timeline_says(worked: Service) -> None:
    ledger = get(worked, "/api/ledger?by=blocker")

    records = get(worked, "/api/timeline?kind=granted")["records"]
    assert ledger["total"]["lost_ms"] == sum(record["detail"]["waited_ms"] for record in records)
    [row] = ledger["rows"]
    assert (row["key"], row["name"], row["waits"]) == ("Projects-Api", "Api", 3)
    assert (row["share"], 0 < ledger["total"]["share"] < 1) == (None, True)
    assert ledger["known_from_ms"] == get(worked, "/api/timeline?limit=1")["records"][0]["at_ms"] > ledger["from_ms"]
    longest = ledger["longest"][0]
    assert sum(part["to_ms"] - part["from_ms"] for part in longest["stretches"]) == longest["waited_ms"]
    assert (longest["label"], longest["stretches"][0]["label"]) == (
        f"{longest['task_id']} (Web to Production)",
        f"{longest['stretches'][0]['task_id']} (Api to Production)",
    )
    assert longest["url"] == URL + longest["task_id"]


@pytest.mark.parametrize(
    ("by", "key", "name"),
    [
        ("machine", "Machines-7", "Machines-7"),
        ("project", "Projects-Web", "Web"),
        ("environment", "Environments-2", "Production"),
    ],
)
def test_ledger_has_names(worked: Service, by: str, key: str, name: str) -> None:
    ledger = get(worked, f"/api/ledger?by={by}")

    assert [(row["key"], row["name"]) for row in ledger["rows"]] == [(key, name)]
    assert 0 < ledger["rows"][0]["share"] < 1


def test_ledger_counts_who_still_waits_and_leaves_out_what_is_out_of_range(worked: Service) -> None:
    join(worked, 7, project="Api")
    join(worked, 8)
    requested_ms = get(worked, "/api/runs/ServerTasks-8")["requested_at_ms"]
    eventually(lambda: get(worked, f"/api/ledger?from_ms={requested_ms}")["total"]["lost_ms"] > 0)

    assert get(worked, f"/api/ledger?from_ms={requested_ms}")["longest"][0]["outcome"] == "waiting"
    assert get(worked, f"/api/ledger?from_ms=0&to_ms={requested_ms - 600_000}")["rows"] == []
    assert worked.call("GET", "/api/ledger?machine_id=Machines-404")[0] == 404
    assert get(worked, "/api/ledger?project_id=projects-web")["total"]["waits"] == 4


def test_ledger_as_csv_has_the_same_rows(worked: Service) -> None:
    status, text = worked.call("GET", "/api/ledger?by=week&format=csv", role="viewer")

    rows = list(csv.DictReader(io.StringIO(text)))
    assert status == 200
    assert [(row["key"], row["waits"]) for row in rows] == [
        (row["key"], str(row["waits"])) for row in get(worked, "/api/ledger?by=week")["rows"]
    ]


@pytest.fixture
def an_hour_ago(service: Service) -> Service:
    """Three deployments of Web held Machines-7 for ten minutes each, by a clock that was behind then."""
    client = connect(service.env["OCTOWAIT_REDIS_URL"])
    board = OpenBoard(client, namespace=service.env["OCTOWAIT_NAMESPACE"], offset_ms=-3_600_000)
    for number in range(101, 104):
        info = {"project": {"id": "Projects-Web"}, "environment": {"id": "Environments-2"}}
        board.join(RunRequest(f"ServerTasks-{number}", info), {"Machines-7"})
        board.script.offset_ms += 600_000
        board.release(f"ServerTasks-{number}")
    Learner(client, board.keys).learn()
    client.close()
    return service


def test_a_waiter_has_an_eta_in_its_answers_and_in_its_message(an_hour_ago: Service) -> None:
    join(an_hour_ago, 1)
    first = join(an_hour_ago, 2)
    text = {"Accept": "text/plain"}

    _, shown = an_hour_ago.call("GET", "/api/waits/ServerTasks-2", role="step", headers=text)
    [listed] = get(an_hour_ago, "/api/waits")["waits"]

    # On a busy machine the three differ by some milliseconds, and so p90 can be a little more than any of them.
    assert 590_000 < first["eta_ms"]["p50"] <= first["eta_ms"]["p90"] < 610_000
    assert re.search(r" Expected in about 10 min, in nine of ten cases in at most 10 min\.$", first["message"])
    assert " Expected in about 10 min" in shown.splitlines()[1]
    assert listed["eta_ms"] is not None
    assert join(an_hour_ago, 1)["eta_ms"] is None
    assert join(an_hour_ago, 3, "Machines-8", project="Api")["eta_ms"] is None


def test_eta_report_compares_what_was_foretold_with_what_came(an_hour_ago: Service) -> None:
    join(an_hour_ago, 1)
    join(an_hour_ago, 2)
    release(an_hour_ago, 1)
    client = connect(an_hour_ago.env["OCTOWAIT_REDIS_URL"])
    Learner(client, Keys(an_hour_ago.env["OCTOWAIT_NAMESPACE"])).learn()
    client.close()

    report = get(an_hour_ago, "/api/eta-report")

    assert (report["waits"], report["within_p50"], report["without_eta"]) == (1, 1, 0)
    assert 590_000 < report["mean_error_ms"] < 601_000


def test_explain_goes_down_to_the_run_that_works(service: Service) -> None:
    join(service, 1, "Machines-8", project="Api")
    join(service, 2, "Machines-7", "Machines-8")
    join(service, 3, "Machines-7")

    found = get(service, "/api/waits/ServerTasks-3/explain")

    assert [(link["kind"], link["task_id"], link["machine_id"]) for link in found["chain"]] == [
        ("waiting", "ServerTasks-2", "Machines-7"), ("working", "ServerTasks-1", "Machines-8"),
    ]  # fmt: skip
    assert found["chain"][1]["url"] == URL + "ServerTasks-1"
    assert found["what_if"]["first"]["starts_now"] and found["what_if"]["first"]["passes"] == 1
    assert found["what_if"]["without"] == []
    assert "With the highest priority it would start at once." in found["sentences"]
    assert any("octowait force-release ServerTasks-1" in said for said in found["sentences"])
    without = get(service, "/api/waits/ServerTasks-2/explain")["what_if"]["without"]
    assert [(other["machine_id"], other["starts_now"]) for other in without] == [
        ("Machines-7", False), ("Machines-8", True),
    ]  # fmt: skip


def test_explain_names_a_reservation_and_how_to_end_it(service: Service) -> None:
    service.call("PUT", "/api/machines/Machines-7/reservation", {"note": "disk swap", "create": True})
    join(service, 1, "Machines-7")

    [link] = get(service, "/api/waits/ServerTasks-1/explain")["chain"]

    assert (link["kind"], link["task_id"], link["note"], link["by"]) == ("reservation", None, "disk swap", "test")
    assert link["remedy"] == "Machines-7 is free with: octowait unreserve Machines-7"


def test_explain_names_running_tasks_whose_machines_nobody_knows_yet(service: Service) -> None:
    join(service, 1)
    join(service, 2)
    assert service.deliver(a_delivery(task=77))[1]["outcome"] == "applied"

    found = get(service, "/api/waits/ServerTasks-2/explain")

    assert found["unresolved"] == ["ServerTasks-77"]
    assert "Running on machines that are not known yet, perhaps on these: ServerTasks-77." in found["sentences"]


def test_explain_of_a_long_line_is_cut(service: Service) -> None:
    for number in range(1, 31):
        join(service, number)

    [line] = get(service, "/api/waits/ServerTasks-30/explain")["machines"]

    assert (line["place"], len(line["ahead"]), line["more"]) == (29, 20, 8)


def test_explain_of_a_run_that_has_started_tells_its_story(service: Service) -> None:
    join(service, 1, project="Api")
    join(service, 2)
    release(service, 1)

    found = get(service, "/api/waits/ServerTasks-2/explain")

    assert (found["state"], found["chain"], found["what_if"]) == ("granted", [], None)
    [wait] = found["waits"]
    assert [part["task_id"] for part in wait["stretches"]] == ["ServerTasks-1"]
    assert any("ServerTasks-1 (Api to Production) held Machines-7." in said for said in found["sentences"])
    assert service.call("GET", "/api/waits/ServerTasks-404/explain", role="viewer")[0] == 404


def test_a_step_may_not_read_them(service: Service) -> None:
    for path in ("/api/ledger", "/api/eta-report", "/api/waits/ServerTasks-1/explain"):
        assert service.call("GET", path, role="step")[0] == 403


@pytest.mark.parametrize("how", ["http", "redis"])
def test_commands_print_the_same(worked: Service, tmp_path: Path, how: str) -> None:
    octowait = Cli(worked, how, tmp_path)
    join(worked, 7, project="Api")
    join(worked, 8)

    said = octowait("ledger", "--by", "blocker", "--since", "1h")
    assert "Api (Projects-Api)" in said
    assert "On record since" in said
    assert octowait("ledger", "--by", "project", "--format", "csv").splitlines()[0].startswith("key,name,waits")
    assert json.loads(octowait("ledger", "--by", "week", "--json"))["by"] == "week"
    said = octowait("explain", "ServerTasks-8").splitlines()
    assert said[0].startswith("Waiting for Machines-7, place 1: ServerTasks-7 (Api to Production) has held it for")
    assert f"ServerTasks-7: {URL}ServerTasks-7" in said
    assert "unknown_run" in octowait("explain", "ServerTasks-404", status=1)
    assert octowait("eta-report").splitlines()[0].startswith("Week")
