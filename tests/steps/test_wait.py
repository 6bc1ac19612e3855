"""The wait step, run as a real process against a real server."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import wording
from facts import MACHINE, give_back, hold, line, state
from pytest_httpserver import HTTPServer
from run_step import Steps, eventually
from scripted import WAKE_KEY, Script


def test_is_granted_at_once_when_nobody_holds_the_machine(service: Any, steps: Steps) -> None:
    step = steps.start("wait", "ServerTasks-1")

    assert step.ends() == 0, step.output
    assert step.lines == ["Granted: Machines-7, after waiting 0 s."]
    assert step.variables["Octowait.State"] == "granted"
    assert int(step.variables["Octowait.FencingToken"]) >= 1
    assert step.variables["Octowait.WaitedSeconds"] in ("0", "1", "2")


def test_waits_for_the_holder_and_is_granted_on_its_release(service: Any, steps: Steps) -> None:
    token = hold(service)

    step = steps.start("wait", "ServerTasks-1")
    step.says("Waiting for Machines-7, place 1: ServerTasks-4700 (Api 2.0.1 to Production) has held it for")
    assert step.process.poll() is None
    give_back(service)

    assert step.ends() == 0, step.output
    assert step.lines[-1].startswith("Granted: Machines-7, after waiting")
    assert step.variables["Octowait.State"] == "granted"
    assert int(step.variables["Octowait.FencingToken"]) > token
    kinds = [kind for kind, _ in step.messages]
    assert "stdout-wait" in kinds and "progress" in kinds
    percentages = [m["percentage"] for kind, m in step.messages if kind == "progress"]
    assert all(0 <= int(p) <= 99 for p in percentages)


def test_is_granted_all_its_machines_or_none(service: Any, steps: Steps) -> None:
    hold(service, machines=("Machines-12",))

    step = steps.start("wait", "ServerTasks-1", {"Octopus.Deployment.Machines": "Machines-7, Machines-12,"})
    step.says("Waiting for Machines-12 and 1 more, place 1")
    status, machine = service.call("GET", "/api/machines/Machines-7", role="viewer")
    assert (status, machine["holders"]) == (200, [])
    give_back(service)

    assert step.ends() == 0, step.output


def test_takes_the_machines_of_its_parameter_before_those_of_the_deployment(service: Any, steps: Steps) -> None:
    step = steps.start("wait", "ServerTasks-1", {"Octowait.Machines": "Machines-9"})

    assert step.ends() == 0, step.output
    assert step.lines == ["Granted: Machines-9, after waiting 0 s."]


def test_priority_goes_before_arrival(service: Any, steps: Steps) -> None:
    hold(service)

    steps.start("wait", "ServerTasks-1")
    eventually(lambda: line(service) == ["ServerTasks-1"])
    steps.start("wait", "ServerTasks-2", {"Octowait.Priority": "010"})

    eventually(lambda: line(service) == ["ServerTasks-2", "ServerTasks-1"])
    status, run = service.call("GET", "/api/runs/ServerTasks-2", role="viewer")
    assert (status, run["priority"]) == (200, 10)


def test_keeps_its_place_when_the_server_restarts_while_it_blocks(service: Any, steps: Steps) -> None:
    hold(service)
    first = steps.start("wait", "ServerTasks-1")
    eventually(lambda: line(service) == ["ServerTasks-1"])
    second = steps.start("wait", "ServerTasks-2")
    eventually(lambda: line(service) == ["ServerTasks-1", "ServerTasks-2"])
    first.says("place 1")
    second.says("place 2")

    service.stop()
    first.says("octowait did not answer (")
    second.says("octowait did not answer (")
    service.start()

    assert line(service) == ["ServerTasks-1", "ServerTasks-2"]
    give_back(service)
    assert first.ends() == 0, first.output
    assert second.process.poll() is None
    assert "joined again" not in first.output + second.output
    give_back(service, "ServerTasks-1")
    assert second.ends() == 0, second.output


def test_is_granted_after_the_restart_when_the_holder_released_meanwhile(service: Any, steps: Steps) -> None:
    hold(service)
    step = steps.start("wait", "ServerTasks-1")
    step.says("place 1")

    service.stop()
    service.start()
    give_back(service)

    assert step.ends() == 0, step.output
    assert step.variables["Octowait.State"] == "granted"


def test_fails_when_the_server_was_never_reachable(offline: Steps) -> None:
    step = offline.start("wait", "ServerTasks-1", {"Octowait.TimeoutMinutes": "0.05"})

    assert step.ends() == offline.failed
    assert re.match(
        r"octowait at http://127\.0\.0\.1:1 has not answered for \d+ s\. octowait did not answer \(.+\)\.$",
        step.lines[-1],
    )
    assert step.result == step.lines[-1]
    assert step.variables == {}


def test_proceeds_with_a_warning_when_that_is_wished(offline: Steps) -> None:
    wish = {"Octowait.TimeoutMinutes": "0.05", "Octowait.WhenUnreachable": "proceed"}
    step = offline.start("wait", "ServerTasks-1", wish)

    assert step.ends() == 0
    assert "going on WITHOUT waiting, as Octowait.WhenUnreachable says." in step.lines[-1]
    assert "stdout-warning" in [kind for kind, _ in step.messages]
    assert step.variables["Octowait.State"] == "unreachable"
    assert step.variables["Octowait.FencingToken"] == "0"


def test_does_not_proceed_once_it_has_a_place(service: Any, steps: Steps) -> None:
    """Somebody is known to hold the machine: going on would be the collision that the step is there to prevent."""
    hold(service)
    wish = {"Octowait.TimeoutMinutes": "0.1", "Octowait.WhenUnreachable": "proceed"}
    step = steps.start("wait", "ServerTasks-1", wish)
    step.says("place 1")

    service.stop()

    assert step.ends() == steps.failed
    assert "Gave up after 0.1 min (Octowait.TimeoutMinutes). octowait did not answer" in step.lines[-1]


def test_leaves_the_line_when_its_time_is_out(service: Any, steps: Steps) -> None:
    hold(service)

    step = steps.start("wait", "ServerTasks-1", {"Octowait.TimeoutMinutes": "0.05"})

    assert step.ends() == steps.failed
    assert step.lines[-1].startswith("Gave up after 0.05 min (Octowait.TimeoutMinutes). Waiting for Machines-7")
    assert step.result == step.lines[-1]
    assert line(service) == []
    assert state(service, "ServerTasks-1") in ("left", "timed_out")


def test_fails_when_somebody_takes_it_out_of_the_line(service: Any, steps: Steps) -> None:
    hold(service)
    step = steps.start("wait", "ServerTasks-1")
    step.says("place 1")

    service.call("POST", "/api/waits/ServerTasks-1/force-release", {"reason": "not today", "confirm": True})

    assert step.ends() == steps.failed
    assert step.lines[-1].startswith("octowait does not let this run wait: ServerTasks-1 has left the line")
    assert "not today" in step.lines[-1] or "operator" in step.lines[-1]


def test_a_wrong_token_fails_at_once_with_what_the_server_says(service: Any, steps: Steps) -> None:
    status, problem = service.call("GET", "/api/waits/ServerTasks-1", role=None, headers={"Authorization": "Bearer no"})

    step = steps.start("wait", "ServerTasks-1", {"Octowait.Token": "no"})

    assert step.ends() == steps.failed
    assert step.lines == [wording.REFUSED.format(message=wording.TOKEN.format(status=status, detail=problem["detail"]))]


def test_says_what_it_holds_when_it_asks_for_more(service: Any, steps: Steps) -> None:
    hold(service, "ServerTasks-1")

    step = steps.start("wait", "ServerTasks-1", {"Octopus.Deployment.Machines": "Machines-7,Machines-12"})

    assert step.ends() == steps.failed
    assert "HTTP 409: ServerTasks-1 holds Machines-7" in step.lines[-1]


def test_refuses_to_run_on_a_deployment_target(offline: Steps) -> None:
    step = offline.start("wait", "ServerTasks-1", {"Octopus.Machine.Id": "Machines-7"})

    assert step.ends() == offline.failed
    assert step.lines[-1].startswith("This step runs on the deployment target Machines-7 and would block")


@pytest.mark.parametrize("yes", ["True", "true"])
def test_runs_on_a_deployment_target_when_the_mutex_is_bypassed(service: Any, steps: Steps, yes: str) -> None:
    where = {"Octopus.Machine.Id": "Machines-7", "OctopusBypassDeploymentMutex": yes}
    step = steps.start("wait", "ServerTasks-1", where)

    assert step.ends() == 0, step.output
    assert step.variables["Octowait.State"] == "granted"


@pytest.mark.parametrize("machines", ["", " , "])
def test_succeeds_without_machines(offline: Steps, machines: str) -> None:
    step = offline.start("wait", "ServerTasks-1", {"Octopus.Deployment.Machines": machines})

    assert step.ends() == 0, step.output
    assert step.lines == ["This deployment has no machines: nothing to wait for."]
    assert step.variables["Octowait.State"] == "no_machines"
    assert step.variables["Octowait.FencingToken"] == "0"
    assert step.variables["Octowait.WaitedSeconds"] in ("0", "1")


def test_shows_the_name_of_a_holder_as_it_is(service: Any, steps: Steps) -> None:
    holder = {"machines": [MACHINE], "project": {"id": "Projects-1", "name": "Wëb [a-z]* / * 部署"}}
    service.call("PUT", "/api/waits/ServerTasks-4700", holder, role="step")

    step = steps.start("wait", "ServerTasks-1")

    step.says("ServerTasks-4700 (Wëb [a-z]* / * 部署) has held it for")


def test_a_killed_waiter_does_not_hold_up_the_next(
    make_service: Callable[..., Any], make_steps: Callable[[str, str], Steps]
) -> None:
    service = make_service(OCTOWAIT_WAITER_TTL_SECONDS="10")
    steps = make_steps(service.url, service.tokens["step"])
    hold(service)
    dead = steps.start("wait", "ServerTasks-1")
    eventually(lambda: line(service) == ["ServerTasks-1"])
    alive = steps.start("wait", "ServerTasks-2")
    eventually(lambda: line(service) == ["ServerTasks-1", "ServerTasks-2"])
    alive.says("place 2")

    dead.kill()
    give_back(service)

    assert alive.ends(60) == 0, alive.output
    assert state(service, "ServerTasks-1") == "expired"


def test_a_killed_step_that_is_started_again_keeps_its_place(
    make_service: Callable[..., Any], make_steps: Callable[[str, str], Steps]
) -> None:
    service = make_service(OCTOWAIT_WAITER_TTL_SECONDS="60")  # more than a start takes on a busy machine
    steps = make_steps(service.url, service.tokens["step"])
    hold(service)
    dead = steps.start("wait", "ServerTasks-1")
    eventually(lambda: line(service) == ["ServerTasks-1"])
    other = steps.start("wait", "ServerTasks-2")
    eventually(lambda: line(service) == ["ServerTasks-1", "ServerTasks-2"])
    other.says("place 2")

    dead.kill()
    again = steps.start("wait", "ServerTasks-1")
    again.says("place 1")
    give_back(service)

    assert again.ends() == 0, again.output
    assert other.process.poll() is None


def test_nobody_sees_the_token_in_the_process_list(service: Any, steps: Steps) -> None:
    hold(service)
    step = steps.start("wait", "ServerTasks-1")
    step.says("place 1")

    def arguments() -> list[str]:
        listing = subprocess.run(["ps", "-ww", "-eo", "sess,args"], capture_output=True, text=True, check=True)
        own = [row.split(None, 1) for row in listing.stdout.splitlines()]
        return [args for session, args in own if session == str(step.process.pid)]

    if steps.language == "bash":  # only curl is a process of its own
        eventually(lambda: any("block_seconds" in args for args in arguments()))
    assert service.tokens["step"] not in "\n".join(arguments())


class Cable:
    """Carries connections to a port until it is cut."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.is_cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self.is_cut:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._to))
            self._ends += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                other.sendall(data)
        except OSError:
            pass
        for end in (one, other):
            self._hang_up(end)

    @staticmethod
    def _hang_up(end: socket.socket) -> None:
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other side was quicker

    def cut(self) -> None:
        self.is_cut = True
        for end in self._ends:
            self._hang_up(end)

    def mend(self) -> None:
        self.is_cut = False

    def close(self) -> None:
        self.cut()
        self._hang_up(self._listener)
        for end in (*self._ends, self._listener):
            end.close()


