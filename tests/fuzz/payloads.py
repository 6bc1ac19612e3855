"""``python -m tests.fuzz.payloads [seconds]``: bodies of webhooks that nobody would send, guided by what they reach.

atheris measures which lines and comparisons of the parser an input reaches, and goes on from those that reach new ones,
beginning with the captured payloads. Half of its changes keep the body JSON. It ends with an input that breaks one of
the promises of `tests.fuzz.promises`, which it leaves as ``.fuzz-crash-…``, or when its time is out.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

# Nothing of octowait: it is imported when what it reaches can be measured.
ROOT = Path(__file__).parent.parent.parent

#: The longest body that is made, bytes; the captured ones have up to 4,000.
MOST_BYTES = 8_192

#: What the parser looks for, so that it need not be guessed letter by letter.
WORDS = (
    "Payload", "Event", "Category", "Occurred", "RelatedDocumentIds", "MessageReferences", "ReferencedDocumentId", "Id",
    "SpaceId", "ServerUri", "BatchId", "EventNumberInBatch", "TotalEventsInBatch", "DeploymentStarted", "TaskCanceled",
    "RunbookRunSucceeded", "ManualInterventionInterruptionRaised", "ServerTasks-1", "Deployments-1", "Spaces-1",
    "2026-05-06T07:08:25.215+00:00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.9999999-23:59", "https://o",
    "WebhookHeaderValue", "secret-of-the-webhook",
)  # fmt: skip

#: What stands where something else should.
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 2**63, 1e308, "", " ", "\0", "\ud800", "a" * 300, [], {}, [[]], [None, 1, {}], {"Id": {}},
    *WORDS,
    *(f"{kind}-{end}" for kind in ("ServerTasks", "Deployments", "Projects", "x") for end in ("1\0", "1\n", "é", "")),
)  # fmt: skip


def changed(value: Any, dice: random.Random) -> Any:
    """JSON with one thing in it replaced, taken away, doubled, or named otherwise."""
    if isinstance(value, dict) and value and dice.random() < 0.9:
        name = dice.choice(list(value))
        rest = {key: each for key, each in value.items() if key != name}
        match dice.randrange(6):
            case 0:
                return rest
            case 1:
                return {**rest, dice.choice(WORDS): value[name]}
            case _:
                return {**rest, name: changed(value[name], dice)}
    if isinstance(value, list) and value and dice.random() < 0.8:
        at = dice.randrange(len(value))
        return [*value[:at], changed(value[at], dice), *value[at + dice.randrange(2) :]]
    if isinstance(value, str) and value and dice.random() < 0.5:
        at = dice.randrange(len(value))
        return value[:at] + chr(dice.choice((0, 10, 34, 92, 0x202E, 0xD800, 0x1F600))) + value[at + 1 :]
    return dice.choice(VALUES)


def mutate(data: bytes, most: int, seed: int) -> bytes | None:
    """A change that leaves JSON; None where *data* is none."""
    dice = random.Random(seed)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    for _ in range(dice.randint(1, 4)):
        value = changed(value, dice)
    return json.dumps(value, ensure_ascii=dice.random() < 0.5).encode("utf-8", "surrogatepass")[:most]


def fuzz(folder: Path, seconds: int) -> None:
    """Ends the process, with another status than 0 where a promise was broken."""
    import atheris

    with atheris.instrument_imports(include=["app.domain", "app.web.redaction"]):
        from tests.fuzz.promises import check

    def custom(data: bytes, most: int, seed: int) -> bytes:
        body = mutate(data, most, seed) if seed % 2 else None
        return atheris.Mutate(data, most) if body is None else body

    options = [f"-max_total_time={seconds}", f"-max_len={MOST_BYTES}", "-timeout=10", "-rss_limit_mb=2048",
               f"-artifact_prefix={ROOT}/.fuzz-", "-print_final_stats=1", "-verbosity=0"]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(folder)], check, custom_mutator=custom)
    atheris.Fuzz()


def main() -> int:
    try:
        import atheris  # noqa: F401
    except ImportError:
        print("There is no atheris here: it is for Linux on x86-64 and Python up to 3.13 ('make install-tools').")
        return 1
    seconds = sys.argv[1] if len(sys.argv) > 1 else "60"
    with tempfile.TemporaryDirectory(prefix="octowait-fuzz-") as folder:
        shutil.copytree(ROOT / "tests" / "payloads", folder, dirs_exist_ok=True)
        command = [sys.executable, "-m", "tests.fuzz.payloads", seconds, folder]
        return subprocess.run(command, cwd=ROOT).returncode


if __name__ == "__main__":
    if len(sys.argv) > 2:
        fuzz(Path(sys.argv[2]), int(sys.argv[1]))
    else:
        sys.exit(main())
