"""The command ``doctor``: checks of the setup."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from app.cli.command import REFUSED, address_here, as_json, command, with_gate
from app.cli.printing import print_json, print_lines

if TYPE_CHECKING:
    from app.client.api import Gate


@command("doctor", "octowait doctor\noctowait doctor --json")
@as_json
@with_gate
def doctor(gate: Gate, as_json: bool) -> None:
    """Look for everything that can be set up wrong, in octowait, Redis and Octopus, and say what to do about it.

    Exit status 1 means that there is an error; warnings and what could not be looked at leave it at 0.
    """
    from app.client.http import HttpGate
    from app.client.in_process import DirectGate
    from app.doctor.examination import examine, open_context
    from app.doctor.findings import finding_lines, has_error, summary
    from app.settings import load_settings

    settings = gate.settings if isinstance(gate, DirectGate) else load_settings()
    is_here = isinstance(gate, HttpGate) and gate.url == address_here(settings)
    findings = []
    with open_context(settings, gate, is_here=is_here) as context:
        for finding in examine(context):
            findings.append(finding)
            if not as_json:
                print_lines(finding_lines(finding))
    print_json([finding.as_json() for finding in findings]) if as_json else click.echo(summary(findings))
    sys.exit(REFUSED if has_error(findings) else 0)