@pytest.fixture
def cable(service: Any) -> Iterator[Cable]:
    cable = Cable(service.port)
    yield cable
    cable.close()


def test_survives_a_cut_network_and_keeps_its_place(service: Any, steps: Steps, cable: Cable) -> None:
    hold(service)
    step = steps.start("wait", "ServerTasks-1", {"Octowait.Url": cable.url})
    step.says("place 1")

    cable.cut()
    step.says("octowait did not answer (")
    cable.mend()
    give_back(service)

    assert step.ends() == 0, step.output
    assert "joined again" not in step.output


def test_joins_again_at_the_end_when_it_was_away_too_long(
    make_service: Callable[..., Any], make_steps: Callable[[str, str], Steps], request: pytest.FixtureRequest
) -> None:
    service = make_service(OCTOWAIT_WAITER_TTL_SECONDS="20")
    steps, cable = make_steps(service.url, service.tokens["step"]), Cable(service.port)
    request.addfinalizer(cable.close)
    hold(service)
    away = steps.start("wait", "ServerTasks-1", {"Octowait.Url": cable.url})
    eventually(lambda: line(service) == ["ServerTasks-1"])
    steps.start("wait", "ServerTasks-2")
    eventually(lambda: line(service) == ["ServerTasks-1", "ServerTasks-2"])
    away.says("place 1")

    cable.cut()
    eventually(lambda: line(service) == ["ServerTasks-2"], timeout=40)
    cable.mend()

    eventually(lambda: line(service) == ["ServerTasks-2", "ServerTasks-1"])
    away.says("The place in the line was lost: joined again at the end.")
    away.says("place 2")


