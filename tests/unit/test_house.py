"""Which package may import which, where each library is at home, and that scripts stand in files of their own.

What breaks a rule today is named as an exception; the lists of exceptions only shrink, for one that is not needed any
more fails as well.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tests import sizes
from tests.conftest import ROOT

#: What each package may import besides itself.
FLOORS: dict[str, set[str]] = {
    "domain": set(),
    "logs": {"domain"},
    "__main__": {"cli"},
    "cli": {
        "app", "client", "doctor", "domain", "history", "logs", "octopus", "provision", "settings", "store", "web",
        "workers",
    },
    "client": {"domain", "services", "settings", "web"},
    "coordination": {"domain", "store"},
    "doctor": {"client", "coordination", "domain", "octopus", "provision", "settings", "store"},
    "followers": {"domain", "history", "jobs", "store"},
    "history": {"domain", "store"},
    "jobs": {"settings", "store"},
    "octopus": {"domain", "settings"},
    "provision": {"domain", "octopus", "settings"},
    "queries": {"coordination", "domain", "services"},
    "services": {"coordination", "domain", "followers", "history", "jobs", "octopus", "settings", "store"},
    "settings": {"domain"},
    "web": {
        "app", "coordination", "domain", "followers", "history", "jobs", "logs", "queries", "services",
        "settings", "store",
    },
    "workers": {"coordination", "domain", "followers", "jobs", "octopus", "services", "settings", "store"},
}  # fmt: skip

#: The packages that alone import a library; others do so in the files named as exceptions.
HOMES = {"flask": {"web"}, "redis": {"store"}, "requests": {"octopus"}, "rq": {"jobs", "workers"}}

#: ``file: library`` or ``file: package`` that break a rule.
EXCEPTIONS: set[str] = set()


FILES = sorted(path for room in ("app", "workers") for path in (ROOT / room).rglob("*.py"))


def package_of(module: str) -> str:
    """The room of a module: the package below ``app``, ``workers``, or ``app`` for what ``app`` itself says."""
    parts = module.split(".")
    return parts[1] if parts[0] == "app" and len(parts) > 1 else parts[0]


def imports() -> Iterator[tuple[str, str, str]]:
    """Each import as (file, package, imported module)."""
    for path in FILES:
        name = str(path.relative_to(ROOT))
        package = package_of(".".join(Path(name).with_suffix("").parts).removesuffix(".__init__"))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield name, package, node.module
            elif isinstance(node, ast.Import):
                yield from ((name, package, alias.name) for alias in node.names)


def files_with(pattern: str) -> set[str]:
    return {str(path.relative_to(ROOT)) for path in FILES if re.search(pattern, path.read_text())}


def test_packages_import_those_below_them_only():
    broken = set()
    for name, package, module in imports():
        if module.split(".")[0] in ("app", "workers", "steps"):
            imported = package_of(module)
            if imported != package and imported not in FLOORS.get(package, set()):
                broken.add(f"{name}: {imported}")

    assert broken == {each for each in EXCEPTIONS if each.split(": ")[1] not in HOMES}


def test_libraries_are_imported_at_home_only():
    broken = {
        f"{name}: {library}"
        for name, package, module in imports()
        for library in [module.split(".")[0]]
        if library in HOMES and package not in HOMES[library]
    }

    assert broken == {each for each in EXCEPTIONS if each.split(": ")[1] in HOMES}


def test_domain_imports_the_standard_library_only():
    outside = {module for _, package, module in imports() if package == "domain" and not module.startswith("app.")}

    assert {module.split(".")[0] for module in outside} <= sys.stdlib_module_names


def test_scripts_are_no_literals():
    found = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(
                r"redis\.call\(|\bcall\(\"[A-Z]+\"|KEYS\[1\]", node.value
            ):  # fmt: skip
                found.add(str(path.relative_to(ROOT)))

    assert not found


def test_scripts_are_part_of_their_packages():
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    shipped = {
        path
        for package, patterns in data.items()
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }

    assert set((ROOT / "app").rglob("*.lua")) <= shipped


def test_no_class_name_is_used_twice():
    classes = [node.name for path in FILES for node in ast.walk(ast.parse(path.read_text()))
               if isinstance(node, ast.ClassDef)]  # fmt: skip

    assert {name for name in classes if classes.count(name) > 1} == set()


def test_no_module_is_longer_than_300_lines():
    assert [f"{path.relative_to(ROOT)}: {n}" for path in FILES if (n := len(path.read_text().splitlines())) > 300] == []


def test_no_package_has_more_than_20_modules():
    """Without the module of the package itself, which lists no more than what is in it."""
    rooms = Counter(path.parent.relative_to(ROOT) for path in FILES if path.name != "__init__.py")

    assert {str(room): count for room, count in rooms.items() if count > 20} == {}


def test_half_of_all_modules_are_within_100_lines():
    assert median(len(path.read_text().splitlines()) for path in FILES) <= 100


def test_every_package_is_installed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    rooms = {path.parent for path in FILES}

    assert [room for room in rooms if not (room / "__init__.py").exists()] == []
    # The scripts of the steps are no package in the checkout: it is their folder that becomes one.
    assert set(listed) == {".".join(room.relative_to(ROOT).parts) for room in rooms} | {"app.steps"}


def test_names_are_nouns():
    """A newcomer searches for a filter, a status or a record, not for what somebody wanted, asked or found."""
    pronouns = {"found", "told", "said", "asked", "wanted", "shown", "kept"}
    #: The field of an answer of the API, and one of the record of a run.
    allowed = {"app/web/api/schemas/admin.py: kept", "app/domain/run.py: told"}

    names = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                    names.add((path, name))
                case ast.arg(arg=name) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    names.add((path, name))

    assert {f"{p.relative_to(ROOT)}: {n}" for p, n in names if n.strip("_").lower() in pronouns} == allowed


def test_only_services_reach_into_the_board():
    reaching = {
        str(path.relative_to(ROOT)) for path in FILES if re.search(r"board\._?(client|keys)\b", path.read_text())
    }

    assert reaching <= {"app/services.py"}


def test_nobody_reads_the_record_of_a_run_by_its_fields_but_decode():
    assert files_with(r"\.run(\[|\.get\()") <= {"app/coordination/decode.py"}


def test_sizes_are_those_of_what_people_write(tmp_path):
    for name, text in {
        "app/a.py": "def f():\n" + "    pass\n" * 30, "app/b.py": "def f():\n" + "    pass\n" * 29,
        "app/lua/c.lua": "1\n", "workers/d.py": "", "steps/e.py": "1\n" * 99, "steps/parts/e.py": "1\n",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    assert [sizes.row(room, tmp_path) for room in sizes.ROOMS] == [
        ("app", "2", "61", "30.5", "31 app/a.py", "1"),
        ("app (Lua)", "1", "1", "1", "1 app/lua/c.lua", "0"),
        ("workers", "1", "0", "0", "0 workers/d.py", "0"),
        ("steps", "1", "1", "1", "1 steps/parts/e.py", "0"),
    ]
