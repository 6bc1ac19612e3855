"""What a command imports before it does something: that is what its start costs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path

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


#: Patches as a web process does, and prints how often packages were looked for meanwhile.
_PATCH = """
from importlib import metadata
looks, look, entry_points = [], metadata.distributions, metadata.entry_points
metadata.distributions = lambda **options: looks.append(1) or look(**options)
from app.cli.greenlets import patch
patch()
from gevent import monkey
print(monkey.is_module_patched("socket"), len(looks), metadata.entry_points is entry_points)
"""


def test_patches_of_gevent_look_once_for_packages_and_tell_plugins(tmp_path: Path):
    info = tmp_path / "plugin-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[gevent.plugins.monkey.did_patch_all]\ntell = plugin:tell\n")
    (tmp_path / "plugin.py").write_text("def tell(event): print(type(event).__name__)\n")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])

    done = subprocess.run(
        [sys.executable, "-c", _PATCH], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
        check=True, timeout=60,
    )  # fmt: skip

    assert done.stdout.splitlines() == ["GeventDidPatchAllEvent", "True 1 True"]


def test_what_is_installed_has_the_bytecode_of_its_source(tmp_path: Path):
    source = tmp_path / "app" / "one.py"
    for folder in ("app", "workers", ".venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)

    def stamp_after_install() -> tuple[int, int]:
        """The time and the size of the source of which there is bytecode."""
        # As if all packages were there.
        command = ["make", "-s", "-o", ".venv/installed", "install"]
        subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, check=True, timeout=60
        )
        stamp = Path(cache_from_source(str(source))).read_bytes()[8:16]
        return int.from_bytes(stamp[:4], "little"), int.from_bytes(stamp[4:], "little")

    source.write_text("x = 1\n")
    os.utime(source, (1_000_000, 1_000_000))
    assert stamp_after_install() == (1_000_000, 6)

    source.write_text("x = 100\n")
    assert stamp_after_install() == (int(source.stat().st_mtime), 8)
