"""What only the Bash steps have to stand: shells that were set up oddly, old and foreign tools, and bytes."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import run_step
import wording
from bash_rules import TOOLS
from conditions.world import World, said
from stand_in import Exchange, closing, granted, outcome, page, problem, state, waiting

TOKEN = "step-token-0123"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World("bash", tmp_path)
    yield made
    made.close()


#: What a module or a worker may have set before the step.
SURROUNDINGS = {
    "errexit": "set -eu\nset -o pipefail",
    "no globbing": "set -f",
    "a trace": "set -x",
    "posix": "set -o posix",
    "no clobbering": "set -C",
    "patterns": "shopt -s nocasematch extglob nullglob failglob dotglob",
    "an echo of its own": "shopt -s xpg_echo",
    "separators": "IFS=/",
    "no separators": "IFS=",
    "Turkish": "export LC_ALL=tr_TR.UTF-8 LANG=tr_TR.UTF-8",
    "no locale": "unset LC_ALL LANG LC_CTYPE",
    "an unknown locale": "export LC_ALL=xx_YY.UTF-8",
    "no place for files": "export TMPDIR=/is/not/there",
    "a broken pipe ignored": "trap '' PIPE",
    "names of the environment": "export url=x token=x body=x state=x task=x machines=x text=x verb=x claim=x seen=x",
    "a job that runs on": "{ while kill -0 $$; do sleep 1; done; } >/dev/null 2>&1 &",
    "options for tools": "export GREP_OPTIONS=-v POSIXLY_CORRECT=1 CURL_HOME=/is/not/there",
}


@pytest.mark.parametrize("module", SURROUNDINGS.values(), ids=SURROUNDINGS.keys())
def test_a_step_stands_what_was_set_before_it(world: World, module: str) -> None:
    busy = problem(503, "busy", "Redis does not answer: \\u00fc")
    server = world.server(waiting(1, "Waiting for [a-z]* / * i-I."), closing, busy, page(502), waiting(2), granted())

    step = world.run("wait", server, {"Octopus.Project.Name": 'Ümläut \\ "x"\t[a-z]* II'}, module=module)

    assert step.printed.at("wait")[0] == "Waiting for [a-z]* / * i-I."
    assert step.printed.variables["Octowait.State"] == "granted"
    assert server.requests[0].json["project"]["name"] == 'Ümläut \\ "x"\t[a-z]* II'
    assert TOKEN not in step.output
    released = world.run("release", world.server(granted()), module=module)
    assert released.printed.at("highlight") == ["Released: ServerTasks-1 has given its machines back."]


def _with_only(directory: Path, *tools: Path) -> str:
    """A PATH with these programs, and the few that are none of the step's."""
    folder = directory / "only"
    folder.mkdir()
    for program in ("bash", "curl", "openssl", "cat"):
        (folder / program).symlink_to(shutil.which(program) or "/is/not/there")
    for tool in tools:
        (folder / tool.name).symlink_to(tool.resolve())
    return f"PATH={folder}"


def test_a_step_needs_no_other_programs(world: World) -> None:
    tools = [Path(shutil.which(name) or "") for name in TOOLS if name != "curl"]
    module = _with_only(world.directory, *tools)
    server = world.server(waiting(), closing, waiting(2), granted())

    step = world.run("wait", server, module=module)

    assert "not found" not in step.output
    assert step.printed.variables["Octowait.State"] == "granted"


def test_a_step_runs_with_the_tools_of_busybox(world: World) -> None:
    busybox = shutil.which("busybox")
    if not busybox:
        pytest.skip("no busybox here")
    folder = world.directory / "busybox"
    folder.mkdir()
    for name in TOOLS.keys() - {"curl"}:
        (folder / name).write_text(f'#!/bin/sh\nexec {busybox} {name} "$@"\n')
        (folder / name).chmod(0o755)
    module = f"{_with_only(world.directory)}:{folder}:/bin-of-sh\n"
    odd = "Waiting for Wëb 部署 ## \x9b \u202e#"
    server = world.server(waiting(1, odd), closing, page(200, "x" * 300_000), waiting(2), granted())

    step = world.run("wait", server, module=module)

    assert step.printed.at("wait")[0] == "Waiting for Wëb 部署 # #    # "
    assert step.printed.variables["Octowait.State"] == "granted"
    assert len(server.requests[0].claim or "") == 32


def _program(world: World, name: str, text: str) -> str:
    """A line that puts a program of our own before the real one, which it finds as ``$REAL``."""
    folder = world.directory / "own"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/bash\nREAL={shutil.which(name)}\n{text}\n")
    (folder / name).chmod(0o755)
    return f"PATH={folder}:$PATH"


def test_a_sleep_without_fractions_makes_no_hot_loop(world: World) -> None:
    module = _program(world, "sleep", 'case $1 in *.*) echo "sleep: usage" >&2; exit 2 ;; esac; exec $REAL "$@"')
    server = world.server(closing)

    step = world.run("wait", server, {"Octowait.TimeoutMinutes": "0.05"}, module=module, fails=True)

    assert "usage" not in step.output
    assert len([request for request in server.requests if request.method == "PUT"]) <= 5


