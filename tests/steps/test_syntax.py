"""The step scripts parse, on what they are made for, and keep to what Octopus demands of them."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import tree_sitter_powershell
import vermin
from run_step import STEPS
from tree_sitter import Language, Node, Parser

NAMES = ("claim", "release", "wait")


def faults(source: str) -> list[str]:
    """What the PowerShell grammar cannot make sense of."""

    def walk(node: Node) -> Iterator[str]:
        if node.type == "ERROR" or node.is_missing:
            yield f"line {node.start_point[0] + 1}: {(node.text or b'').decode()[:60]}"
        for child in node.children:
            yield from walk(child)

    return list(walk(Parser(Language(tree_sitter_powershell.language())).parse(source.encode()).root_node))


@pytest.mark.parametrize("name", NAMES)
def test_powershell_parses(name: str) -> None:
    assert faults((STEPS / f"{name}.ps1").read_text()) == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("good", "bad"), [("while ($true) {", "while ($true {"), ("    return $value\n}", "}}")])
def test_powershell_grammar_finds_a_planted_error(name: str, good: str, bad: str) -> None:
    source = (STEPS / f"{name}.ps1").read_text()

    assert good in source
    assert faults(source.replace(good, bad, 1))


@pytest.mark.parametrize("name", NAMES)
def test_powershell_uses_nothing_that_5_1_does_not_know(name: str) -> None:
    code = re.sub(r"'[^'\n]*'|#.*", "", (STEPS / f"{name}.ps1").read_text())

    assert not re.search(r"\?\?|\?\.|&& |\|\| |-SkipHttpErrorCheck|-Parallel|ConvertFrom-Json -As", code)
    assert not re.search(r"\s\?\s.+\s:\s", code)
    assert code.isascii(), "5.1 reads a file without a BOM in the code page of the machine"


@pytest.mark.parametrize("name", NAMES)
def test_bash_parses(name: str) -> None:
    subprocess.run(["bash", "-n", str(STEPS / f"{name}.sh")], check=True)


def test_bash_finds_a_planted_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.sh"
    broken.write_text((STEPS / "wait.sh").read_text().replace("esac", "", 1))

    assert subprocess.run(["bash", "-n", str(broken)], capture_output=True).returncode != 0


@pytest.mark.parametrize("name", NAMES)
def test_python_parses_as_3_6(name: str) -> None:
    source = (STEPS / f"{name}.py").read_text()

    ast.parse(source, feature_version=(3, 6))
    with pytest.raises(SyntaxError):
        ast.parse(source + "\nif (n := 1):\n    pass\n", feature_version=(3, 6))


def oldest_python(source: str) -> tuple[int, int]:
    """The oldest Python 3 that has all of the syntax and the library that *source* uses."""
    return tuple(vermin.visit(source, vermin.Config()).minimum_versions()[1])


@pytest.mark.parametrize("name", NAMES)
def test_python_uses_nothing_that_3_6_does_not_have(name: str) -> None:
    source = (STEPS / f"{name}.py").read_text()

    assert oldest_python(source) <= (3, 6)
    assert oldest_python(source + "\nprint(time.time_ns())\n") == (3, 7)


@pytest.mark.parametrize("name", NAMES)
def test_what_the_readme_names_is_what_the_scripts_read(name: str) -> None:
    readme = (STEPS / "README.md").read_text()
    code = (STEPS / f"{name}.py").read_text()

    for parameter in set(re.findall(r'"(Octowait\.\w+)"', code)):
        assert f"`{parameter}`" in readme


@pytest.mark.parametrize("suffix", ["sh", "py", "ps1"])
def test_octopus_finds_nothing_to_substitute(suffix: str) -> None:
    """It looks for expressions in an inline script too, and one that it cannot parse is logged or fails the step."""
    for name in NAMES:
        assert "#{" not in (STEPS / f"{name}.{suffix}").read_text()


@pytest.mark.parametrize("suffix", ["sh", "py", "ps1"])
def test_no_script_relies_on_a_trap(suffix: str) -> None:
    for name in NAMES:
        assert not re.search(
            r"(?m)^\s*(trap |import (signal|atexit)|Register-EngineEvent)", (STEPS / f"{name}.{suffix}").read_text()
        )
