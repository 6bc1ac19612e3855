"""The tests of the steps for PowerShell run where there is one."""

from __future__ import annotations

import shutil

import pytest


def needs_powershell() -> None:
    """Skip the test where there is no PowerShell 7."""
    if shutil.which("pwsh") is None:
        pytest.skip("no pwsh on PATH: the steps for PowerShell are not run")
