"""The octowait command as a real process, over HTTP and directly on Redis."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.coordination.board import Board
from app.coordination.dead_letters import JobLog
from tests.conftest import ROOT, Service, a_delivery, eventually

READING = ["status", "machines", "waits", "run", "timeline", "kept", "ledger", "explain", "eta-report"]
COMMANDS = [
    *READING, "up", "serve", "worker", "scheduler", "wait", "release", "reserve", "unreserve", "force-release",
    "prioritize", "replay", "dead-letters", "doctor", "archive", "catch-up", "rebuild",
]  # fmt: skip


class Cli:
    """Runs octowait commands against one service: over HTTP, or directly on its Redis."""

    def __init__(self, service: Service, how: str, directory: Path) -> None:
        self.cwd = directory
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("OCTOWAIT_")}
        self.env |= {"PYTHONPATH": str(ROOT), "OCTOWAIT_NAMESPACE": service.env["OCTOWAIT_NAMESPACE"]}
        self.env["OCTOWAIT_WEBHOOK_SECRET"] = service.env["OCTOWAIT_WEBHOOK_SECRET"]
        if how == "http":
            self.env |= {"OCTOWAIT_URL": service.url, "OCTOWAIT_TOKEN": service.tokens["admin"]}
        else:
            self.env["OCTOWAIT_REDIS_URL"] = service.env["OCTOWAIT_REDIS_URL"]

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "app", *words], env=self.env, cwd=self.cwd, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def __call__(self, *words: str, status: int = 0) -> str:
        process = self.start(*words)
        out, err = process.communicate(timeout=60)
        assert process.returncode == status, (words, process.returncode, out, err)
        return out if status == 0 else err


@pytest.fixture(params=["http", "redis"])
def octowait(request: pytest.FixtureRequest, service: Service, tmp_path: Path) -> Cli:
    return Cli(service, request.param, tmp_path)


def test_a_wait_blocks_until_the_holder_gives_back(octowait: Cli, service: Service) -> None:
    octowait("wait", "ServerTasks-1", "-m", "Machines-7", "--project", "Api")
    waiting = octowait.start("wait", "ServerTasks-2", "-m", "Machines-7", "--json")
    assert waiting.stderr
    assert waiting.stderr.readline().startswith("Waiting for Machines-7, place 1: ServerTasks-1 (Api) has held it for")

    released = octowait("release", "ServerTasks-1")

    out, _ = waiting.communicate(timeout=30)
    assert released == "ServerTasks-1: released\n"
    assert (waiting.returncode, json.loads(out)["state"]) == (0, "granted")


def test_release_names_the_claim_that_has_the_machines_now(octowait: Cli, service: Service) -> None:
    octowait("wait", "ServerTasks-1", "-m", "Machines-7")
    claim = service.call("GET", "/api/waits/ServerTasks-1?look=1")[1]["claim"]

    octowait("release", "ServerTasks-1")

    kinds = [record["kind"] for record in service.call("GET", "/api/runs/ServerTasks-1")[1]["timeline"]]
    assert kinds == ["joined", "granted", "released"]
    again = service.call(
        "PUT", "/api/waits/ServerTasks-1", {"machines": ["Machines-7"]}, headers={"X-Octowait-Claim": claim}
    )
    assert again[1]["state"] == "left"


def test_a_wait_that_times_out_fails_with_the_reason(octowait: Cli) -> None:
    octowait("wait", "ServerTasks-1", "-m", "Machines-7")

    process = octowait.start("wait", "ServerTasks-2", "-m", "Machines-7", "--timeout-minutes", "0.02")

    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert out.splitlines()[-1].startswith("ServerTasks-2 was removed from the line: its time-out has passed")


def test_every_reading_command_prints_a_table_and_json(octowait: Cli) -> None:
    octowait("wait", "ServerTasks-1", "-m", "Machines-7", "--project", "Web [x]", "--release", "1.4.0")

    for command in READING:
        words = [command, "ServerTasks-1"] if command in ("run", "explain") else [command]
        assert isinstance(json.loads(octowait(*words, "--json")), dict)
        shown = octowait(*words)
        if command in ("machines", "run", "timeline"):
            assert "ServerTasks-1" in shown
    assert "Web [x] 1.4.0" in octowait("machines")
    assert "held by ServerTasks-1" in octowait("machines", "Machines-7")


def test_the_timeline_streams_as_csv_and_ndjson(octowait: Cli) -> None:
    octowait("wait", "ServerTasks-1", "-m", "Machines-7")

    lines = octowait("timeline", "--format", "csv", "--since", "1h").splitlines()
    records = [json.loads(line) for line in octowait("timeline", "--format", "ndjson").splitlines()]

    assert lines[0].startswith("id,at_ms,kind")
    assert [record["kind"] for record in records] == ["joined", "granted"]
    assert len(lines) == 3


def test_an_operator_reserves_prioritizes_and_frees(octowait: Cli) -> None:
    octowait("reserve", "Machines-7", "--note", "disk swap", "--until", "2h", "--create")
    first = octowait.start("wait", "ServerTasks-1", "-m", "Machines-7")
    second = octowait.start("wait", "ServerTasks-2", "-m", "Machines-7")
    eventually(lambda: len(json.loads(octowait("waits", "--json"))["waits"]) == 2)
    last = json.loads(octowait("waits", "--json"))["waits"][-1]["task_id"]

    octowait("prioritize", last, "5", "--reason", "hotfix")
    assert json.loads(octowait("waits", "--json"))["waits"][0]["task_id"] == last
    assert octowait("unreserve", "Machines-7") == "Machines-7 is reserved no longer\n"
    assert octowait("force-release", last, "--reason", "stuck") == f"{last}: released\n"

    for process in (first, second):
        assert process.wait(30) == 0
        process.communicate()


def test_stored_payloads_can_be_replayed(octowait: Cli, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps(a_delivery(number=1)))
    (tmp_path / "two.json").write_text(json.dumps([a_delivery(number=1), a_delivery("DeploymentFailed", number=2)]))
    (tmp_path / "bad.json").write_text("{")

    applied = octowait("replay", "one.json", "two.json")
    process = octowait.start("replay", "bad.json")
    out, _ = process.communicate(timeout=30)

    assert [line.split()[-1] for line in applied.splitlines()] == ["applied", "duplicate", "applied"]
    assert (process.returncode, out.split()[-1]) == (1, "kept")
    assert "not JSON" in octowait("kept")


def test_what_was_kept_can_be_replayed_and_is_kept_no_longer(octowait: Cli, tmp_path: Path) -> None:
    lonely = a_delivery("DeploymentFailed", number=13, task=None)
    (tmp_path / "lonely.json").write_text(json.dumps(lonely))
    (tmp_path / "started.json").write_text(json.dumps(a_delivery(number=14, occurred="2026-01-01T00:00:00Z")))
    octowait("replay", "lonely.json", status=1)
    octowait("replay", "started.json")
    (tmp_path / "kept.json").write_text(octowait("kept", "--json"))

    out = octowait("replay", "kept.json")

    assert out.split()[-1] == "applied"
    assert json.loads(octowait("kept", "--json"))["kept"] == []
    assert "not_kept" in octowait("kept", "--forget", "1-0", status=1)


def test_a_job_that_failed_is_listed_until_it_is_forgotten(octowait: Cli, board: Board) -> None:
    dead = JobLog(board.client, board.keys)
    dead.keep(job="reconcile", error="KeyError: 'x'")
    [letter] = dead.all()

    table = octowait("dead-letters")
    listed = json.loads(octowait("dead-letters", "--json"))["dead_letters"]
    forgotten = octowait("dead-letters", "--forget", letter["id"])

    assert letter["id"] in table and "KeyError: 'x'" in table
    assert [each["job"] for each in listed] == ["reconcile"]
    assert forgotten == f"{letter['id']}: forgotten\n"
    assert dead.all() == []
    assert "not_kept" in octowait("dead-letters", "--forget", letter["id"], status=1)


def test_exit_statuses_tell_refused_usage_and_unreachable_apart(octowait: Cli, tmp_path: Path) -> None:
    assert "unknown_run" in octowait("run", "ServerTasks-99", status=1)
    assert "expected 30m" in octowait("timeline", "--since", "yesterday", status=2)
    unreachable = ["--redis-url", f"unix://{tmp_path}/nobody"]
    if "OCTOWAIT_URL" in octowait.env:
        unreachable = ["--url", "http://127.0.0.1:9"]
    assert octowait("machines", *unreachable, status=3).startswith("octowait: ")
    octowait.env["OCTOWAIT_BIND"] = "nowhere"
    assert "OCTOWAIT_BIND='nowhere': expected host:port" in octowait("machines", status=2)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(command: str) -> None:
    from click.testing import CliRunner

    from app.cli import cli

    shown = CliRunner().invoke(cli, [command, "--help"]).output

    assert "Example" in shown and f"octowait {command}" in shown
    assert ("--json" in shown) == (command not in ("up", "serve", "worker", "scheduler"))