def test_between_a_grant_and_the_end_only_its_confirmation_is_started(world: World) -> None:
    """What a machine stands idle after a release is, for a step in Bash, mostly the starts of programs."""
    log = world.directory / "started"
    log.touch()
    for name in TOOLS:
        module = _program(world, name, f'echo {name} >>{log}; exec $REAL "$@"')
    before: Counter[str] = Counter()

    def started() -> Counter[str]:
        names = Counter(log.read_text().split())
        del names["tr"]  # the last of a call, which is not awaited here
        return names

    def first_grant(exchange: Exchange) -> None:
        run_step.eventually(lambda: started()["head"] == 2)  # its own call's
        before.update(started())
        granted(seen="a.1")(exchange)

    server = world.server(waiting(seen="a.0"), first_grant, granted(seen="a.1"))
    step = world.run("wait", server, module=module)

    assert before["curl"] == 3  # for its version, for a place, for the grant
    assert started() - before == Counter({"curl": 1, "head": 1})
    assert step.printed.variables["Octowait.State"] == "granted"


#: As curl before 7.43 takes a setting that it does not know: a warning that --silent hides, and it goes on.
OLD_CURL = """
[ "$1" = -q ] || exit 2
for word; do
  case $word in
    --*) case " %s " in *" $word "*) ;; *) echo "curl: option $word: is unknown" >&2; exit 2 ;; esac ;;
  esac
done
if [ "$2" = --version ]; then exec $REAL "$@"; fi
while IFS= read -r line; do
  case $line in
    header* | proxy* | cacert* | data-binary*) printf '%%s\\n' "$line" ;;
  esac
done | $REAL "$@"
"""


def test_a_step_asks_an_old_curl_for_nothing_that_it_does_not_know(world: World) -> None:
    module = _program(world, "curl", OLD_CURL % " ".join(sorted(TOOLS["curl"])))
    server = world.server(waiting(), closing, waiting(2), granted())

    step = world.run("wait", server, {"Octopus.Project.Name": "@Web"}, module=module)

    assert step.printed.variables["Octowait.State"] == "granted"
    assert server.requests[0].json["project"]["name"] == "@Web"
    assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("status", [126, 127])
def test_a_curl_that_cannot_be_started_is_none(world: World, status: int) -> None:
    module = _program(world, "curl", f"echo 'curl: error while loading shared libraries' >&2; exit {status}")

    assert world.fails("wait", world.server(granted()), module=module) == wording.NO_CURL


def test_a_curl_that_is_ended_is_an_interruption(world: World) -> None:
    ends_once = 'if [ "$2" != --version ] && [ ! -e "$0.was" ]; then : >"$0.was"; kill -9 $$; fi; exec $REAL "$@"'
    module = _program(world, "curl", ends_once)

    step = world.run("wait", world.server(granted()), module=module)

    assert said(step, wording.pattern(wording.ASKING_AGAIN))
    assert step.printed.variables["Octowait.State"] == "granted"
    assert len(step.printed.text) == 2, "what the shell says of it is no part of the log"


def test_ten_thousand_machines_are_asked_for(world: World) -> None:
    """Curl of 2020 to 2022 reads no line of a configuration beyond 100 KB."""
    machines = [f"Machines-{number}" for number in range(100_000, 110_000)]
    server = world.server(granted())

    world.run("wait", server, {"Octowait.Machines": ",".join(machines)}, within=120)

    assert server.requests[0].json["machines"] == machines


#: Details as octowait escapes them, and what a person reads.
DETAILS = [
    ("W\\u00eb\\u0042 \\u90e8\\u7f72 \\ud83d\\ude80", "WëB 部署 🚀"),
    ("Wëb 部署", "Wëb 部署"),
    ('\\"a\\" \\\\ \\/ b', '"a" \\ / b'),
    ("a\\nb\\tc\\u0000d\\u001be", "a b c d e"),
    ("\\ud83d alone \\\\u0041 %s %b $(id) `id`", "  alone \\u0041 %s %b $(id) `id`"),
    ("", ""),
]


@pytest.mark.parametrize(("escaped", "read"), DETAILS)
def test_a_detail_is_read_as_json(world: World, escaped: str, read: str) -> None:
    def reply(exchange: Exchange) -> None:
        body = f'{{"code": "holds_others", "detail": "{escaped}", "more": {{"detail": "no"}}}}'
        exchange.respond(409, body, "application/problem+json")

    step = world.start("wait", world.server(reply))
    assert step.ends() == 1
    message = wording.PROBLEM.format(status=409, detail=read)
    assert step.lines[0] == wording.REFUSED.format(message=message)


def test_a_line_is_cut_between_characters(world: World) -> None:
    server = world.server(waiting(1, "部" * 1999 + "é🚀"), waiting(2, "部" * 1999 + "é"), granted())

    lines = world.run("wait", server).printed.at("wait")

    assert lines == ["部" * 1999 + "é ...", "部" * 1999 + "é"]


