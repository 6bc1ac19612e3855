"""``python -m tests.fuzz.api [seconds]``: requests that schemathesis makes of ``/openapi.json``, on a real server.

Each role asks in turn: what it may call is called with values that the document allows and with ones that it does not,
alone and in chains; nothing may be answered 5xx, with a status or a body that the document does not have, or without a
token where it asks for one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from app.store.embedded import EmbeddedServer
from tests.conftest import ROOT, TOKENS, WEBHOOK_SECRET, Service, eventually

#: Checks of schemathesis that are not made, and why.
NOT_CHECKED = {
    # An id that the document allows may be none of Octopus, and a filter may contradict another.
    "positive_data_acceptance",
    # A method that there is not is answered 405 by the framework, without a body of this document.
    "unsupported_method",
}

#: Streams have no end of their own.
NOT_CALLED = ("/api/stream",)


def main() -> int:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    with tempfile.TemporaryDirectory(prefix="octowait-fuzz-") as folder:
        redis = EmbeddedServer(Path(folder) / "redis")
        service = Service(redis.acquire(), "fuzz", Path(folder), OCTOWAIT_WAITER_TTL_SECONDS="20")
        worker = None
        try:
            service.start()
            worker = service.spawn("worker")
            eventually(lambda: service.call("GET", "/readyz", role=None)[0] == 200, timeout=60)
            statuses = [_fuzz(service, role, seconds // len(TOKENS)) for role in TOKENS]
            log = service.log.read_text()
        finally:
            if worker:
                worker.kill()
                worker.wait(30)
            service.stop()
            redis.release()
    unforeseen = [line for line in log.splitlines() if "unforeseen" in line or "Traceback" in line]
    print("\n".join(unforeseen[:20]))
    return int(any(statuses) or bool(unforeseen))


def _fuzz(service: Service, role: str, seconds: int) -> int:
    command = [
        str(Path(sys.executable).parent / "st"), "--config-file", str(Path(__file__).parent / "schemathesis.toml"),
        "run", f"{service.url}/openapi.json", "--max-time", str(seconds),
        "--header", f"Authorization: Bearer {TOKENS[role]}", "--header", f"X-Octowait-Secret: {WEBHOOK_SECRET}",
        "--checks", "all", "--exclude-checks", ",".join(sorted(NOT_CHECKED)), "--request-timeout", "70",
        "--continue-on-failure", "--generation-database", "none", "--no-color", "--seed", "1", "--max-failures", "20",
        "--wait-for-schema", "20",
    ]  # fmt: skip
    for path in NOT_CALLED:
        command += ["--exclude-path", path]
    print(f"As {role}, for {seconds} s:", flush=True)
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}).returncode


if __name__ == "__main__":
    sys.exit(main())
