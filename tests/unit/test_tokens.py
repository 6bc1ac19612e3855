"""The tokens of TOKENS and of its file: their limits, and which are valid while the file changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.domain.access.identity import EVERYBODY, Identity, Limits, Verdict, verdict_on
from app.settings import BadSettings, Settings, load_settings
from app.web.tokens import LOOK_SECONDS, Tokens

SECRET, OTHER = "a-secret-of-twenty-or-more", "another-of-twenty-or-more"


def limits_of(text: str) -> Limits | None:
    return load_settings({"OCTOWAIT_TOKENS": f"step:web:{SECRET}{text}"}).tokens[0].limits


def test_limits_stand_behind_the_secret():
    limits = limits_of(";spaces=Spaces-1|Spaces-2; projects = Projects-7;max_priority=10;max_waiting=3;families=api|db")

    assert limits == Limits(
        frozenset({"spaces-1", "spaces-2"}), frozenset({"projects-7"}), 10, 3, frozenset({"api", "db"})
    )


def test_quotas_of_a_day_stand_with_the_other_limits():
    assert limits_of(";max_new_machines=500;max_new_mb=50") == Limits(max_new_machines=500, max_new_mb=50)


def test_token_without_limits_has_none_and_is_everybodys():
    token, other = load_settings({"OCTOWAIT_TOKENS": f"step:web:{SECRET},step:api:{OTHER}"}).tokens

    assert token.limits is None
    assert token.identity == other.identity == Identity(EVERYBODY)


def test_token_with_a_priority_alone_is_everybodys():
    token = load_settings({"OCTOWAIT_TOKENS": f"step:web:{SECRET};max_priority=10"}).tokens[0]

    assert (token.identity.owner, token.identity.lowered(11)) == (EVERYBODY, 10)


@pytest.mark.parametrize("limit", [
    "spaces=Spaces-1", "projects=Projects-7", "max_waiting=10", "families=api", "max_new_machines=9", "max_new_mb=9",
    "max_priority=10;max_new_mb=9",
])  # fmt: skip
def test_token_with_another_limit_is_an_owner_of_its_own(limit):
    token = load_settings({"OCTOWAIT_TOKENS": f"step:web:{SECRET};{limit}"}).tokens[0]

    assert token.identity.owner == "web"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (";projects=", "expected limits behind ';', each once: spaces=Spaces-1"),
        (";project=Projects-7", "expected limits behind ';'"),
        (";projects", "expected limits behind ';'"),
        (";projects=Projects-7;projects=Projects-8", "each once"),
        (";projects=Projects-7|a/b", "projects=Projects-7|a/b: expected ids with '|' between, e.g. Projects-7"),
        (";spaces=Default", "spaces=Default: expected ids"),
        (";max_priority=high", "max_priority=high: expected a whole number from -1000000 to 1000000"),
        (";max_priority=1000001", "expected a whole number"),
        (";max_waiting=0", "max_waiting=0: expected a whole number from 1"),
        (";max_new_machines=0", "max_new_machines=0: expected a whole number from 1"),
        (";max_new_machines=1.5", "max_new_machines=1.5: expected a whole number from 1"),
        (";max_new_mb=-1", "max_new_mb=-1: expected a whole number from 1"),
        (";max_new_mb=1000001", "max_new_mb=1000001: expected a whole number from 1 to 1000000"),
        (";max_new_mb=50MB", "max_new_mb=50MB: expected a whole number"),
        (";max_new_mb", "max_new_machines=500, max_new_mb=50"),
        (f";max_new_mb=5,step:web:{OTHER};max_new_mb=6", "step:web has different limits in two entries"),
        (f",step:web:{OTHER};projects=Projects-7", "step:web has different limits in two entries"),
        (f",admin:ann:{OTHER};max_waiting=1", "admin:ann has limits: expected them for tokens of the role step only"),
        (f",step:*:{OTHER}", "expected a name such as web"),
    ],
)
def test_wrong_limit_is_named_and_no_secret_shown(text, expected):
    with pytest.raises(BadSettings) as refused:
        limits_of(text)

    assert expected in str(refused.value)
    assert SECRET not in str(refused.value) and OTHER not in str(refused.value)


class File:
    """A TOKENS_FILE, the tokens of a process that has read it, and the clock of that."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.write_text(f"step:web:{SECRET}")
        self.settings: Settings = load_settings(
            {"OCTOWAIT_TOKENS_FILE": str(path), "OCTOWAIT_WEBHOOK_SECRET": "w" * 20}
        )
        self.at = 0.0
        self.tokens = Tokens.of(self.settings, now=lambda: self.at)

    def write(self, text: str | bytes | None) -> None:
        if text is None:
            self.path.unlink()
        else:
            self.path.write_bytes(text.encode() if isinstance(text, str) else text)
        self.at += LOOK_SECONDS


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "tokens")