def test_bytes_that_no_shell_holds_make_no_noise(world: World) -> None:
    server = world.server(waiting(1, "Waiting\0for\0web-01"), state("granted", 17, "Granted.\0"), granted())

    step = world.run("wait", server)

    assert step.printed.text[0] == "Waiting for web-01"
    assert "null byte" not in step.output


def test_a_worker_without_an_uptime_still_waits_its_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As macOS: Bash counts whole seconds, of which the first may be a short one."""
    scripts = world.directory / "scripts"
    scripts.mkdir()
    text = (run_step.STEPS / "wait.sh").read_text(encoding="utf-8")
    assert text.count("=/proc/uptime") == 1
    (scripts / "wait.sh").write_text(text.replace("=/proc/uptime", "=/is/not/there"), encoding="utf-8")
    monkeypatch.setattr(run_step, "STEPS", scripts)
    server = world.server(waiting())

    last = world.fails("wait", server, {"Octowait.TimeoutMinutes": "0.05"})

    assert last.startswith("Gave up after 0.05 min")
    assert 3 <= server.requests[-1].at - server.requests[0].at <= 12


def test_nothing_of_octopus_is_needed_to_fail(world: World) -> None:
    module = "unset -f get_octopusvariable fail_step write_wait write_highlight write_warning"

    step = world.start("wait", module=module)

    assert step.ends() == 1
    assert "Octopus.Task.Id is '': expected an id such as ServerTasks-4711" in step.output


def test_lines_of_an_older_octopus_are_plain(world: World) -> None:
    module = "unset -f write_wait write_highlight write_warning update_progress"
    server = world.server(waiting(1, "Waiting #"), granted(), deletes=[outcome("released")])

    step = world.run("wait", server, module=module)

    assert step.printed.at("default") == ["Waiting # ", "Granted: web-01, after waiting 61 s."]


#: How curl ends and what it says, of several versions, and what a person reads of it.
ENDS = [
    (6, "Could not resolve host: octowait.test", wording.NO_NAME, "Could not resolve host: octowait.test"),
    (28, "Resolving timed out after 10000 milliseconds", wording.NO_NAME, "Resolving timed out"),
    (7, "couldn't connect to host", wording.NO_CONNECTION, "couldn't connect to host"),
    (28, "Connection timed out after 10001 milliseconds", wording.NO_CONNECTION, "Connection timed out after"),
    (28, "Failed to connect to x port 1 after 9 ms: Timeout was reached", wording.NO_CONNECTION, "Timeout was reached"),
    (28, "Operation timed out after 20000 milliseconds with 0 bytes received", wording.NO_TIME.format(seconds=20), ""),
    (52, "Empty reply from server", wording.CUT, ""),
    (56, "Recv failure: Connection reset by peer", wording.CUT, ""),
    (18, "transfer closed with 40 bytes remaining to read", wording.CUT, ""),
    (92, "HTTP/2 stream 0 was not closed cleanly: INTERNAL_ERROR (err 2)", wording.CUT, ""),
    (35, "OpenSSL SSL_connect: SSL_ERROR_SYSCALL in connection to x:443", wording.CUT, ""),
    (35, "Unknown SSL protocol error in connection to x:443", wording.NO_TLS, "Unknown SSL protocol error"),
    (60, "Peer's Certificate issuer is not recognized.\nMore details here", wording.CERTIFICATE, "not recognized.;"),
    (
        51,
        "SSL: certificate subject name (a) does not match target host name (b)",
        wording.CERTIFICATE,
        "does not match",
    ),
    (77, "error setting certificate verify locations", wording.NO_TLS, "verify locations"),
    (137, "", "no HTTP answer ({why})", "curl: 137"),
]
SILENT = {5, 6, 7, 16, 18, 28, 52, 55, 56, 92, 95}


@pytest.mark.parametrize("end", range(len(ENDS)), ids=lambda end: str(ENDS[end][:2]))
def test_what_curl_ends_with_is_explained(world: World, end: int) -> None:
    status, words, reason, why = ENDS[end]
    # In 2013 the error came after what a call asked to be told of its answer.
    known_first = end % 2 == 0
    known, error = "\n=== 000 000 0\n", f"curl: ({status}) {words}\n" if words else ""
    (world.directory / "said").write_text(known + error if known_first else error + known)
    ends = f'[ "$2" = --version ] || {{ cat {world.directory}/said; exit {status}; }}'
    wish = {"Octowait.TimeoutMinutes": "0.02", "Octowait.WhenUnreachable": "proceed"}
    is_silence = status in SILENT or reason == wording.CUT

    step = world.run("wait", "http://x", wish, module=_program(world, "curl", ends), fails=not is_silence)

    assert said(step, wording.pattern(wording.ASKING_AGAIN.replace("{reason}", reason)))
    assert why in step.printed.text[0]
