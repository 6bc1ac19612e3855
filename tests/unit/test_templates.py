"""The step templates: what Octopus and its community library expect of them, and what an upload would do."""

from __future__ import annotations

import copy
import json
import re
import shutil
import uuid
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from app.provision.step_templates import LANGUAGES, STEPS, StepsNotFound, build_templates, plan_upload, write_templates

BUILT_AT = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)
CONTROL_TYPES = {"SingleLineText", "MultiLineText", "Checkbox", "Select", "Sensitive"}


@pytest.fixture(scope="module")
def templates() -> dict[str, dict[str, Any]]:
    return build_templates(built_at=BUILT_AT, version="1.2.3")


def every(templates: dict[str, dict[str, Any]], what: str) -> list[Any]:
    return [template[what] for template in templates.values()]


def parameters(template: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {parameter["Name"]: parameter for parameter in template["Parameters"]}


def test_there_is_one_for_each_script(templates: dict[str, dict[str, Any]]) -> None:
    scripts = {path.name for path in STEPS.iterdir() if path.suffix[1:] in LANGUAGES.values()}

    suffixes = {language.lower(): suffix for language, suffix in LANGUAGES.items()}
    named = (re.fullmatch(r"octowait-(\w+)-(\w+)\.json", name) for name in templates)
    assert {f"{match[1]}.{suffixes[match[2]]}" for match in named if match} == scripts


def test_the_body_is_the_file(templates: dict[str, dict[str, Any]]) -> None:
    for name, template in templates.items():
        step = name.split("-")[1]
        properties = template["Properties"]
        file = STEPS / f"{step}.{LANGUAGES[properties['Octopus.Action.Script.Syntax']]}"
        assert properties["Octopus.Action.Script.ScriptBody"].encode() == file.read_bytes()


def test_names_and_ids_are_unique_and_ids_are_guids(templates: dict[str, dict[str, Any]]) -> None:
    names, ids = every(templates, "Name"), every(templates, "Id")
    ids += [parameter["Id"] for template in templates.values() for parameter in template["Parameters"]]

    assert len({name.casefold() for name in names}) == len(names) and all(0 < len(name) <= 200 for name in names)
    assert len(set(ids)) == len(ids)
    for guid in ids:
        assert str(uuid.UUID(guid)) == guid


def test_the_ids_never_change(templates: dict[str, dict[str, Any]]) -> None:
    """Octopus and the community library know a template by its id."""
    assert templates["octowait-wait-bash.json"]["Id"] == "b32097ff-4b6e-5fe4-929b-6a219fb76128"
    assert templates["octowait-claim-python.json"]["Id"] == "08298e80-beac-5be6-9add-7c614af99684"
    assert (
        build_templates(built_at=BUILT_AT + timedelta(days=1), version="1.2.3")["octowait-wait-bash.json"]["Id"]
        == "b32097ff-4b6e-5fe4-929b-6a219fb76128"
    )


def test_every_value_that_octopus_keeps_as_a_string_is_one(templates: dict[str, dict[str, Any]]) -> None:
    for template in templates.values():
        assert all(isinstance(value, str) for value in template["Properties"].values())
        assert template["Version"] == 10203
        for parameter in template["Parameters"]:
            assert all(isinstance(value, str) for name, value in parameter.items() if name != "DisplaySettings")
            assert all(isinstance(value, str) for value in parameter["DisplaySettings"].values())


def test_they_say_who_and_when_as_the_community_library_demands(templates: dict[str, dict[str, Any]]) -> None:
    assert set(every(templates, "LastModifiedBy")) == {"octowait"}
    assert {meta["ExportedAt"] for meta in every(templates, "$Meta")} == {"2026-11-23T18:00:00.000Z"}
    there = build_templates(built_at=BUILT_AT.astimezone(timezone(timedelta(hours=5))), version="1.2.3")
    assert there == templates


def test_the_parameters_are_those_that_the_script_reads(templates: dict[str, dict[str, Any]]) -> None:
    for template in templates.values():
        body = template["Properties"]["Octopus.Action.Script.ScriptBody"]
        set_here = set(re.findall(r'(?:set_octopusvariable[ (]|Set-OctopusVariable -name )"(Octowait\.\w+)"', body))
        read = set(re.findall(r'"(Octowait\.\w+)"', body)) - set_here
        if template["Properties"]["Octopus.Action.Script.Syntax"] != "Python":
            read -= {"Octowait.RedisUrl"}  # it would only say that it cannot use it
        assert set(parameters(template)) == read


def test_the_defaults_are_those_of_the_script(templates: dict[str, dict[str, Any]]) -> None:
    found = 0
    for template in templates.values():
        body = template["Properties"]["Octopus.Action.Script.ScriptBody"]
        for name, default in re.findall(r'[Pp]arameter[ (]"(Octowait\.\w+)",? "([^"$]*)"', body):
            if name in parameters(template):
                found += 1
                assert parameters(template)[name]["DefaultValue"] == default, (template["Name"], name)
        assert parameters(template)["Octowait.Machines"]["DefaultValue"] == "#{Octopus.Deployment.Machines}"
    assert found > 20


def test_each_parameter_is_asked_for_in_the_right_way(templates: dict[str, dict[str, Any]]) -> None:
    for template in templates.values():
        for name, parameter in parameters(template).items():
            control = parameter["DisplaySettings"]["Octopus.ControlType"]
            assert control in CONTROL_TYPES
            assert (control == "Sensitive") == (name in ("Octowait.Token", "Octowait.Proxy", "Octowait.RedisUrl"))
            assert parameter["Label"] and re.match(r"[A-Z].+\.$", parameter["HelpText"])
            if control == "Select":
                options = parameter["DisplaySettings"]["Octopus.SelectOptions"].split("\n")
                assert [option.split("|")[0] for option in options] == ["fail", "proceed"]
                assert parameter["DefaultValue"] in ("fail", "proceed")


def test_people_read_text_without_links_into_this_repository(templates: dict[str, dict[str, Any]]) -> None:
    for template in templates.values():
        texts = [template["Description"], *(parameter["HelpText"] for parameter in template["Parameters"])]
        assert all(texts) and "](" not in "".join(texts)
    assert templates["octowait-wait-bash.json"]["Description"].splitlines()[-1].startswith("Needs Bash 3.2; curl, ")


def test_a_description_says_what_a_template_cannot_carry(templates: dict[str, dict[str, Any]]) -> None:
    for name, template in templates.items():
        said = template["Description"]
        by_hand = {"wait": "no retries", "claim": "no retries", "release": "Always run"}[name.split("-")[1]]
        for wish in ("once on a worker", "a pool of its own", by_hand, "time limit"):
            assert wish in said, name


def test_help_texts_say_what_is_required_and_can_be_copied(templates: dict[str, dict[str, Any]]) -> None:
    for template in templates.values():
        helps = {name: parameter["HelpText"] for name, parameter in parameters(template).items()}
        assert {name for name, text in helps.items() if text.startswith("Required: ")} == {
            "Octowait.Url", "Octowait.Token",
        }  # fmt: skip
        # A minus sign that no number may have would be copied from here.
        assert not [text for text in (template["Description"], *helps.values()) if "\u2212" in text]


def test_the_files_are_utf_8_without_a_mark_and_hold_the_templates(
    templates: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    files = write_templates(tmp_path / "new" / "directory", built_at=BUILT_AT, version="1.2.3")

    assert {file.name: json.loads(file.read_bytes().decode("utf-8")) for file in files} == templates
    assert all(file.read_bytes()[:1] == b"{" and b"\r" not in file.read_bytes() for file in files)


def test_says_what_is_missing(tmp_path: Path) -> None:
    steps = shutil.copytree(STEPS, tmp_path / "steps")
    (steps / "release.ps1").unlink()
    with pytest.raises(StepsNotFound, match=r"steps/release.ps1 is missing: expected the scripts and their README.md"):
        build_templates(built_at=BUILT_AT, version="1.2.3", steps=steps)

    (steps / "README.md").write_text("# Steps\n")
    with pytest.raises(StepsNotFound, match=r"README.md of the steps has no table Step "):
        build_templates(built_at=BUILT_AT, version="1.2.3", steps=steps)


def stored(template: dict[str, Any], number: int) -> dict[str, Any]:
    """A template as Octopus returns it: ids of its own, line ends of its own, more properties, no sensitive value."""
    kept = copy.deepcopy(template)
    del kept["$Meta"], kept["Category"]
    kept |= {"Id": f"ActionTemplates-{number}", "Version": 7, "SpaceId": "Spaces-1", "Links": {"Self": "…"}}
    kept["Properties"] = {name: value.replace("\n", "\r\n") for name, value in kept["Properties"].items()}
    kept["Properties"]["OctopusUseBundledTooling"] = "False"
    for parameter in kept["Parameters"]:
        parameter["Id"] = str(uuid.uuid4())
        if parameter["DisplaySettings"]["Octopus.ControlType"] == "Sensitive":
            parameter["DefaultValue"] = {"HasValue": False, "NewValue": None}
    return kept


def test_an_empty_space_gets_them_all(templates: dict[str, dict[str, Any]]) -> None:
    built = list(templates.values())

    plan = plan_upload([{"Id": "ActionTemplates-1", "Name": "Somebody's own", "Version": 3}], built)

    assert [upload.action for upload in plan] == ["create"] * 9
    assert [upload.body["Name"] for upload in plan] == every(templates, "Name")
    for upload, template in zip(plan, built, strict=True):
        assert upload.body["Properties"] == template["Properties"]
        assert not {"Id", "Version", "$Meta"} & set(upload.body)


def test_what_octopus_has_already_is_left_alone(templates: dict[str, dict[str, Any]]) -> None:
    existing = [stored(template, number) for number, template in enumerate(templates.values())]

    plan = plan_upload(existing, list(templates.values()))

    assert [upload.action for upload in plan] == ["unchanged"] * 9
    assert [upload.body["Id"] for upload in plan] == [f"ActionTemplates-{number}" for number in range(9)]


@pytest.mark.parametrize("change", ["body", "help", "default", "gone", "extra", "description"])
def test_a_difference_is_an_update_that_keeps_what_is_octopuss_own(
    templates: dict[str, dict[str, Any]], change: str
) -> None:
    new = templates["octowait-wait-python.json"]
    old = stored(new, 5)
    old["Name"] = old["Name"].upper() if change == "body" else old["Name"]
    url = old["Parameters"][0]
    if change == "body":
        old["Properties"]["Octopus.Action.Script.ScriptBody"] += "# old"
    elif change in ("help", "default"):
        url[{"help": "HelpText", "default": "DefaultValue"}[change]] = "something else"
    elif change == "gone":
        del old["Parameters"][-1]
    elif change == "extra":
        old["Parameters"].append({**url, "Name": "Octowait.Old", "Id": "x"})
    else:
        old["Description"] = "old"
    before = copy.deepcopy(old)

    [upload] = plan_upload([old], [new])

    assert upload.action == "update"
    assert upload.body["Id"] == "ActionTemplates-5" and upload.body["Version"] == 7
    assert upload.body["Properties"] == {**new["Properties"], "OctopusUseBundledTooling": "False"}
    assert list(parameters(dict(upload.body))) == list(parameters(new))
    assert parameters(dict(upload.body))["Octowait.Url"] == {**parameters(new)["Octowait.Url"], "Id": url["Id"]}
    assert plan_upload([upload.body], [new])[0].action == "unchanged"
    assert old == before, "it is the caller's"