def test_asks_with_put_first_then_blocks(script: Script, offline: Steps) -> None:
    script.then("waiting", 2, "Waiting for a.", 201).then("waiting", 1, "Waiting for a.").then(
        "granted", 17, "Granted."
    )

    step = offline.start("wait", "ServerTasks-1", {"Octowait.Url": script.url + "/"})

    assert step.ends() == 0, step.output
    assert script.methods == ["PUT", "GET", "GET"]
    assert script.asked[1][1] == "block_seconds=50"
    assert step.variables["Octowait.FencingToken"] == "17"
    assert step.lines == ["Waiting for a.", "Waiting for a.", "Granted."]
    assert script.asked[0][2] == {
        "space_id": "Spaces-1", "machines": ["Machines-7"], "deployment_id": None, "runbook_run_id": None,
        "project": None, "environment": None, "release": None, "tenant": None, "url": None, "priority": 0,
        "timeout_seconds": 7200, "on_behalf_of": None, "parked": False,
    }  # fmt: skip


def test_a_longer_wait_alone_is_no_news(script: Script, offline: Steps) -> None:
    for words in ("59 s", "1 min", "1 h 2 min", "2 d"):
        script.then("waiting", 1, f"Waiting for a, place 1: ServerTasks-1 (Api) has held it for {words}.")
    for words in ("3 min", "2 min"):
        eta = f"Expected in about {words}, in nine of ten cases in at most 8 min."
        script.then("waiting", 1, f"Waiting for a, place 1: ServerTasks-1 (Api) has held it for 9 min. {eta}")
    script.then("waiting", 1, "Waiting for a, place 1: ServerTasks-2 (Api) has held it for 1 s.")
    script.then("granted", 1, "Granted.")

    step = offline.start("wait", "ServerTasks-9", {"Octowait.Url": script.url})

    assert step.ends() == 0, step.output
    assert [re.findall("ServerTasks-.", said) for said in step.lines] == [["ServerTasks-1"], ["ServerTasks-2"], []]


