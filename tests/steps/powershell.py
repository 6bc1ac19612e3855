"""The tests of the steps for PowerShell run where there is one."""

from __future__ import annotations

import shutil

import pytest

from tests.steps.run_step import POWERSHELL


def needs_powershell() -> None:
    """Skip the test where it is not."""
    if shutil.which(POWERSHELL) is None:
        pytest.skip(f"no {POWERSHELL} on PATH: the steps for PowerShell are not run")
