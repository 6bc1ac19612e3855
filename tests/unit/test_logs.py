"""What a process says. Each test has one of its own: logs are set up once in a process."""

import json
import subprocess
import sys

import pytest

from app.settings import Settings
from tests.conftest import ROOT

SECRETS = ("hidden-token", 'quo"ted\\secret', "")

BEGIN = """
import logging, sys, structlog
from app.logs import configure_logs
log, other = structlog.get_logger(), logging.getLogger("other")
"""


def said(code, *arguments):
    """What a process that does *code* with *arguments* writes on standard error."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=30,
        check=True,
    )
    assert done.stdout == ""
    return done.stderr


def test_json_is_one_object_a_line():
    text = said("""
configure_logs("json")
log.info("hello", task="ServerTasks-1", machines=["Machines-7"])
other.warning("from %s", "elsewhere")
""")

    ours, theirs = map(json.loads, text.splitlines())
    assert (ours["event"], ours["task"], ours["machines"], ours["level"]) == (
        "hello", "ServerTasks-1", ["Machines-7"], "info",
    )  # fmt: skip
    assert (theirs["event"], theirs["level"]) == ("from elsewhere", "warning")
    assert ours["timestamp"].endswith("Z")


def test_a_line_names_some_of_ten_thousand_machines_whoever_writes_it():
    lines = said("""
from app.logs import about
configure_logs("json")
machines = [f"Machines-{n}" for n in range(10_000)]
log.info("given", machines=machines)
structlog.contextvars.bind_contextvars(machines=machines)
log.info("bound")
structlog.contextvars.clear_contextvars()
about.set(lambda: {"machines": machines})
log.info("found out")
""").splitlines()

    assert [len(json.loads(line)["machines"]) for line in lines] == [20, 20, 20]


def test_what_is_less_than_the_level_is_not_said():
    text = said("""
configure_logs("json", level="warning")
log.debug("one")
log.info("two")
log.warning("three")
""")

    assert [json.loads(line)["event"] for line in text.splitlines()] == ["three"]


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("secret", SECRETS[:2])
def test_no_secret_is_said(log_format, secret):
    code = """
form, secret, *secrets = sys.argv[1:]
configure_logs(form, secrets=secrets)
log.warning(f"in the event {secret}", value=f"in a value {secret}", inside={"deep": [secret]})
other.error("by others: %s", secret)
a_local_variable = f"{'x' * 90} {secret}"
try:
    raise ValueError(f"in an error {secret}")
except ValueError:
    log.exception("unforeseen")
    other.exception("unforeseen")
"""
    text = said(code, log_format, secret, *SECRETS)

    assert text.count("[redacted]") >= 6
    assert "a_local_variable" not in text
    assert not any(spelling in text for spelling in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]))


def test_settings_know_what_is_secret():
    settings = Settings(
        redis_url="rediss://user:p%40ss@redis:6379/0", webhook_secret="webhook-secret", octopus_api_key="API-KEY",
        tokens="admin:ann:token-of-ann", notify_urls="slack://TokenA1234567890/B/C, json://u:pass@host/x?a=1,2",
    )  # fmt: skip

    assert {
        "p@ss", "webhook-secret", "API-KEY", "token-of-ann", "slack://TokenA1234567890/B/C", "TokenA1234567890",
        "json://u:pass@host/x?a=1,2", "pass",
    } == set(settings.secrets)  # fmt: skip
