"""The record of a run: one list of fields for Lua and Python, and what people are shown of it."""

import json
import re
from dataclasses import fields

import pytest

from app.coordination.decode import decode_run, run_state
from app.domain.run import Rebuilt, Refusal, RunState, State
from app.domain.run_info import Document, RunInfo
from tests.conftest import ROOT

LUA = ROOT / "app" / "coordination" / "lua"
FIELDS = [field.name for field in fields(RunState)]


def without_comments(path):
    return re.sub(r"--.*", "", path.read_text())


def test_lua_and_python_list_the_same_fields():
    header = (LUA / "lib" / "runs.lua").read_text().partition("\nlocal ")[0]

    assert re.findall(r"^-- run\.(\w+) +\S", header, re.M) == FIELDS


def test_scripts_use_the_fields_that_are_listed_and_no_others():
    body = "\n".join(without_comments(path) for path in LUA.rglob("*.lua"))

    assert set(re.findall(r"\brun\.(\w+)", body)) <= set(FIELDS)
    assert {name for name in FIELDS if not re.search(rf"\b{name}\b", body)} == set()


def test_each_field_says_what_it_is():
    source = (ROOT / "app" / "domain" / "run.py").read_text().partition("class RunState:")[2].partition("\n\n\n")[0]

    assert re.findall(r"    #: .+\n    (\w+): ", source) == FIELDS


def test_nobody_but_the_decoder_reads_the_record_by_its_names():
    readers = {
        str(path.relative_to(ROOT))
        for room in ("app", "workers")
        for path in (ROOT / room).rglob("*.py")
        if re.search(r"\.run\[|\.run\.get|\.record\[|\.record\.get", path.read_text())
    }

    assert readers <= {"app/coordination/decode.py"}


def test_board_keeps_its_redis_to_itself():
    users = {
        str(path.relative_to(ROOT))
        for room in ("app", "workers")
        for path in (ROOT / room).rglob("*.py")
        if re.search(r"board\.(client|keys)\b", path.read_text())
    }

    assert users <= {"app/services.py"}


def test_record_becomes_a_typed_state():
    record = {
        "id": "ServerTasks-1", "state": "refused", "run": 2, "v": 7, "machines": {}, "presumed": ["Machines-7"],
        "parked": False, "rebuilt": {"raised_ms": 5, "has_terms": True}, "of a newer version": 1, "token": None,
        "refusal": {"circle": [{"from": "ServerTasks-1", "to": "ServerTasks-2", "how": "child"}]},
        "info": {"project": {"id": "Projects-1", "name": "Api"}, "release": {"version": "2.0.1"}},
    }  # fmt: skip

    run = decode_run(json.dumps(record))

    assert run == RunState(
        "ServerTasks-1", State.REFUSED, 2, 7, RunInfo(Document("Projects-1", "Api"), Document(None, "2.0.1")),
        presumed=("Machines-7",), rebuilt=Rebuilt(5, True),
        refusal=Refusal(({"from": "ServerTasks-1", "to": "ServerTasks-2", "how": "child"},)),
    )  # fmt: skip


def test_refusal_for_the_task_cap_has_its_numbers():
    run = run_state({"id": "1", "state": "refused", "refusal": {"blocking": 3, "cap": 5, "reserve": 2}})

    assert run.refusal == Refusal(blocking=3, cap=5, reserve=2)


@pytest.mark.parametrize(
    "record", [{"on_behalf_of": "ServerTasks-9"}, {"info": {"on_behalf_of": "ServerTasks-9"}}],
)  # fmt: skip
def test_whom_a_run_is_for_is_found_where_older_versions_kept_it_too(record):
    assert run_state({"id": "1", "state": "waiting", **record}).on_behalf_of == "ServerTasks-9"


@pytest.mark.parametrize(
    ("info", "label"),
    [
        ({}, ""),
        ({"project": {"name": "Api"}}, "Api"),
        ({"project": {"id": "Projects-1"}, "release": {"id": "Releases-1"}}, "Projects-1 Releases-1"),
        ({"environment": {"name": "Production"}}, "to Production"),
        (
            {"project": {"name": "Api"}, "release": {"version": "2.0.1"}, "environment": {"name": "Production (EU)"}},
            "Api 2.0.1 to Production (EU)",
        ),
        ({"project": {"name": "(old) Api"}}, "(old) Api"),
    ],
)
def test_label_is_what_people_call_a_run_and_whole(info, label):
    shown = RunInfo.from_json(info)

    assert shown.label == label
    assert shown.of("ServerTasks-1") == (f"ServerTasks-1 ({label})" if label else "ServerTasks-1")


@pytest.mark.parametrize(
    "info",
    [
        {},
        {
            "project": {"id": "Projects-1", "name": "Api"}, "release": {"id": "Releases-1", "version": "2.0.1"},
            "environment": {"name": "Production"}, "tenant": {"id": "Tenants-1"}, "space_id": "Spaces-1",
            "deployment_id": "Deployments-1", "runbook_run_id": "RunbookRuns-1", "url": "https://octopus.example.com/1",
            "machines_note": "", "on_behalf_of": "ServerTasks-9",
        },
    ],
)  # fmt: skip
def test_info_goes_through_json_as_it_is(info):
    assert RunInfo.from_json(info).as_json() == info


@pytest.mark.parametrize("info", [None, [], "Web", {"project": "Web", "tenant": [], "url": 7, "unheard of": 1}])
def test_info_of_any_shape_is_read(info):
    assert RunInfo.from_json(info) == RunInfo()


def test_space_is_one_that_can_be_part_of_an_address():
    assert RunInfo(space_id="Spaces-1").space == "Spaces-1"
    assert RunInfo(space_id="../../x").space is None