@pytest.mark.parametrize("how", ["expired", "unknown"])
def test_asks_for_a_place_again_when_the_server_has_lost_it(script: Script, offline: Steps, how: str) -> None:
    script.then("waiting", 1, "Waiting for a.", 201)
    if how == "expired":
        script.then("expired", 0, "ServerTasks-1 was removed.")
    else:
        script.then_problem(404, "ServerTasks-1 was removed.")
    script.then("waiting", 5, "Waiting for b.", 201).then("granted", 2, "Granted.")

    step = offline.start("wait", "ServerTasks-1", {"Octowait.Url": script.url})

    assert step.ends() == 0, step.output
    assert script.methods == ["PUT", "GET", "PUT", "GET"]
    assert "ServerTasks-1 was removed. Asking for a place again." in step.output
    assert "The place in the line was lost: joined again at the end." in step.lines


def test_asks_again_with_put_when_the_server_cannot_answer_now(script: Script, offline: Steps) -> None:
    script.then_problem(503, 'Redis \\ "away"').then_problem(429, Retry_After="1").then_problem(408)
    script.then_text(200, "<html>maintenance</html>").then("waiting", 1, "Waiting for a.", 201)
    script.then_problem(500).then("granted", 2, "Granted.")

    step = offline.start("wait", "ServerTasks-1", {"Octowait.Url": script.url})

    assert step.ends() == 0, step.output
    assert script.methods == ["PUT"] * 5 + ["GET", "PUT"]
    assert 'octowait did not answer (HTTP 503: Redis \\ "away").' in step.lines[0]
    assert int(step.variables["Octowait.WaitedSeconds"]) >= 1, "Retry-After"


