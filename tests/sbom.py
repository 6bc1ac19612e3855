"""``make sbom``: what octowait is made of on this system, as CycloneDX JSON, held against the lock.

It describes an environment that has nothing but what ``requirements.lock`` brings, so that licences and who needs whom
are in it, too.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from packaging.utils import canonicalize_name

import app
from tests.conftest import ROOT

TARGET = ROOT / ".sbom" / "octowait.cdx.json"


def strangers(bom: dict[str, Any], lock: str) -> dict[str, str]:
    """The components of an SBOM that the lock does not have in that version, by name."""
    pins = {canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==([^ ;\\]+)", lock, re.M)}
    versions = {canonicalize_name(each["name"]): each.get("version", "none") for each in bom["components"]}
    return {name: version for name, version in versions.items() if pins.get(name) != version}


def rooted(bom: dict[str, Any], asked: str) -> dict[str, Any]:
    """The SBOM with octowait's version, and with what it asks for itself, which the tool does not read."""
    names = {canonicalize_name(name) for name in re.findall(r"^[\w.-]+", asked, re.M)}
    root = bom["metadata"]["component"] | {"version": app.__version__}
    refs = sorted(each["bom-ref"] for each in bom["components"] if canonicalize_name(each["name"]) in names)
    others = [each for each in bom["dependencies"] if each["ref"] != root["bom-ref"]]
    metadata = bom["metadata"] | {"component": root}
    return bom | {"metadata": metadata, "dependencies": [*others, {"ref": root["bom-ref"], "dependsOn": refs}]}


def describe(target: Path) -> dict[str, Any]:
    """Install the lock into an empty environment, write its SBOM to *target*, and return it."""
    target.parent.mkdir(exist_ok=True)
    with TemporaryDirectory() as folder:
        venv.create(folder, with_pip=False)
        python = str(Path(folder) / "bin" / "python")
        pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--require-hashes", "-r", str(ROOT / "requirements.lock")], check=True)
        command = ["cyclonedx-py", "environment", "--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible"]
        command[0] = str(Path(sys.executable).parent / command[0])
        quiet = os.environ | {"PYTHONWARNINGS": "ignore"}
        subprocess.run([*command, "--output-file", str(target), python], check=True, env=quiet)
    bom = rooted(json.loads(target.read_text()), (ROOT / "requirements.txt").read_text())
    target.write_text(json.dumps(bom, indent=2) + "\n")
    return bom


def main() -> None:
    bom = describe(TARGET)
    if not bom["components"] or (others := strangers(bom, (ROOT / "requirements.lock").read_text())):
        sys.exit(
            f"{TARGET.relative_to(ROOT)} is not what requirements.lock says: {others if bom['components'] else bom}"
        )
    print(f"{TARGET.relative_to(ROOT)}: {len(bom['components'])} components, as requirements.lock has them")


if __name__ == "__main__":
    main()
