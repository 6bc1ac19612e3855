"""Starts a simulated Octopus Server: ``python -m tests.simulator --speed 10``."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import tempfile
import threading
from pathlib import Path
from types import FrameType

from tests.simulator.clock import Clock
from tests.simulator.octopus import Config, Octopus
from tests.simulator.server import serve


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0: a free one (default)")
    parser.add_argument("--speed", type=float, default=1.0, help="durations are divided by it (default 1)")
    parser.add_argument("--task-cap", type=int, default=5, help="tasks at once (default 5)")
    parser.add_argument("--seed", type=int, default=1, help="of the faults (default 1)")
    parser.add_argument("--look-seconds", type=float, default=1.0, help="until a queued task is seen (default 1)")
    parser.add_argument("--cancel-seconds", type=float, default=0.0, help="a task stays Cancelling (default 0)")
    parser.add_argument("--ahead-seconds", type=float, default=0.0, help="its clock is wrong by that (default 0)")
    parser.add_argument("--old-sensitive-values", action="store_true", help="header values of webhooks are plain texts")
    parser.add_argument("--directory", type=Path, help="for the files of scripts (default: a temporary one)")
    parser.add_argument("--address-file", type=Path, help="write the address into this file once it answers")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(threadName)s %(message)s")
    Clock.ahead_ms = round(asked.ahead_seconds * 1000)
    with tempfile.TemporaryDirectory(prefix="octopus-") as temporary:
        directory = asked.directory or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        octopus = Octopus(Config(
            directory=directory, speed=asked.speed, task_cap=asked.task_cap, seed=asked.seed,
            look_seconds=asked.look_seconds, cancel_seconds=asked.cancel_seconds,
            has_sensitive_values=not asked.old_sensitive_values,
        ))  # fmt: skip
        run(octopus, asked.port, asked.address_file)


def run(octopus: Octopus, port: int, address_file: Path | None) -> None:
    """Serve until SIGTERM or SIGINT, then kill the scripts."""
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    serve(octopus, port)
    print(json.dumps({"url": octopus.url, "api_key": octopus.service.api_key}), flush=True)
    if address_file:
        whole = address_file.with_suffix(".new")
        whole.write_text(octopus.url)
        whole.rename(address_file)
    ended.wait()
    octopus.stop()


if __name__ == "__main__":
    main()