def test_takes_its_token_to_no_other_address(script: Script, offline: Steps, httpserver: HTTPServer) -> None:
    script.then("waiting", 1, "Waiting for a.", 201)
    script.then_text(302, "", Location=httpserver.url_for("/elsewhere")).then("granted", 2, "Granted.")

    step = offline.start("wait", "ServerTasks-1", {"Octowait.Url": script.url})

    assert step.ends() == 0
    assert {request.path for request, _ in httpserver.log} == {"/api/waits/ServerTasks-1"}


@pytest.mark.parametrize("state", ["left", "refused", "released"])
def test_fails_with_the_message_when_the_wait_has_ended(script: Script, offline: Steps, state: str) -> None:
    script.then("waiting", 1, "Waiting for a.", 201).then(state, 0, "ServerTasks-1 may not wait (too many).")

    step = offline.start("wait", "ServerTasks-1", {"Octowait.Url": script.url})

    assert step.ends() == offline.failed
    assert step.lines[-1] == "octowait does not let this run wait: ServerTasks-1 may not wait (too many)."


def test_says_that_it_leaves_when_its_time_is_out(script: Script, offline: Steps) -> None:
    script.then("waiting", 1, "Waiting for a.", 201).then("timed_out", 0, "ServerTasks-1 was removed.")
    script.then_text(200, "nothing 0\nServerTasks-1 held nothing.\n")

    step = offline.start("wait", "ServerTasks-1", {"Octowait.Url": script.url})

    assert step.ends() == offline.failed
    assert script.methods == ["PUT", "GET", "DELETE"]
    assert step.lines[-1] == "Gave up after 120 min (Octowait.TimeoutMinutes). Waiting for a."


