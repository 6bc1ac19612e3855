"""Step templates of Octopus, built from the scripts in steps/ and the tables of its README.md.

One JSON file for each step and language, in the format in which Octopus exports and imports a step template.

Source: the templates of Octopus's community library, 2025, and what its specs demand of them.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

_APP = Path(__file__).parent.parent

#: The scripts: beside app/ in a checkout; an installed package has them as data of app.
STEPS = next((path for path in (_APP / "steps", _APP.parent / "steps") if path.is_dir()), _APP.parent / "steps")

#: What Octopus calls the language of a script, and what the script's name ends with.
LANGUAGES = {"Bash": "sh", "PowerShell": "ps1", "Python": "py"}

TITLES = {"wait": "Wait for machines", "claim": "Claim machines", "release": "Release machines"}

#: The ids of templates and parameters come from this and their names, so that they never change.
ID_NAMESPACE = uuid.UUID("5a0d6e0c-3c0f-4f0b-9a43-6f63746f7761")

#: The version that the files say they were exported from; nothing in them needs a newer one.
OCTOPUS_VERSION = "2025.2.0"

#: How a script reads a parameter: the same call in all languages.
_READS = re.compile(r'(?:parameter|Get-OctowaitParameter)[ (]"(Octowait\.\w+)"')

#: What Octopus gives a template itself, and what only a file has.
_FILES_ONLY = {"Id", "Version", "CommunityActionTemplateId", "$Meta", "LastModifiedBy", "Category"}


class StepsNotFound(Exception):
    """The directory of the scripts is not there, or its README.md lacks a table."""


@dataclass(frozen=True)
class Control:
    """How Octopus asks for a parameter. *languages* are those whose script can make use of it."""

    label: str
    type: str = "SingleLineText"
    options: str = ""
    languages: frozenset[str] = frozenset(LANGUAGES)


CONTROLS = {
    "Octowait.Url": Control("Address of octowait"),
    "Octowait.Token": Control("Token", "Sensitive"),
    "Octowait.Machines": Control("Machines"),
    "Octowait.TimeoutMinutes": Control("Time-out in minutes"),
    "Octowait.Priority": Control("Priority"),
    "Octowait.OnBehalfOf": Control("On behalf of"),
    "Octowait.WhenUnreachable": Control(
        "When octowait does not answer", "Select", "fail|Fail the deployment\nproceed|Go on without waiting"
    ),
    # Both may hold a password.
    "Octowait.Proxy": Control("Proxy", "Sensitive"),
    "Octowait.RedisUrl": Control("Redis URL", "Sensitive", languages=frozenset({"Python"})),
    "Octowait.Claim": Control("Claim to release"),
}


@dataclass(frozen=True)
class Upload:
    """What to do with one template: POST *body*, PUT it to the template with its ``Id``, or nothing."""

    action: Literal["create", "update", "unchanged"]
    body: Mapping[str, Any]


def build_templates(*, built_at: datetime, version: str, steps: Path = STEPS) -> dict[str, dict[str, Any]]:
    """The templates by file name, e.g. ``octowait-wait-bash.json``.

    Args:
        version: Of octowait, e.g. ``1.2.3``.

    Raises:
        StepsNotFound: *steps* is not the directory of the scripts.
    """
    try:
        readme = (steps / "README.md").read_text(encoding="utf-8")
        return {
            f"octowait-{step}-{language.lower()}.json": _template(
                step, language, readme, steps, built_at, _number_of(version)
            )
            for step in TITLES
            for language in LANGUAGES
        }
    except OSError as error:
        raise StepsNotFound(f"{error.filename} is missing: expected the scripts and their README.md there") from error


def write_templates(directory: Path, *, built_at: datetime, version: str, steps: Path = STEPS) -> list[Path]:
    """Write the templates into *directory*, which is made if it is not there: the files, sorted.

    Raises:
        StepsNotFound: *steps* is not the directory of the scripts.
        OSError: *directory* cannot be written.
    """
    templates = build_templates(built_at=built_at, version=version, steps=steps)
    directory.mkdir(parents=True, exist_ok=True)
    for name, template in templates.items():
        text = json.dumps(template, indent=2, ensure_ascii=False) + "\n"
        (directory / name).write_text(text, encoding="utf-8", newline="\n")
    return sorted(directory / name for name in templates)


def plan_upload(existing: Sequence[Mapping[str, Any]], built: Sequence[Mapping[str, Any]]) -> list[Upload]:
    """What makes *existing* the same as *built*, in the order of *built*; other templates are left alone.

    Templates are the same by name, without regard to letter case. What Octopus keeps of its own in a template (its id
    and version, the ids of parameters, properties that we do not set) stays, and is no difference.

    Args:
        existing: All of ``GET /api/{space}/actiontemplates``.
        built: From `build_templates`.
    """
    by_name = {str(template["Name"]).casefold(): template for template in existing}
    return [_upload(by_name.get(template["Name"].casefold()), template) for template in built]


def _upload(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> Upload:
    body = {name: value for name, value in new.items() if name not in _FILES_ONLY}
    if old is None:
        return Upload("create", body)
    if _essence(old, new) == _essence(new, new):
        return Upload("unchanged", old)
    ids = {parameter["Name"]: parameter["Id"] for parameter in old.get("Parameters", ())}
    parameters = [{**parameter, "Id": ids.get(parameter["Name"], parameter["Id"])} for parameter in new["Parameters"]]
    properties = {**old.get("Properties", {}), **new["Properties"]}
    return Upload("update", {**old, **body, "Parameters": parameters, "Properties": properties})


def _essence(template: Mapping[str, Any], ours: Mapping[str, Any]) -> object:
    """What must be the same, as far as *ours* sets it."""
    properties = template.get("Properties", {})
    return (
        [_text(template.get(name)) for name in ("Name", "Description", "ActionType")],
        {name: _text(properties.get(name)) for name in ours["Properties"]},
        [_essence_of_parameter(parameter) for parameter in template.get("Parameters", ())],
    )


def _essence_of_parameter(parameter: Mapping[str, Any]) -> list[str]:
    display = parameter.get("DisplaySettings") or {}
    return [
        *(_text(parameter.get(name)) for name in ("Name", "Label", "HelpText", "DefaultValue")),
        *(_text(display.get(name)) for name in ("Octopus.ControlType", "Octopus.SelectOptions")),
    ]


def _text(value: object) -> str:
    """A value as Octopus may return it: line ends of its own, null, or a sensitive one that it does not show."""
    return value.replace("\r\n", "\n").strip() if isinstance(value, str) else ""


def _template(step: str, language: str, readme: str, steps: Path, built_at: datetime, number: int) -> dict[str, Any]:
    script = (steps / f"{step}.{LANGUAGES[language]}").read_bytes().decode("utf-8")
    return {
        "Id": _id(step, language),
        "Name": f"octowait - {TITLES[step]} ({language})",
        "Description": _description(step, language, readme),
        "ActionType": "Octopus.Script",
        "Version": number,
        "CommunityActionTemplateId": None,
        "Packages": [],
        "GitDependencies": [],
        "Properties": {
            "Octopus.Action.RunOnServer": "true",
            "Octopus.Action.Script.ScriptSource": "Inline",
            "Octopus.Action.Script.Syntax": language,
            "Octopus.Action.Script.ScriptBody": script,
        },
        "Parameters": list(_parameters(step, language, readme, script)),
        "StepPackageId": "Octopus.Script",
        "$Meta": {
            "ExportedAt": built_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "OctopusVersion": OCTOPUS_VERSION,
            "Type": "ActionTemplate",
        },
        "LastModifiedBy": "octowait",
        "Category": "octopus",
    }


def _parameters(step: str, language: str, readme: str, script: str) -> Iterator[dict[str, Any]]:
    """Those that the script reads and can make use of, in the order of the README."""
    read = set(_READS.findall(script))
    for name, default, means in _table(readme, "Name", "Default", "Means"):
        control = CONTROLS[name]
        if name not in read or language not in control.languages:
            continue
        settings = {"Octopus.ControlType": control.type}
        if control.options:
            settings["Octopus.SelectOptions"] = control.options
        yield {
            "Id": _id(step, language, name),
            "Name": name,
            "Label": control.label,
            "HelpText": _sentence(means),
            "DefaultValue": default,
            "DisplaySettings": settings,
        }


def _description(step: str, language: str, readme: str) -> str:
    where, does = next(row[1:] for row in _table(readme, "Step", "Where in the process", "Does") if row[0] == step)
    by_hand = next(text for name, text in _table(readme, "Step", "What a template cannot carry") if name == step)
    needs = next(needs for name, needs in _table(readme, "Language", "Needs") if name.startswith(f"{language} "))
    return "\n\n".join(
        (
            _sentence(does),
            f"Place in the process: {where}. It runs on a worker or the Octopus Server, never on deployment targets.",
            f"Set by hand what a template cannot carry: {by_hand}.",
            f"Needs {needs}.",
        )
    )


def _table(markdown: str, *header: str) -> list[list[str]]:
    """The rows under *header*; links are their words, and a first or second cell that is code is that code."""
    lines = markdown.splitlines()
    try:
        start = lines.index(f"| {' | '.join(header)} |") + 2
    except ValueError as error:
        raise StepsNotFound(f"README.md of the steps has no table {' | '.join(header)}") from error
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        cells = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", cell.strip()) for cell in line.strip("|").split("|")]
        rows.append([re.sub(r"^`(.*)`$", r"\1", cell) for cell in cells[:2]] + cells[2:])
    return rows


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].rstrip('.')}."


def _id(*names: str) -> str:
    return str(uuid.uuid5(ID_NAMESPACE, "/".join(names)))


def _number_of(version: str) -> int:
    """What grows with each release: 10203 for 1.2.3."""
    major, minor, patch = (int(part) for part in re.findall(r"\d+", version)[:3])
    return major * 10_000 + minor * 100 + patch
