"""What a command imports before it does something: that is what its start costs."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

#: What reads and checks the settings.
PYDANTIC = {"annotated_types", "pydantic", "pydantic_core", "typing_extensions", "typing_inspection"}

#: The last line on standard error is what was imported when the process ends.
_TELL = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "


def imported_by(*words: str) -> set[str]:
    """The modules that a command imports beyond those that Python imports to do nothing."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OCTOWAIT_")}

    def modules(code: str) -> set[str]:
        done = subprocess.run(
            [sys.executable, "-c", code, *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
        )
        return set(done.stderr.splitlines()[-1].split())

    return modules(_TELL + "from app.cli import main; main()") - modules(_TELL)


def packages_of(modules: set[str]) -> set[str]:
    """The names of all that is not in the standard library, which has one that is named for the platform."""
    names = {module.partition(".")[0] for module in modules if not module.startswith("_sysconfigdata_")}
    return names - sys.stdlib_module_names


def test_help_imports_no_library_but_that_of_commands():
    modules = imported_by("--help")

    assert packages_of(modules) == {"app", "click"}
    assert {module for module in modules if re.match(r"app\.(?!cli\b|domain\b)", module)} == set()


@pytest.mark.parametrize(
    "words", ["status", "wait ServerTasks-1 -m Machines-1", "release ServerTasks-1", "kept --json"]
)
def test_commands_over_http_import_what_reads_settings_and_no_part_of_the_gate(words: str):
    # Nobody listens on port 1; what they print is imported before they ask.
    modules = imported_by(*words.split(), "--url", "http://127.0.0.1:1", "--token", "a-token-of-a-test")

    assert "app.client.http" in modules
    assert packages_of(modules) == {"app", "click"} | PYDANTIC
    assert not modules & {"app.services", "app.web", "app.coordination", "app.client.in_process", "asyncio"}
