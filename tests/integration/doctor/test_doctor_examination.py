"""The whole of an examination, and the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

from app.client.http import HttpGate
from app.doctor.examination import examine, open_context
from app.doctor.findings import has_error, summary
from app.octopus.client import OctopusClient
from tests.conftest import ROOT, eventually
from tests.integration.doctor.helpers import SECRET, UNKNOWN, WARNING, share


def test_examination_looks_at_everything(case, octopus):
    share(octopus)

    findings = list(examine(case))

    codes = {finding.code for finding in findings}
    assert {"redis_version", "redis_persistence", "redis_eviction", "octowait_not_ready", "kept_deliveries", "api_key",
            "unresolved_runs", "dead_letters", "octopus_version", "permission", "clocks", "task_cap", "holders",
            "subscription", "subscription_fresh", "events", "no_wait_step"} <= codes  # fmt: skip
    assert has_error(findings)


def test_check_that_cannot_be_made_is_a_finding_and_stops_no_other(case, octopus):
    octopus.statuses["/api/Spaces-1/projects"] = 403
    octopus.statuses["/api/Spaces-1/deployments"] = 403

    findings = [finding for finding in examine(case) if finding.code == "coverage"]

    assert [finding.level for finding in findings] == [UNKNOWN] and "403" in findings[0].what


def test_octowait_that_does_not_answer_leaves_octopus_to_be_looked_at(case):
    gone = replace(case, gate=HttpGate("http://127.0.0.1:1", "token"))

    codes = [finding.code for finding in examine(gone)]

    assert "octowait_unreachable" in codes and "subscription" in codes and "clocks" not in codes


def test_octopus_that_does_not_answer_is_asked_once(case, httpserver):
    gone = replace(case, octopus=OctopusClient("http://127.0.0.1:1", "API-KEY", attempts=1))

    codes = [finding.code for finding in examine(gone)]

    assert codes[-1] == "octopus_unreachable"


def test_without_a_key_octopus_is_a_warning(case):
    codes = {finding.code: finding.level for finding in examine(replace(case, octopus=None))}

    assert codes["octopus_not_set"] is WARNING and "api_key" not in codes


def test_no_redis_is_looked_at_where_its_address_is_unknown(case, settings):
    elsewhere = settings.model_copy(update={"redis_url": ""})

    with open_context(elsewhere, case.gate, is_here=True) as opened:
        assert opened.condition is None and opened.octopus is None
    with open_context(settings, case.gate, is_here=False) as opened:
        assert opened.condition and opened.condition().append_only


def test_summary_counts_levels(case):
    findings = list(examine(replace(case, octopus=None)))

    assert summary(findings).startswith("1 error, 1 warning, ")


def test_command_tells_by_its_status_whether_there_is_an_error(octopus, service, tmp_path):
    env = {k: v for k, v in os.environ.items() if not k.startswith("OCTOWAIT_")} | {
        "OCTOWAIT_URL": service.url, "OCTOWAIT_TOKEN": service.tokens["admin"], "PYTHONPATH": str(ROOT),
        "OCTOWAIT_OCTOPUS_URL": octopus.url, "OCTOWAIT_OCTOPUS_API_KEY": "API-KEY", "OCTOWAIT_WEBHOOK_SECRET": SECRET,
    }  # fmt: skip

    def doctor(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "app", "doctor", *words], env=env, cwd=tmp_path, text=True,
                              capture_output=True, timeout=60)  # fmt: skip

    ill = doctor()
    assert ill.returncode == 1 and "ERROR   octowait is not ready" in ill.stdout and ill.stderr == ""
    assert "1 error, " in ill.stdout

    worker = service.spawn("worker")
    try:
        eventually(lambda: service.call("GET", "/readyz", role=None)[0] == 200)
        well = doctor("--json")
    finally:
        worker.terminate()
        worker.wait(30)
    findings = json.loads(well.stdout)
    assert well.returncode == 0, well.stdout
    assert {"level", "code", "what", "do"} == set(findings[0])
