"""The ``octowait`` command: one module for each group of commands that belong together, made of what command.py has."""

from __future__ import annotations

import sys

import click

from app import __version__
from app.cli import doctor, history, ledger, octopus, processes, repairs, runs, status
from app.cli.command import Overview, readable_errors

_COMMANDS = (
    *(processes.up, processes.serve, processes.worker, processes.scheduler),
    *(runs.wait, runs.release, runs.prioritize, runs.force_release),
    *(status.status, status.machines, status.waits, status.run, doctor.doctor),
    *(history.timeline, history.archive),
    *(ledger.ledger, ledger.explain, ledger.eta_report),
    *(runs.reserve, runs.unreserve),
    *(repairs.list_kept, repairs.replay, repairs.dead_letters, repairs.catch_up, repairs.rebuild),
    *(octopus.subscription, octopus.templates),
)


@click.group(
    cls=Overview, commands=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="octowait")
def cli() -> None:
    """Make a deployment wait until every other deployment on the same machines has finished.

    Commands that ask or tell octowait something each take --url and --token, or --redis-url to work on Redis directly;
    by default they reach the octowait that was started in this directory.
    """


def main() -> None:
    """Run a command and end the process with its exit status."""
    if sys.argv[1:2] == ["serve"]:
        # Before anything that brings sockets or threads: what is imported unpatched blocks all requests at once.
        from app.cli.greenlets import patch

        patch()
    with readable_errors():
        cli(prog_name="octowait")


__all__ = ["cli", "main"]
