"""What doctor finds in octowait and Redis."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from rq import SimpleWorker

from app.client.http import HttpGate
from app.coordination.refusals import CallRefusal
from app.doctor import on_octowait, on_replicas
from app.doctor.examination import open_context
from app.domain.run import RunRequest
from app.jobs import queues_of
from app.settings.values import Token
from app.store.connection import connect
from app.store.persistence import read_condition
from tests.integration.doctor.helpers import ERROR, GOOD, OK, UNKNOWN, WARNING, deliver, found, levels, post


def test_octowait_that_is_not_there(case):
    gone = replace(case, gate=HttpGate("http://127.0.0.1:1", "token"))

    assert found(on_octowait.reachable, gone) == [("octowait_unreachable", ERROR)]


def test_octowait_without_a_worker(case):
    assert found(on_octowait.reachable, case) == [("octowait_not_ready", ERROR)]


def test_octowait_that_is_closed_says_when_it_opens(case, board):
    board.close(by="dana")

    (finding,) = on_octowait.reachable(case)

    assert "operator has closed octowait" in finding.what
    assert "opens by itself" in finding.do and "'octowait worker'" not in finding.do


def test_octowait_with_a_worker(case, settings, redis_url):
    client = connect(redis_url, blocking=True)
    worker = SimpleWorker(queues_of(client, settings), connection=client)
    worker.register_birth()

    assert found(on_octowait.reachable, case) == [("octowait_ready", OK)]
    worker.register_death()
    client.close()


@pytest.mark.parametrize(("version", "level"), [("5.0.14", ERROR), ("6.0.20", ERROR), ("", ERROR), ("6.2.0", OK),
                                                ("7.2.4", OK), ("10.0.1", OK)])  # fmt: skip
def test_version_of_redis(case, version, level):
    condition = replace(GOOD, version=version)

    assert found(on_octowait.redis_version, replace(case, condition=lambda: condition)) == [("redis_version", level)]


@pytest.mark.parametrize(
    ("condition", "least", "code", "level"),
    [
        (GOOD, "always", "redis_persistence", OK),
        (GOOD, "everysec", "redis_persistence", OK),
        (replace(GOOD, append_only=False), "everysec", "redis_persistence", ERROR),
        (replace(GOOD, append_only=False), "none", "redis_persistence", WARNING),
        (replace(GOOD, append_only=False, snapshots=True), "everysec", "redis_persistence", ERROR),
        (replace(GOOD, fsync="everysec"), "always", "redis_fsync", ERROR),
        (replace(GOOD, fsync="everysec"), "everysec", "redis_fsync", WARNING),
        (replace(GOOD, fsync="no"), "everysec", "redis_fsync", ERROR),
        (replace(GOOD, fsync="no"), "none", "redis_fsync", WARNING),
        (replace(GOOD, fsync=None), "always", "redis_fsync", ERROR),
        (replace(GOOD, fsync=None), "everysec", "redis_fsync", UNKNOWN),
    ],
)
def test_persistence_of_redis(case, condition, least, code, level):
    case = replace(case, condition=lambda: condition, settings=case.settings.model_copy(update={"min_fsync": least}))

    assert found(on_octowait.redis_persistence, case) == [(code, level)]


@pytest.mark.parametrize(
    ("maxmemory", "eviction", "allowed", "level"),
    [(0, "noeviction", False, OK), (1 << 30, "noeviction", False, OK), (0, "allkeys-lru", False, OK),
     (1 << 30, "allkeys-lru", False, ERROR), (1 << 30, "allkeys-lru", True, WARNING)],
)  # fmt: skip
def test_eviction_of_redis(case, maxmemory, eviction, allowed, level):
    condition = replace(GOOD, maxmemory=maxmemory, eviction=eviction)
    case = replace(
        case, condition=lambda: condition, settings=case.settings.model_copy(update={"allow_eviction": allowed})
    )

    assert levels(on_octowait.redis_eviction, case) == {"redis_eviction": level}


@pytest.mark.parametrize(
    ("least", "priorities", "level", "words"),
    [
        (0, [], OK, "no replica that can be"),
        (0, [100], WARNING, "REDIS_REPLICAS=1"),
        (1, [100], OK, "has every grant"),
        (1, [100, 0], OK, "has every grant"),
        (1, [100, 100], WARNING, "REDIS_REPLICAS=2"),
        (1, [None], UNKNOWN, "10.0.0.1:6379"),
        (1, [None, 100], WARNING, "10.0.0.1:6379, 10.0.0.2:6379"),
        (1, [], ERROR, "no replica that copies"),
        (2, [100], ERROR, "1 replica that copies"),
        (3, [100, 100], ERROR, "2 replicas that copy"),
    ],
)
def test_replicas_that_can_be_made_primary(case, least, priorities, level, words):
    hosts = {f"10.0.0.{number}": priority for number, priority in enumerate(priorities, start=1)}
    condition = replace(GOOD, replicas=tuple((host, 6379) for host in hosts))
    case = replace(
        case, condition=lambda: condition, settings=case.settings.model_copy(update={"redis_replicas": least}),
        replica_priority=lambda host, _port: hosts[host],
    )  # fmt: skip

    assert found(on_replicas.copies, case) == [("redis_replicas", level)]
    [finding] = on_replicas.copies(case)
    assert words in finding.what + finding.do


def test_condition_is_that_of_the_server(redis_url):
    client = connect(redis_url)
    found = read_condition(client, "web", "doctor")
    client.close()

    # The embedded server, as app/store/embedded.py configures it.
    assert (found.append_only, found.fsync, found.snapshots, found.eviction) == (True, "always", False, "noeviction")
    assert found.version.count(".") == 2


def test_condition_of_a_server_that_may_not_be_configured(redis_url):
    admin = connect(redis_url)
    admin.acl_setuser("doctor-test", enabled=True, nopass=True, keys="*", commands=["+@all", "-config"])
    try:
        client = connect(redis_url.replace("unix://", "unix://doctor-test:any@"))
        found = read_condition(client, "web", "doctor")
        client.close()
    finally:
        admin.acl_deluser("doctor-test")
        admin.close()

    assert found.fsync is None and found.append_only


def test_kept_deliveries(case):
    assert levels(on_octowait.kept_deliveries, case) == {"kept_deliveries": OK}

    post(case, b"no JSON")
    assert levels(on_octowait.kept_deliveries, case) == {"kept_deliveries": WARNING}


def test_refused_calls(case):
    assert levels(on_octowait.refused_calls, case) == {"refused_calls": OK}

    case.gate.services.refusals.add({CallRefusal("unknown token", "192.0.2.7", "expected a token of role step"): 3})
    [found] = on_octowait.refused_calls(case)
    assert (found.code, found.level) == ("refused_calls", WARNING)
    assert "3 calls of unknown token from 192.0.2.7 were refused" in found.what


def test_secrets_that_can_be_guessed(case):
    weak = case.settings.model_copy(update={"tokens": (Token("step", "old", "shorty-1"),)})
    strong = case.settings.model_copy(update={"tokens": (Token("step", "new", "x" * 20),)})

    [found] = on_octowait.weak_secrets(replace(case, settings=weak))
    assert (found.code, found.level) == ("weak_secret", ERROR)
    assert "step:old" in found.what and "shorty" not in found.what
    assert list(on_octowait.weak_secrets(replace(case, settings=strong))) == []


def test_unresolved_runs(case):
    assert levels(on_octowait.unresolved_runs, case) == {"unresolved_runs": OK}

    deliver(case, "DeploymentStarted")
    assert levels(on_octowait.unresolved_runs, case) == {"unresolved_runs": WARNING}


def test_dead_letters(case):
    assert levels(on_octowait.failed_jobs, case) == {"dead_letters": OK}

    letters = [{"id": "1-1", "at_ms": 1, "job": "reconcile", "error": "KeyError: 'x'"}]
    assert levels(on_octowait.failed_jobs, replace(case, dead_letters=lambda: letters)) == {"dead_letters": WARNING}


def test_dead_letters_are_those_of_octowait(case, settings):
    case.gate.services.dead_jobs.keep(job="reconcile", error="KeyError: 'x'")

    with open_context(settings, case.gate, is_here=False) as opened_case:
        (finding,) = on_octowait.failed_jobs(opened_case)

    assert finding.level is WARNING and "reconcile, KeyError: 'x'" in finding.what


def test_waits_are_told(case, board):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"}, ttl=timedelta(minutes=9))
    assert [finding.what for finding in on_octowait.longest_wait(case)] == ["Nobody waits."]

    board.join(RunRequest("ServerTasks-2"), {"Machines-7"}, ttl=timedelta(minutes=9))
    (finding,) = on_octowait.longest_wait(replace(case))
    assert "1 run waits" in finding.what and "ServerTasks-1" in finding.what


@pytest.mark.parametrize(
    ("seconds", "code", "level"),
    [(120, "polls", OK), (110, "polls", OK), (109, "short_polls", WARNING), (60, "short_polls", WARNING)],
)
def test_polls_that_are_shortened(case, seconds, code, level):
    settings = case.settings.model_copy(update={"waiter_ttl_seconds": seconds})

    assert found(on_octowait.polls, replace(case, settings=settings)) == [(code, level)]


def test_shortened_polls_are_said_in_seconds(case):
    settings = case.settings.model_copy(update={"waiter_ttl_seconds": 60})

    [finding] = on_octowait.polls(replace(case, settings=settings))

    assert "shortened from 50 to 25 s" in finding.what


def test_projects_whose_steps_are_of_before_claims(case, board):
    web = {"project": {"id": "Projects-7", "name": "Web"}, "space_id": "Spaces-1"}
    api = {"project": {"id": "Projects-8"}, "space_id": "Spaces-1"}
    board.join(RunRequest("ServerTasks-1", info=web, is_old_step=True), {"Machines-1"})
    board.join(RunRequest("ServerTasks-2", info=api, is_old_step=True), {"Machines-2"})
    board.join(RunRequest("ServerTasks-3", info={"project": {"name": "No id"}}, is_old_step=True), {"Machines-3"})

    [finding] = on_octowait.old_steps(case)

    assert (finding.code, finding.level) == ("old_steps", WARNING)
    assert "Web" in finding.what and "Projects-8" in finding.what and "2 projects" in finding.what


def test_project_whose_steps_are_of_now_is_told_no_more(case, board):
    web = {"project": {"id": "Projects-7", "name": "Web"}, "space_id": "Spaces-1"}
    board.join(RunRequest("ServerTasks-1", info=web, is_old_step=True), {"Machines-1"})
    board.join(RunRequest("ServerTasks-2", info=web, is_old_step=False, claim="a" * 32), {"Machines-2"})

    assert found(on_octowait.old_steps, case) == [("old_steps", OK)]


def test_project_that_has_not_asked_for_a_month_is_forgotten(case, board):
    web = {"project": {"id": "Projects-7", "name": "Web"}, "space_id": "Spaces-1"}
    board.script.offset_ms = -31 * 86_400_000
    board.join(RunRequest("ServerTasks-1", info=web, is_old_step=True), {"Machines-1"})
    board.script.offset_ms = 0

    assert found(on_octowait.old_steps, case) == [("old_steps", OK)]
    assert case.gate.services.client.hlen(case.gate.services.keys.old_steps) == 0
