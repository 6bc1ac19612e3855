"""What gets into an image is what its Dockerfile copies, and nothing else of a working directory."""

import re

from tests.conftest import ROOT


def test_image_has_bytecode_which_nobody_can_write_later():
    steps = re.findall(
        r"^(COPY|RUN|USER)\b((?:.*\\\n)*.*)$", (ROOT / "docker" / "Dockerfile").read_text(), re.MULTILINE
    )
    compiles = [at for at, (_, words) in enumerate(steps) if "python -m compileall -q app workers" in words]
    before = {"COPY app", "COPY workers"}

    assert len(compiles) == 1
    assert before <= {f"{word} {words.split()[0]}" for word, words in steps[: compiles[0]]}
    assert ("USER", " octowait") in steps[compiles[0] :]


def test_image_gets_what_it_copies_and_nothing_else():
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    copied = {source for line in re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE) for source in line.split()}
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]

    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied
    assert all((ROOT / source).exists() for source in copied)
