"""The sizes of the code: files, lines, the median, the longest file, and functions of more than 30 lines.

``python -m tests.sizes`` prints them as a table; ``python -m tests.sizes a2ffee5`` those of that commit before.
"""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from statistics import median

from tests.conftest import ROOT

#: What people write: the scripts in ``steps/`` itself are written by ``make steps``, from its parts.
ROOMS = {
    "app": ("app", {".py"}), "app (Lua)": ("app", {".lua"}), "workers": ("workers", {".py"}),
    "steps": ("steps", {".py", ".sh", ".ps1"}),
}  # fmt: skip

COLUMNS = ("room", "files", "lines", "median", "longest", "functions over 30")


def long_functions(path: Path) -> int:
    """Functions of a Python file that have more than 30 lines with their docstrings; 0 of any other."""
    if path.suffix != ".py":
        return 0
    functions = (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef))
    return sum((function.end_lineno or 0) - function.lineno >= 30 for function in functions)


def row(name: str, tree: Path) -> tuple[str, ...]:
    folder, suffixes = ROOMS[name]
    written = tree / "steps" if (tree / "steps" / "parts").exists() else None
    files = [path for path in (tree / folder).rglob("*") if path.suffix in suffixes and path.parent != written]
    lines = {path: len(path.read_text().splitlines()) for path in files}
    longest = max(files, key=lines.__getitem__)
    return (
        name, str(len(files)), f"{sum(lines.values()):,}", f"{median(lines.values()):g}",
        f"{lines[longest]} {longest.relative_to(tree)}", str(sum(map(long_functions, files))),
    )  # fmt: skip


def table(tree: Path) -> str:
    rows = [COLUMNS, tuple("---" for _ in COLUMNS), *(row(name, tree) for name in ROOMS)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def main() -> None:
    for commit in sys.argv[1:]:
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
        with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(folder, filter="data")
            print(f"{commit}\n{table(Path(folder))}\n")
    print(table(ROOT))


if __name__ == "__main__":
    main()
