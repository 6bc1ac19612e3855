"""``make demo`` leaves nothing behind."""

import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT, with_own_signals

#: The demo, with an Octopus Server that begins, and ends when the demo lets it.
DEMO = """
import signal
from contextlib import contextmanager
from tests.simulator import demo

@contextmanager
def start(*args, **options):
    try:
        print("began", flush=True)
        while True:
            signal.pause()
        yield
    finally:
        print("ended", flush=True)

demo.SimulatedOctopus.start = start
raise SystemExit(demo.main())
"""


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_what_the_demo_has_started_ends_with_it(number, tmp_path):
    """A terminal that is closed sends SIGHUP, a supervisor SIGTERM, Ctrl-C SIGINT."""
    env = {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", DEMO], env=env, stdout=subprocess.PIPE, text=True, preexec_fn=with_own_signals
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "began\n"
        process.send_signal(number)
        try:
            assert process.communicate(timeout=30)[0] == "ended\n"
        finally:
            process.kill()
    assert not list(tmp_path.iterdir())