def test_redis_url_is_used_or_the_step_says_that_it_is_not(service: Any, steps: Steps, redis_url: str) -> None:
    hold(service)
    step = steps.start("wait", "ServerTasks-1", {"Octowait.RedisUrl": redis_url})
    step.says("place 1")
    give_back(service)

    assert step.ends() == 0, step.output
    warned = "Octowait.RedisUrl is not usable here (not supported in Bash): blocking over HTTP." in step.output
    assert warned == (steps.language == "bash")
    assert redis_url not in step.output


def test_names_an_expression_in_redis_url_but_no_password(offline: Steps) -> None:
    step = offline.start("wait", "ServerTasks-1", {"Octowait.RedisUrl": "redis://:secret@#{Host}/0"})

    assert step.ends() == offline.failed
    assert step.lines[0].startswith("Octowait.RedisUrl contains '#{Host}', which Octopus did not resolve")
    assert "secret" not in step.output


@pytest.mark.parametrize("language", ["python"])
def test_blocks_on_the_wake_key_of_redis(script: Script, offline: Steps, redis_url: str) -> None:
    script.then("waiting", 1, "Waiting for a.", 201).then("granted", 2, "Granted.")
    store = redis.Redis.from_url(redis_url)
    store.delete(WAKE_KEY)

    step = offline.start("wait", "ServerTasks-1", {"Octowait.Url": script.url, "Octowait.RedisUrl": redis_url})
    eventually(lambda: script.methods == ["PUT"] and store.info("clients")["blocked_clients"] == 1)
    store.rpush(WAKE_KEY, "granted")

    assert step.ends() == 0, step.output
    assert script.asked[1][:2] == ("GET", "block_seconds=1")
    store.close()


@pytest.mark.parametrize("language", ["python"])
def test_hand_off_by_redis_takes_no_longer_than_one_by_http(service: Any, steps: Steps, redis_url: str) -> None:
    hold(service)
    step = steps.start("wait", "ServerTasks-1", {"Octowait.RedisUrl": redis_url})
    step.says("place 1")
    store = redis.Redis.from_url(redis_url)
    eventually(lambda: store.info("clients")["blocked_clients"] == 1)

    began = time.monotonic()
    give_back(service)

    assert step.ends() == 0, step.output
    assert time.monotonic() - began < 10, "it blocks for 25 s where it has to ask twice"
    store.close()


def test_falls_back_to_http_when_redis_does_not_answer(service: Any, steps: Steps) -> None:
    hold(service)
    step = steps.start("wait", "ServerTasks-1", {"Octowait.RedisUrl": "redis://:secret@127.0.0.1:1/0"})
    step.says("place 1")
    give_back(service)

    assert step.ends() == 0, step.output
    assert step.output.count("blocking over HTTP.") == 1
    assert "secret" not in step.output


def pythons() -> list[str]:
    """Old interpreters that happen to be here; one that is only a name of a version manager's does not run."""
    installed = [str(path) for path in sorted(Path.home().glob(".pyenv/versions/3.[67].*/bin/python3"))]
    named = [shutil.which(f"python3.{minor}") for minor in (6, 7, 8)]
    found = installed or [path for path in named if path]
    return [path for path in found if subprocess.run([path, "-c", ""], capture_output=True).returncode == 0]


@pytest.mark.parametrize("python", pythons() or [""])
def test_runs_on_an_old_python(service: Any, tmp_path: Path, python: str) -> None:
    if not python:
        pytest.skip("no old Python here")
    steps = Steps("python", tmp_path, url=service.url, token=service.tokens["step"])

    held = steps.start("wait", "ServerTasks-1", {"Octopus.Project.Name": "Wëb"}, python=python)
    assert held.ends() == 0, held.output
    waits = steps.start("wait", "ServerTasks-2", python=python)
    waits.says("ServerTasks-1 (Wëb) has held it for")
    assert steps.start("release", "ServerTasks-1", python=python).ends() == 0
    assert waits.ends() == 0, waits.output
