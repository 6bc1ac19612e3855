"""The step scripts are made of their parts, and the three languages are twins part by part."""

from __future__ import annotations

import ast
import re

import pytest
import wording
from run_step import STEPS

from steps.parts import build

LANGUAGES = sorted(build.LANGUAGES)


def files(language: str) -> dict[str, str]:
    """The bodies and parts of a language, by name."""
    suffix = build.LANGUAGES[language]
    found = (build.PARTS / language).glob(f"*.{suffix}")
    return {path.stem: path.read_text(encoding="utf-8") for path in found}


#: What the others are held to is the last.
TWINS = [(language, LANGUAGES[-1]) for language in LANGUAGES[:-1]]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("verb", build.VERBS)
def test_a_script_is_what_make_steps_writes(verb: str, language: str) -> None:
    written = STEPS / f"{verb}.{build.LANGUAGES[language]}"

    assert written.read_bytes().decode("utf-8") == build.build_script(verb, language)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("verb", build.VERBS)
def test_a_script_needs_nothing_but_itself(verb: str, language: str) -> None:
    assert "# part:" not in build.build_script(verb, language)


@pytest.mark.parametrize(("language", "twin"), TWINS)
def test_the_languages_have_the_same_parts(language: str, twin: str) -> None:
    assert sorted(files(language)) == sorted(files(twin))


@pytest.mark.parametrize(("language", "twin"), TWINS)
@pytest.mark.parametrize("verb", build.VERBS)
def test_the_languages_put_them_together_in_the_same_order(verb: str, language: str, twin: str) -> None:
    assert build.part_names(verb, language) == build.part_names(verb, twin)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_part_is_left_over(language: str) -> None:
    used = {name for verb in build.VERBS for name in build.part_names(verb, language)}

    assert used == set(files(language)) - set(build.VERBS)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("verb", build.VERBS)
def test_the_parts_are_those_of_the_readme(verb: str, language: str) -> None:
    readme = (build.PARTS / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| `(\w+)` \| ((?:\w+, )*\w+) \|", readme)

    assert build.part_names(verb, language) == [name for name, verbs in rows if verb in verbs.split(", ")]


def _is_message(text: str) -> bool:
    """Three words in a row are for people."""
    return bool(re.search(r"[A-Za-z]+ [a-z<>]+ [a-z<>(]+", text))


def python_messages(source: str) -> set[str]:
    found = set()
    tree = ast.parse(source)
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            found.add("".join(str(p.value) if isinstance(p, ast.Constant) else "<>" for p in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            found.add(node.value)
    return found


def bash_messages(source: str) -> set[str]:
    code = re.sub(r"\\\n", "", re.sub(r"(?m)^\s*#.*$|\s#\s.*$", "", source))
    texts = re.findall(r'"((?:[^"\\\n]|\\.)*)"|(?<==)\'([^\'\n]*)\'', code)
    return {re.sub(r"\$\{\w+\}|\$\w+", "<>", double or single) for double, single in texts}


def powershell_messages(source: str) -> set[str]:
    code = re.sub(r'" \+\s*"', "", re.sub(r"(?m)^\s*#.*$|\s#\s.*$", "", source))
    texts = re.findall(r'"([^"\n]*)"|= \'([^\'\n]*)\'', code)
    return {re.sub(r"\$\(\$[\w.]+\)|\$\{\w+\}|\$\w+(:\w+)?", "<>", double or single) for double, single in texts}


MESSAGES = {"bash": bash_messages, "powershell": powershell_messages, "python": python_messages}


def messages(name: str, language: str) -> set[str]:
    return set(filter(_is_message, MESSAGES[language](files(language)[name])))


def variables(name: str, language: str) -> set[str]:
    """The variables of Octopus that a piece names: what it reads and what it sets."""
    code = re.sub(r"(?m)^\s*#.*$", "", files(language)[name])
    return set(re.findall(r'"(Octowait\.\w+|Octopus(?:\.\w+)+|OctopusBypassDeploymentMutex)"', code))


def defaults(name: str, language: str) -> set[tuple[str, str]]:
    """Parameters with their defaults."""
    pattern = r'[Pp]arameter[ (]"(Octowait\.\w+)",? "([^"$]*)"'
    return set(re.findall(pattern, files(language)[name]))


#: What only one language says: how each says that Redis is not for it (Python has it from the exception), that Bash
#: needs a program which may be missing, and what Python has to say or to read in place of its client.
OWN = {
    "not supported in Bash",
    "not supported in PowerShell",
    wording.NO_CURL,
    "it has no address",
    "Tunnel connection failed: ([0-9]{3})",
}


@pytest.mark.parametrize(("language", "twin"), TWINS)
def test_twins_say_the_same(language: str, twin: str) -> None:
    for name in files(language):
        assert messages(name, language) - OWN == messages(name, twin) - OWN, name


@pytest.mark.parametrize(("language", "twin"), TWINS)
def test_twins_read_and_set_the_same_variables(language: str, twin: str) -> None:
    for name in files(language):
        assert variables(name, language) == variables(name, twin), name
        assert defaults(name, language) == defaults(name, twin), name


def test_what_twins_say_and_read_is_found() -> None:
    """Patterns that find nothing would hold nothing to anything."""
    pieces = files("python")
    said = {name: messages(name, "python") for name in pieces}
    read = {name: variables(name, "python") for name in pieces}

    assert all(said[name] for name in (*build.VERBS, "common_parameters", "line_parameters"))
    assert {"Octowait.Url", "Octowait.Token", "Octowait.Machines", "Octopus.Task.Id"} <= read["common_parameters"]
    assert len(defaults("line_parameters", "python")) == 4
