"""What is installed is locked: each package by its version and by the hashes of its files."""

import re
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

#: Each lock, and the lists of what is asked for that it is made from.
LOCKS = {
    "requirements.lock": ["requirements.txt", "requirements-build.txt"],
    "requirements-dev.lock": ["requirements-dev.txt"],
    "requirements-tools.lock": ["requirements-tools.txt"],
}


def listed(name: str) -> dict[str, Requirement]:
    """What a list asks for, those that it includes as well, by name."""
    requirements: dict[str, Requirement] = {}
    for line in (ROOT / name).read_text().splitlines():
        if line.startswith("-r "):
            requirements |= listed(line.removeprefix("-r "))
        elif line and not line.startswith("#"):
            requirements[canonicalize_name(Requirement(line).name)] = Requirement(line)
    return requirements


def locked(name: str) -> dict[str, tuple[str, list[str]]]:
    """Version and hashes of each package of a lock, by name."""
    text = re.sub(r" \\\n\s+", " ", (ROOT / name).read_text())
    entries = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    return {
        canonicalize_name(entry.split("==")[0]): (
            re.split(r"[ ;]", entry.split("==")[1])[0],
            re.findall(r"--hash=sha256:[0-9a-f]{64}", entry),
        )
        for entry in entries
    }


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_has_what_is_asked_for_in_that_version_with_hashes(lock):
    asked = {name: requirement for each in LOCKS[lock] for name, requirement in listed(each).items()}
    entries = locked(lock)

    assert asked.keys() <= entries.keys()
    assert {n: str(r.specifier) for n, r in asked.items()} == {n: f"=={entries[n][0]}" for n in asked}
    assert [name for name, (_, hashes) in entries.items() if not hashes] == []


def test_locks_agree():
    versions = {}
    for lock in LOCKS:
        for name, (version, _) in locked(lock).items():
            versions.setdefault(name, set()).add(version)

    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_no_host(lock):
    assert re.findall(r"\w+://|index-url|find-links", (ROOT / lock).read_text()) == []


@pytest.mark.parametrize(("lock", "lists"), [("requirements.lock", "requirements.txt"),
                                             ("requirements-dev.lock", "requirements-dev.txt")])  # fmt: skip
def test_what_is_installed_is_what_is_locked_down_to_the_last_dependency(lock, lists):
    """Walks from what is asked for to what that needs here, and so on."""
    entries, seen = locked(lock), set()
    todo = [(name, frozenset(requirement.extras)) for name, requirement in listed(lists).items()]
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        for text in metadata.requires(name) or []:
            needed = Requirement(text)
            if not needed.marker or any(needed.marker.evaluate({"extra": extra}) for extra in extras | {""}):
                todo.append((canonicalize_name(needed.name), frozenset(needed.extras)))

    installed = {name: metadata.version(name) for name, _ in seen}
    assert installed == {name: entries[name][0] if name in entries else "in no lock" for name in installed}


def test_every_installation_asks_for_hashes():
    """``make`` and the image: what pip reads is a lock with hashes, and the package itself brings nothing."""
    makefile = (ROOT / "Makefile").read_text()
    installing = re.search(r"^PIP_INSTALL = (.+)$", makefile, re.MULTILINE)
    image = re.sub(r" \\\n\s+", " ", (ROOT / "docker" / "Dockerfile").read_text())

    calls = re.findall(r"pip install[^&\n]*", image) + re.findall(
        r"^\t.*(?:pip install|PIP_INSTALL).*$", makefile, re.M
    )
    assert installing and "--require-hashes" in installing[1]
    assert len(calls) >= 6
    for call in calls:
        if "-e ." in call:
            assert {"--no-deps", "--no-build-isolation"} <= set(call.split())
        else:
            assert "-r requirements" in call and ".lock" in call and ".txt" not in call
            assert "$(PIP_INSTALL)" in call or "--require-hashes" in call


def test_package_is_made_by_what_is_locked():
    build = re.search(r"^requires = \[(.+)\]$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)

    assert build and [each.strip(' "') for each in build[1].split(",")] == [
        str(requirement) for requirement in listed("requirements-build.txt").values()
    ]
