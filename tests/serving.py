"""The web server in a process that need not import everything anew: most of the time of starting one is imports."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping
from functools import cache
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path


@cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.patched", __name__, "app.cli.processes", "app.web.server", "app.web"])
    return context


def serve(env: Mapping[str, str], directory: Path, log: Path) -> BaseProcess:
    """``octowait serve`` with those settings in *directory*, in a process group of its own; it writes to *log*."""
    process = _context().Process(target=_run, args=(dict(env), str(directory), str(log)), daemon=True)
    process.start()
    return process


def _run(env: Mapping[str, str], directory: str, log: str) -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(env)
    os.chdir(directory)
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["octowait", "serve"]
    from app.cli import main

    main()
