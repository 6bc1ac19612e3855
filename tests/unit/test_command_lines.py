"""What people type: addresses that are none, and examples that are safe to copy."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cli import cli
from app.cli.command import Overview, checked_address, readable_errors
from app.cli.welcome import welcome
from app.settings import BadSettings, load_settings

NO_ADDRESSES = [
    "notaurl", "127.0.0.1:8080", "octowait.example.com/path", "ftp://octowait", "http://", "http://[::1",
    "http://octowait:99999", "http://octowait:port", "https://octo wait", "http://octowait\n", "//octowait", "",
]  # fmt: skip


@pytest.mark.parametrize("text", [text for text in NO_ADDRESSES if text])
@pytest.mark.parametrize("how", ["option", "variable"])
def test_an_address_that_is_none_is_named_and_what_was_expected(text: str, how: str, capsys, monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["octowait"])
    words = ["machines", "--token", "a-token-of-a-test"]
    words += ["--url", text] if how == "option" else []
    with pytest.raises(SystemExit) as ended, readable_errors():
        CliRunner(env={"OCTOWAIT_URL": text} if how == "variable" else {}).invoke(cli, words, catch_exceptions=False)
        raise AssertionError("the command went on")

    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert repr(text) in said and "https://octowait.example.com" in said


def test_a_missing_scheme_is_offered() -> None:
    with pytest.raises(BadSettings, match=re.escape("is http://127.0.0.1:8080 meant?")):
        checked_address("127.0.0.1:8080")


@settings(deadline=None)  # What else runs here is not the matter.
@given(text=st.one_of(st.text(max_size=40), st.from_regex(r"https?://[\[\]a-z0-9.:@/ ?#-]{0,20}", fullmatch=True)))
def test_an_address_that_is_taken_can_be_asked(text: str) -> None:
    try:
        address = checked_address(text)
    except BadSettings:
        return
    request = urllib.request.Request(address.rstrip("/") + "/api/machines")
    assert request.host and request.type in ("http", "https")


def commands(group: click.Group = cli, path: str = "octowait") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")


OVERRIDES = {"confirm", "is_open", "begin_anew", "create"}


@pytest.mark.parametrize(("path", "command"), list(commands()))
def test_no_help_ends_in_an_override(path: str, command: click.Command) -> None:
    """An example is copied: what switches a safeguard off is to be typed by somebody who means it."""
    options = [text for p in command.params if p.name in OVERRIDES for text in p.opts]

    assert not [option for option in options if option in (command.epilog or "").split()]


@pytest.mark.parametrize("group", [each for each in (cli, *cli.commands.values()) if isinstance(each, Overview)])
def test_list_of_commands_has_whole_sentences(group: click.Group) -> None:
    said = " ".join(CliRunner().invoke(group, ["--help"]).output.split())

    for name, each in group.commands.items():
        assert f"{name} {each.get_short_help_str(limit=1000)}" in said


def test_welcome_speaks_of_a_link_that_signs_in_only_where_there_is_one(tmp_path: Path) -> None:
    settings = load_settings(
        {
            "OCTOWAIT_TOKENS": f"step:team:{'s' * 24},admin:dana:{'a' * 24}",
            "OCTOWAIT_WEBHOOK_SECRET": "w" * 24,
            "OCTOWAIT_DATA_DIR": str(tmp_path),
        }
    )

    last = welcome(settings).strip().splitlines()[-1]

    assert "sign in with a token" in last and "link" not in last