def test_file_is_read_again_when_it_changes(file):
    file.write(f"step:web:{SECRET},step:web:{OTHER}")
    assert file.tokens.find(SECRET) and file.tokens.find(OTHER)

    file.write(f"step:web:{OTHER}")
    assert not file.tokens.find(SECRET) and file.tokens.find(OTHER)


@pytest.mark.parametrize(
    "text",
    [None, "", "\n", f"step:web:{OTHER},step:ap", "step", b"\xff\xfe", f"step:web:{OTHER};spa", f"step:web:{'w' * 20}",
     f"step:web:{OTHER},viewer:x:{OTHER}"],
    ids=["missing", "empty", "blank", "half-written", "no-token", "no-text", "half-a-limit", "the-webhooks", "twice"],
)  # fmt: skip
def test_file_that_cannot_be_read_keeps_the_tokens_before_it(file, text):
    file.write(text)

    assert file.tokens.find(SECRET)
    assert not file.tokens.find(OTHER)


def test_file_counts_again_when_it_is_whole(file):
    file.write(None)
    assert file.tokens.find(SECRET)
    file.write(f"step:web:{OTHER}")

    assert file.tokens.find(OTHER) and not file.tokens.find(SECRET)


def test_empty_file_stops_the_start(tmp_path):
    """Made-up tokens in its place would let nobody in."""
    (tmp_path / "tokens").write_text("")

    with pytest.raises(BadSettings, match="OCTOWAIT_TOKENS_FILE=.* is empty: expected role:name:token"):
        load_settings({"OCTOWAIT_TOKENS_FILE": str(tmp_path / "tokens")})


def owner(name: str, *projects: str, signed: bool = False) -> Identity:
    parts = (("project", name), ("space", "default")) if signed else ()
    return Identity(name, Limits(projects=frozenset(projects)), signed=parts)


WEB, API, BARE = owner("web", "projects-1"), owner("api", "projects-2"), owner("bare")
SIGNED = owner("octopus", signed=True)


@pytest.mark.parametrize(
    ("asker", "owners", "project", "can_check", "expected"),
    [
        (WEB, [API], "Projects-1", True, Verdict.TAKE),
        (API, [WEB], "Projects-1", True, Verdict.REFUSE),
        (WEB, [owner("web-new", "projects-1")], "Projects-1", True, Verdict.TAKE),
        (BARE, [WEB], "Projects-1", True, Verdict.REFUSE),
        (BARE, [API], "Projects-1", True, Verdict.TAKE),
        (Identity(EVERYBODY), [WEB], "Projects-1", False, Verdict.REFUSE),
        (WEB, [API], None, True, Verdict.WAIT),
        (WEB, [API], None, False, Verdict.SHARE),
        (BARE, [owner("other")], "Projects-1", True, Verdict.SHARE),
        (BARE, [], "Projects-1", False, Verdict.SHARE),
        (SIGNED, [BARE], None, False, Verdict.TAKE),
        (SIGNED, [SIGNED], None, False, Verdict.SHARE),
    ],
)
def test_limits_decide_whose_a_run_is(asker, owners, project, can_check, expected):
    verdict = verdict_on(asker, owners, space_id=None, project_id=project, can_check=can_check)

    assert verdict is expected
