"""Metrics: each record counts once whoever counts, and every process tells the same."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.coordination.budget import Budget
from app.domain.events import Effect
from app.followers.metric_values import SILENT_MS, MetricBuffer, MetricValues
from app.followers.metrics import HANDOFF, JOB, METRICS, RECORDS, WEBHOOKS, MetricIncrements, count_records
from app.history.timeline import Timeline
from app.settings import Settings
from app.store.connection import connect
from app.web import create_app
from tests.conftest import TOKENS, WEBHOOK_SECRET, a_delivery, eventually, services_on
from tests.integration.octopus_tells import Octopus
from workers.schedule import entries

SETTINGS = {
    "webhook_secret": WEBHOOK_SECRET, "tokens": ",".join(f"{role}:test:{token}" for role, token in TOKENS.items()),
}  # fmt: skip


@pytest.fixture
def measured(board):
    return MetricValues(board.client, board.keys)


@pytest.fixture
def services(board, redis_url):
    return services_on(board, redis_url, **SETTINGS)


@pytest.fixture
def client(services):
    return create_app(services).test_client()


@pytest.fixture
def octopus(board, clock):
    return Octopus(board, clock)


def scrape(client):
    """``{(name, label values…): value}`` of everything on ``/metrics``."""
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {TOKENS['viewer']}"})
    assert answer.status_code == 200
    return {
        (
            sample.name,
            *(sample.labels[name] for name in sorted(sample.labels, key=lambda name: name == "le")),
        ): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def counted(measured):
    """Records counted, by kind."""
    return {field.split("\0")[1]: n for field, n in measured.values().items() if field.startswith(RECORDS.name)}


def some_records(board, a_run, runs=10):
    for _ in range(runs):
        run = a_run()
        board.join(run, {"Machines-7"})
        board.release(run.task_id)


def test_records_are_counted_pass_by_pass(board, a_run, measured, timeline):
    some_records(board, a_run)

    passes = [count_records(measured, timeline, most=7) for _ in range(6)]

    assert passes == [7, 7, 7, 7, 2, 0]
    assert counted(measured) == {"joined": 10, "granted": 10, "released": 10}


def test_two_who_count_at_once_count_each_record_once(board, a_run, measured, timeline, redis_url):
    some_records(board, a_run, runs=100)
    ready = threading.Barrier(3)

    def count():
        own = connect(redis_url)
        ready.wait(10)
        while measured.counted_to() != timeline.last_id():
            count_records(MetricValues(own, board.keys), Timeline(own, board.keys), most=7)
        own.close()

    with ThreadPoolExecutor(3) as pool:
        for counting in [pool.submit(count) for _ in range(3)]:
            counting.result(60)

    assert counted(measured) == {"joined": 100, "granted": 100, "released": 100}


def test_who_comes_second_adds_nothing(board, a_run, measured, timeline):
    some_records(board, a_run, runs=1)
    assert measured.advance("", "1-0", RECORDS.count("joined"), {"machines-7": 5})

    assert not measured.advance("", "2-0", RECORDS.count("joined"), {"machines-7": 6})

    assert counted(measured) == {"joined": 1}
    assert measured.freed(["machines-7", "machines-8"]) == {"machines-7": 5}


def test_what_was_archived_is_not_counted_anew_after_a_loss_of_redis(board, a_run, clock, redis_url, tmp_path):
    services = services_on(board, redis_url, archive_dir=tmp_path, **SETTINGS)
    [count] = [entry for entry in entries(services) if entry.name == "measure"]
    some_records(board, a_run, runs=4)
    clock.advance(timedelta(days=200))
    services.retention.step(clock.now_ms)
    assert [day.count for day in services.archive.manifests()] == [12]
    some_records(board, a_run, runs=1)

    count.do()

    assert counted(services.metric_values) == {"joined": 1, "granted": 1, "released": 1}


def test_wait_and_hold_are_told_with_how_they_ended(board, a_run, clock, client, services):
    first, second = a_run(), a_run()
    board.join(first, {"Machines-7"})
    board.join(second, {"Machines-7"}, ttl=timedelta(hours=9))
    clock.advance(timedelta(seconds=200))
    board.release(first.task_id)
    clock.advance(timedelta(seconds=20))
    board.release(second.task_id, cause="forced", by="ann", reason="stuck")

    count_records(services.metric_values, services.timeline)
    told = scrape(client)

    assert told["octowait_wait_seconds_bucket", "granted", "1.0"] == 1
    assert told["octowait_wait_seconds_bucket", "granted", "120.0"] == 1
    assert told["octowait_wait_seconds_bucket", "granted", "300.0"] == 2
    assert told["octowait_wait_seconds_count", "granted"] == 2
    assert 200 <= told["octowait_wait_seconds_sum", "granted"] < 201
    assert (told["octowait_hold_seconds_count", "step"], told["octowait_hold_seconds_count", "forced"]) == (1, 1)
    assert 20 <= told["octowait_hold_seconds_sum", "forced"] < 21
    assert told["octowait_records_total", "released"] == 2


def test_hand_off_is_how_long_a_machine_that_somebody_waited_for_was_idle(board, a_run, clock, client, services):
    here, there, both, later = a_run(), a_run(), a_run(), a_run()
    board.join(here, {"Machines-7"})
    board.join(there, {"Machines-8"})
    board.join(both, {"Machines-7", "Machines-8"}, ttl=timedelta(hours=9))
    board.release(here.task_id)
    clock.advance(timedelta(seconds=40))
    count_records(services.metric_values, services.timeline)
    board.release(there.task_id)
    board.release(both.task_id)
    clock.advance(timedelta(hours=1))
    # Nobody waited while it was idle for an hour.
    board.join(later, {"Machines-7"})

    count_records(services.metric_values, services.timeline)
    told = scrape(client)

    assert told["octowait_handoff_seconds_count",] == 2
    assert told["octowait_handoff_seconds_bucket", "0.005"] == 1
    assert told["octowait_handoff_seconds_bucket", "30.0"] == 1
    assert told["octowait_handoff_seconds_bucket", "60.0"] == 2


def test_repairs_are_told_with_how_late_they_were(board, octopus, client, services):
    octopus.runs("ServerTasks-1")
    late = octopus.event(Effect.ENDED, "ServerTasks-1", ago=timedelta(seconds=-100))
    octopus._clock.advance(timedelta(seconds=300))
    board.deliver(late, via="catch_up")
    board.deliver(octopus.event(Effect.STARTED, "ServerTasks-1", ago=timedelta(minutes=99)), via="catch_up")

    count_records(services.metric_values, services.timeline)
    told = scrape(client)

    # The start was of no use any longer, so nothing was repaired by it.
    assert told["octowait_repairs_total", "catch_up"] == 1
    assert 199 <= told["octowait_repair_lateness_seconds_sum", "catch_up"] < 202
    assert told["octowait_webhook_lag_seconds_count",] == 1


def test_webhooks_are_counted_by_what_became_of_them(client, services):
    secret = {"X-Octowait-Secret": WEBHOOK_SECRET}
    started, opaque = a_delivery(number=1), a_delivery("ConfigurationChanged", number=2)
    for body, headers in ((started, secret), (started, secret), (opaque, secret), ("?", secret), (started, {})):
        client.post("/webhooks/octopus", json=body, headers=headers)

    told = scrape(client)

    outcomes = ("applied", "duplicate", "ignored", "kept", "unauthorized", "failed")
    assert [told["octowait_webhooks_total", outcome] for outcome in outcomes] == [1, 1, 1, 1, 1, 0]
    assert told["octowait_kept_deliveries",] == 1
    assert 0 <= told["octowait_last_webhook_age_seconds",] < 60


def test_blocked_requests_of_all_processes_are_told_by_each(board, measured, client, services):
    for process, blocked in (("a", 3), ("b", 4)):
        measured.publish_blocked(process, blocked)

    assert scrape(client)["octowait_blocked_requests",] == 7


def test_blocked_requests_of_a_process_that_is_gone_are_forgotten(board, measured):
    measured.publish_blocked("alive", 3)
    seconds = board.client.time()[0]
    board.client.hset(board.keys.named("blocked-requests"), "gone", f"9 {seconds * 1000 - SILENT_MS - 1}")

    assert (measured.blocked(), measured.blocked()) == (3, 3)
    assert board.client.hkeys(board.keys.named("blocked-requests")) == [b"alive"]


def test_metrics_are_for_viewers(client):
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"Authorization": f"Bearer {TOKENS['step']}"}).status_code == 403
    assert client.get("/healthz").status_code == 200


def test_everything_is_there_from_the_start(client):
    told = scrape(client)

    for measure_ in METRICS:
        suffix = "_count" if measure_.buckets else "_total"
        assert any(name == measure_.name + suffix for name, *_ in told), measure_.name
    assert told["octowait_board_open",] == 1
    assert told["octowait_worker_seen",] == 0


def test_closed_board_is_told(board, client):
    board.close(by="ann")

    assert scrape(client)["octowait_board_open",] == 0


def test_board_is_told(board, a_run, octopus, client):
    octopus.runs("ServerTasks-99", [{"id": "Machines-9", "name": "web-09"}])
    board.join(a_run(), {"Machines-7", "Machines-8"})
    board.join(a_run(), {"Machines-7", "Machines-8"})
    board.join(a_run(), {"Machines-8"})
    board.reserve("Machines-6", note="disk", by="ann")
    board.deliver(octopus.event(Effect.STARTED, "ServerTasks-98"))

    told = scrape(client)

    assert [told["octowait_holders", kind] for kind in ("lease", "observed", "reservation")] == [2, 1, 1]
    assert (told["octowait_waiters",], told["octowait_machines",], told["octowait_unresolved_runs",]) == (2, 4, 1)


def test_how_far_behind_the_count_is(board, a_run, clock, client, services):
    some_records(board, a_run, runs=1)
    count_records(services.metric_values, services.timeline)
    assert scrape(client)["octowait_measure_lag_seconds",] == 0

    clock.advance(timedelta(minutes=3))
    some_records(board, a_run, runs=1)

    assert 180 <= scrape(client)["octowait_measure_lag_seconds",] < 182


def test_no_counter_goes_back_when_a_fail_over_has_lost_the_last_second(board, a_run, client, services):
    some_records(board, a_run, runs=2)
    count_records(services.metric_values, services.timeline)
    services.budget.take(kind="tasks")
    kept = {key: board.client.dump(key) for key in board.all_keys()}
    some_records(board, a_run, runs=1)
    board.reserve("Machines-7", note="disk", by="ann")
    services.budget.take(kind="tasks")
    services.budget.take(kind="events")
    count_records(services.metric_values, services.timeline)
    before = scrape(client)
    for key in board.all_keys():
        board.client.delete(key)
        # But for what says that it is the same store: that was written long before.
        if key in kept:
            board.client.restore(key, 0, kept[key])
    board.client.set(board.keys.named("measured-born"), services.metric_values._born)

    after = scrape(client)

    counters = [name for name in before if name[0].endswith(("_total", "_bucket", "_count", "_sum"))]
    assert {name: after[name] for name in counters} == {name: before[name] for name in counters}
    assert before["octowait_records_total", "reserved"] == before["octowait_octopus_requests_total", "events"] == 1


def test_counters_begin_anew_with_a_store_that_is_empty(board, a_run, client, services):
    some_records(board, a_run, runs=2)
    count_records(services.metric_values, services.timeline)
    assert scrape(client)["octowait_records_total", "joined"] == 2
    board.client.delete(*board.all_keys())

    assert scrape(client)["octowait_records_total", "joined"] == 0


def test_lag_is_told_when_nothing_was_ever_counted(board, a_run, clock, client):
    some_records(board, a_run, runs=1)
    clock.advance(timedelta(minutes=3))
    some_records(board, a_run, runs=1)

    assert 180 <= scrape(client)["octowait_measure_lag_seconds",] < 190


def test_budget_of_octopus_is_told(board, client, services):
    assert scrape(client)["octowait_octopus_budget_left",] == 60
    services.budget.take(kind="tasks")
    services.budget.take(kind="tasks")

    told = scrape(client)
    assert told["octowait_octopus_budget_left",] == 58
    assert told["octowait_octopus_requests_total", "tasks"] == 2

    services.budget.pause(30)
    assert scrape(client)["octowait_octopus_budget_left",] == 0


def test_budget_comes_back_after_a_minute(board):
    budget = Budget(board.client, board.keys, 10)
    budget.take()

    budget.offset_ms = 62_000

    assert budget.left() == 10


def test_no_value_that_is_not_foreseen_becomes_a_label():
    assert list(RECORDS.count("surprise")) == ["octowait_records\0other\0n"]
    assert set(JOB.observe(5, "surprise", "done")) == {
        f"octowait_job_seconds\0other\0done\0{part}" for part in ("0", "ms")
    }


@pytest.mark.parametrize(("ms", "bucket"), [(-5, "0"), (0, "0"), (5, "0"), (6, "1"), (300_000, "9"), (300_001, "10")])
def test_what_is_observed_counts_in_the_first_bucket_that_holds_it(ms, bucket):
    assert HANDOFF.observe(ms)[f"{HANDOFF.name}\0{bucket}"] == 1


def test_nothing_derived_from_no_records():
    assert not MetricIncrements({}).increments


def test_tally_keeps_what_it_could_not_write(board, measured, tmp_path):
    broken = MetricBuffer(MetricValues(connect(f"unix://{tmp_path}/none.sock"), board.keys))
    broken.add(WEBHOOKS.count("applied"))
    with pytest.raises(Exception, match="does not answer"):
        broken.flush()
    broken._measured = measured

    broken.flush()
    broken.flush()

    assert measured.values() == {"octowait_webhooks\0applied\0n": 1}


def test_worker_tells_how_long_its_jobs_took(board, redis_url, namespace, tmp_path, measured):
    from app.jobs import RESOLVE, enqueue
    from tests.conftest import Service

    settings = Settings(redis_url=redis_url, namespace=namespace)
    process = Service(redis_url, namespace, tmp_path).spawn("worker")
    try:
        enqueue(board.client, settings, RESOLVE)
        values = eventually(measured.values)
    finally:
        process.terminate()
        process.wait(20)

    assert sum(n for name, n in values.items() if name.startswith("octowait_job_seconds\0resolve\0done") and
               not name.endswith("ms")) == 1  # fmt: skip
