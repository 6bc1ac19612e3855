"""The Bash steps keep to Bash 3.2, an old curl and tools that every system has; each rule finds a planted error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import bash_rules
import pytest
from bash_rules import RULES, Rule, broken
from run_step import STEPS

NAMES = ("claim", "release", "wait")

#: What shellcheck cannot see: that ``parameter`` sets the variable it is given, and that a script does not need all
#: of a part that it shares.
EXCLUDED = "SC2154,SC2034"


def script(name: str) -> str:
    return (STEPS / f"{name}.sh").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_a_script_breaks_no_rule(name: str) -> None:
    assert broken(script(name)) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_finds_a_planted_error(rule: Rule) -> None:
    assert rule.breaks(f"x() {{\n  read_clock\n}}\n{rule.planted}\n")
    assert not rule.breaks("x() {\n  x\n}\n")


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ("grep x", "grep"),
        ("curl --data-raw x", "curl --data-raw"),
        ("sed -E 's/x//' y", "sed -E"),
        ("curl_setting data-raw x", "curl's data-raw"),
        ("x=$(date +%s)", "date"),
    ],
)
def test_a_program_or_an_option_that_not_every_system_has_is_found(planted: str, found: str) -> None:
    assert bash_rules.strangers(f"{script('wait')}\n{planted}\n") == [found]


@pytest.mark.parametrize("name", NAMES)
def test_the_grammar_understands_the_script(name: str) -> None:
    """What it does not understand it would not look at."""
    tree = bash_rules.parsed(script(name))

    assert [bash_rules.text(node) for node in bash_rules.nodes(tree, "ERROR")] == []
    assert {"curl", "sed", "tr", "head", "sleep"} <= {command for command, _ in bash_rules.commands(script(name))}


def test_what_was_set_before_is_unset_first() -> None:
    """An empty list is an error for an older Bash under nounset."""
    for name in NAMES:
        first = [line for line in bash_rules.code(script(name)).splitlines() if line.strip()][:3]
        assert first[0] == "{ set +x; } 2>/dev/null" and first[1] == "set +eu"


def shellcheck(source: str) -> list[str]:
    # The wheel puts it beside the interpreter.
    program = Path(sys.executable).with_name("shellcheck")
    arguments = ["--shell=bash", "--format=gcc", f"--exclude={EXCLUDED}", "-"]
    done = subprocess.run([str(program), *arguments], input=source, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", NAMES)
def test_shellcheck_finds_nothing(name: str) -> None:
    assert shellcheck(script(name)) == []


def test_shellcheck_finds_a_planted_error() -> None:
    assert "SC2086" in "".join(shellcheck(f"{script('release')}\nprintf %s $task\n"))
