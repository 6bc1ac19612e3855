"""What the body of a claim may say of ids: one that is none would become part of an address, or of a key."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from app.web.api.schemas.admin import ArchiveRequest, RebuildRequest
from app.web.api.schemas.waits import ForceRelease, WaitRequest

NO_IDS = ["../x", "Spaces-1/../x", "a b", "a,b", "a\0b", "a?b", "ü", "x" * 101, "-1"]
NO_SPACES = [*NO_IDS, "Default", "Projects-1", "Spaces-", "all"]

FIELDS = [
    "deployment_id", "runbook_run_id", "project.id", "environment.id", "release.id", "tenant.id", "on_behalf_of",
]  # fmt: skip


def a_request(field: str, value: Any) -> dict[str, Any]:
    name, _, inner = field.partition(".")
    return {"machines": ["Machines-7"], name: {inner: value} if inner else value}


def value_of(request: WaitRequest, field: str) -> Any:
    name, _, inner = field.partition(".")
    found = getattr(request, name)
    return getattr(found, inner) if inner else found


@pytest.mark.parametrize(
    ("field", "value"),
    [*((field, value) for field in FIELDS for value in NO_IDS), *(("space_id", value) for value in NO_SPACES)],
)
def test_what_is_no_id_is_refused_with_an_example(field, value):
    with pytest.raises(ValidationError) as refused:
        WaitRequest.model_validate(a_request(field, value))

    [problem] = refused.value.errors()
    assert ".".join(map(str, problem["loc"])) == field
    assert problem["msg"].startswith("expected an Octopus id such as ")


@pytest.mark.parametrize("value", NO_IDS)
def test_machines_are_ids(value):
    with pytest.raises(ValidationError, match="expected an Octopus id such as Machines-7"):
        WaitRequest.model_validate({"machines": ["Machines-7", value]})


@pytest.mark.parametrize("field", [*FIELDS, "space_id"])
def test_id_is_taken_as_it_is(field):
    value = "Spaces-1" if field == "space_id" else "Things-7"

    assert value_of(WaitRequest.model_validate(a_request(field, value)), field) == value


@pytest.mark.parametrize("blank", ["", " ", None])
@pytest.mark.parametrize("field", [field for field in [*FIELDS, "space_id"] if field != "on_behalf_of"])
def test_step_may_leave_an_id_empty(field, blank):
    """An Octopus without spaces or tenants has no such variable."""
    assert value_of(WaitRequest.model_validate(a_request(field, blank)), field) is None


@pytest.mark.parametrize("value", [0, 1, "true", "yes", "", None])
@pytest.mark.parametrize(
    ("model", "body", "field"),
    [(WaitRequest, {"machines": ["Machines-7"]}, "parked"), (ForceRelease, {"reason": "a test"}, "confirm"),
     (ArchiveRequest, {}, "begin_anew"), (RebuildRequest, {"reason": "a test"}, "open")],
)  # fmt: skip
def test_yes_or_no_is_no_word_and_no_number(model, body, field, value):
    """Found by schemathesis: what the document calls a boolean was one in many spellings, also to use force."""
    assert getattr(model.model_validate({**body, field: True}), field) is True
    with pytest.raises(ValidationError, match="valid boolean"):
        model.model_validate({**body, field: value})


@pytest.mark.parametrize("field", ["space_id", "deployment_id"])
@pytest.mark.parametrize(("value", "fits"), [("", True), (" ", True), (None, True), ("Spaces-1", True), ("a b", False)])
def test_document_says_which_ids_are_taken(field, value, fits):
    schema = WaitRequest.model_json_schema()

    assert Draft202012Validator({**schema["properties"][field], "$defs": schema["$defs"]}).is_valid(value) is fits


def test_of_ten_thousand_wrong_machines_the_first_is_told():
    with pytest.raises(ValidationError) as refused:
        WaitRequest.model_validate({"machines": ["Machines-7", *["a b"] * 9_999], "timeout_seconds": 0})

    assert [error["loc"] for error in refused.value.errors()] == [("machines", 1), ("timeout_seconds",)]
