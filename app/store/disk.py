"""The space that is left where octowait and its embedded Redis keep their files."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

#: Bytes below which a file system counts as full: a day of a busy timeline, and what Redis needs to rewrite its file.
LEAST_FREE = 64 * 1024 * 1024


def full(directories: Iterable[Path], *, least: int = LEAST_FREE) -> dict[Path, int]:
    """Those directories in whose file system fewer than *least* bytes are free, with how many there are."""
    sizes = {}
    for directory in directories:
        try:
            free = shutil.disk_usage(directory).free
        except OSError:
            continue  # Not made yet: nothing is written there.
        if free < least:
            sizes[directory] = free
    return sizes
