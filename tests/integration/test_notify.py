"""People are told of each cause once, by every target, whoever dies in between; and of nothing that is past."""

from __future__ import annotations

import email
import email.policy
import json
import socketserver
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from app.followers.notices import LATE_MS
from app.followers.outbox import Outbox
from app.history.timeline import Timeline
from app.jobs import NOTIFY, queues_of
from app.settings import BadSettings, Settings
from app.store.connection import connect
from tests.bench.world import calls_of
from tests.conftest import eventually, services_on
from tests.integration.octopus_tells import Octopus
from tests.integration.test_archive import Killed
from workers.context import Context
from workers.notify import MOST_TRIES, PAUSES, Notifier, targets_of
from workers.schedule import entries

# What Apprise imports on Python 3.11.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

LONG = timedelta(days=30)


class Receiver:
    """A target: what it was told, as titles; *status* is what it answers, but to a title with *refused* in it 400."""

    def __init__(self, server: HTTPServer, path: str) -> None:
        self.url = server.url_for(path).replace("http://", "json://")
        self.told: list[dict[str, str]] = []
        self.status = 200
        self.refused: str | None = None
        self.asked = 0
        server.expect_request(path, method="POST").respond_with_handler(self._take)

    def _take(self, request) -> Response:
        self.asked += 1
        message = json.loads(request.data)
        if self.refused and self.refused in message["title"]:
            return Response(status=400)
        if self.status == 200:
            self.told.append(message)
        return Response(status=self.status)

    @property
    def titles(self) -> list[str]:
        return [message["title"].removeprefix("octowait: ") for message in self.told]


@pytest.fixture
def one(httpserver):
    return Receiver(httpserver, "/one")


@pytest.fixture
def other(httpserver):
    return Receiver(httpserver, "/other")


@pytest.fixture
def make_context(board, redis_url):
    def make(*receivers: Receiver, **settings) -> Context:
        urls = ",".join(receiver.url for receiver in receivers)
        given = {"notify_urls": urls, "public_url": "https://octowait.example.com", **settings}
        return Context(services_on(board, redis_url, **given), None)

    return make


@pytest.fixture
def notify(make_context, one):
    """One pass that tells *one*; it has begun before the test does anything."""
    context = make_context(one)
    Notifier(context).run()

    def run() -> list[str]:
        Notifier(context).run()
        return one.titles

    return run


@pytest.fixture
def octopus(board, clock):
    return Octopus(board, clock)


def test_each_cause_is_told_once_with_a_link(board, a_run, notify, one):
    board.reserve("Machines-7", note="disk swap", by="ann")

    assert notify() == ["Machines-7 is reserved"]
    assert notify() == ["Machines-7 is reserved"]

    [message] = one.told
    assert message["message"] == (
        "ann has reserved Machines-7: disk swap.\nhttps://octowait.example.com/machines/Machines-7"
    )
    assert message["type"] == "info"


def test_nothing_is_told_of_the_past(board, make_context, one):
    board.reserve("Machines-7", note="disk swap", by="ann")

    Notifier(make_context(one)).run()

    assert one.titles == []


def test_nothing_is_told_of_the_time_in_which_nobody_wanted_to_be(board, make_context, one):
    Notifier(make_context(one)).run()
    [entry] = [entry for entry in entries(make_context().services) if entry.name == "notify"]
    entry.do()
    board.reserve("Machines-7", note="disk swap", by="ann")

    Notifier(make_context(one)).run()
    board.unreserve("Machines-7", by="ann")
    board.reserve("Machines-8", note="disk swap", by="ann")
    Notifier(make_context(one)).run()

    assert one.titles == ["Machines-8 is reserved"]


def test_overlap_is_told(octopus, notify):
    octopus.runs("ServerTasks-1")
    octopus.runs("ServerTasks-2")

    assert notify() == ["Two runs on Machines-7 at once"]


def test_end_by_force_is_told(board, a_run, notify, one):
    holder, waiter = a_run(), a_run()
    board.join(holder, {"Machines-7"})
    board.join(waiter, {"Machines-7"})
    board.release(waiter.task_id, cause="forced", by="ann", reason="not today")
    board.release(holder.task_id, cause="forced", by="ann", reason="stuck")

    assert notify() == [f"{waiter.task_id} was ended by force", f"{holder.task_id} was ended by force"]
    assert "was taken out of its lines by ann: not today" in one.told[0]["message"]
    assert (
        f"give back Machines-7 by ann: stuck.\nhttps://octowait.example.com/runs/{holder.task_id}"
        in (one.told[1]["message"])
    )


def test_gap_and_catch_up_are_told(board, notify):
    board.note("gap", batch="b-1", came=2, total=5)
    board.note("gap", batch="b-1", came=2, total=5)
    board.note("caught_up", missed=3, latest_ms=300_000)

    assert notify() == ["Webhooks are missing", "Webhooks had been lost"]


@pytest.mark.parametrize(("late_ms", "is_told"), [(LATE_MS - 1_000, False), (LATE_MS + 1_000, True)])
def test_end_that_no_webhook_had_told_is_told_when_it_was_found_late(board, a_run, clock, notify, late_ms, is_told):
    from app.domain.run import TaskEnd

    run = a_run()
    board.join(run, {"Machines-7"})
    ended = TaskEnd("succeeded", clock.now_ms - late_ms)
    board.release(run.task_id, cause="reconciled", seen=board.place(run.task_id), ended=ended)

    assert notify() == ([f"The end of {run.task_id} was found out late"] if is_told else [])


def test_same_failure_of_a_job_is_told_once_a_day(board, clock, notify):
    for job in ("resolve", "resolve", "watch"):
        board.note("job_failed", job=job, error="KeyError: 'Id'")

    assert notify() == ["The job resolve failed", "The job watch failed"]


def test_board_that_grants_nobody_is_told(board, notify):
    board.close(by="ann", reason="restored")
    board.open("operator", by="ann")

    assert notify() == ["Nobody is granted", "Machines are granted again"]


def test_loss_of_redis_is_told_although_it_took_along_how_far_was_read(board, notify):
    notify()
    board.client.delete(*board.all_keys())
    board.sweep()
    board.open("no_api_key")

    assert notify() == ["Nobody is granted", "Machines are granted again"]


def test_loss_of_redis_that_is_long_past_is_not_told(board, clock, make_context, one):
    board.client.delete(*board.all_keys())
    board.sweep()
    board.open("no_api_key")
    clock.advance(timedelta(hours=2))

    Notifier(make_context(one)).run()

    assert one.titles == []


def test_long_wait_that_was_told_is_not_looked_at_again(board, a_run, clock, notify):
    """Ten thousand who have waited for long would be ten thousand scripts every ten seconds."""
    for _ in range(11):
        board.join(a_run(), {"Machines-7"}, ttl=LONG)
    clock.advance(timedelta(minutes=16))
    assert len(notify()) == 10
    looked = calls_of(board.client, "evalsha")

    notify()

    assert calls_of(board.client, "evalsha") - looked <= 3


def test_long_wait_is_told_once_and_a_short_one_is_not(board, a_run, clock, notify, one):
    info = {"project": {"name": "Web"}, "release": {"version": "1.4"}, "environment": {"name": "Prod"}}
    holder, long, short = a_run(), a_run(info=info), a_run()
    board.join(holder, {"Machines-7"})
    board.join(long, {"Machines-7"}, ttl=LONG)
    clock.advance(timedelta(minutes=10))
    board.join(short, {"Machines-7"}, ttl=LONG)
    assert notify() == []

    clock.advance(timedelta(minutes=6))

    assert notify() == [f"{long.task_id} waits for long"]
    assert notify() == [f"{long.task_id} waits for long"]
    assert (
        f"{long.task_id} (Web 1.4 to Prod) has waited for 16 min. Waiting for Machines-7, place 1: "
        in (one.told[0]["message"])
    )


def test_wait_that_was_long_before_anybody_wanted_to_know_is_not_told(board, a_run, clock, make_context, one):
    board.join(a_run(), {"Machines-7"})
    board.join(a_run(), {"Machines-7"}, ttl=LONG)
    clock.advance(timedelta(minutes=16))

    for _ in range(2):
        Notifier(make_context(one)).run()
        clock.advance(timedelta(minutes=1))

    assert one.titles == []


def test_threshold_is_a_setting(board, a_run, clock, make_context, one):
    context = make_context(one, notify_wait_seconds=60)
    Notifier(context).run()
    board.join(a_run(), {"Machines-7"})
    board.join(a_run(), {"Machines-7"}, ttl=LONG)
    clock.advance(timedelta(seconds=61))

    Notifier(context).run()

    assert len(one.titles) == 1


def test_target_that_fails_is_tried_again_and_the_other_is_told_once(board, clock, make_context, one, other):
    context = make_context(one, other)
    Notifier(context).run()
    one.status = 500
    board.reserve("Machines-7", note="disk swap", by="ann")
    Notifier(context).run()
    assert (one.titles, len(other.titles)) == ([], 1)

    one.status = 200
    Notifier(context).run()
    assert one.titles == [], "it waits before it tries again"
    clock.advance(PAUSES[0] + timedelta(seconds=1))
    Notifier(context).run()

    assert (len(one.titles), len(other.titles)) == (1, 1)
    assert context.services.dead_jobs.all() == []


def test_target_that_fails_is_asked_once_in_a_pass_and_takes_all_of_them_later(board, clock, make_context, one, other):
    """One that answers nothing costs some seconds each time, and watch and resume wait for the same worker."""
    context = make_context(one, other)
    Notifier(context).run()
    one.status = 500
    for machine in range(20):
        board.reserve(f"Machines-{machine}", note="disk swap", by="ann")
    Notifier(context).run()
    assert (one.asked, len(other.titles)) == (1, 20)

    one.status = 200
    for _ in range(2):
        clock.advance(PAUSES[0] + timedelta(seconds=1))
        Notifier(context).run()

    assert sorted(one.titles) == sorted(other.titles)
    assert context.services.dead_jobs.all() == []


def test_notice_that_a_target_does_not_take_keeps_the_others_for_a_moment_only(board, clock, make_context, one):
    context = make_context(one)
    Notifier(context).run()
    one.refused = "Machines-0"
    for machine in range(5):
        board.reserve(f"Machines-{machine}", note="disk swap", by="ann")
    for _ in range(2):
        Notifier(context).run()
        clock.advance(PAUSES[0] + timedelta(milliseconds=500))
    Notifier(context).run()

    assert one.titles == [f"Machines-{machine} is reserved" for machine in range(1, 5)]


class Mailbox(socketserver.StreamRequestHandler):
    """As much of an SMTP server as one e-mail needs; its server keeps the e-mails in *mails*."""

    def handle(self) -> None:
        self.wfile.write(b"220 ready\r\n")
        while line := self.rfile.readline():
            if line.upper().startswith(b"DATA"):
                self.wfile.write(b"354 go on\r\n")
                self.server.mails.append(b"".join(iter(self.rfile.readline, b".\r\n")))
            self.wfile.write(b"221 bye\r\n" if line.upper().startswith(b"QUIT") else b"250 ok\r\n")


@pytest.fixture
def mailbox():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mailbox) as server:
        server.daemon_threads, server.mails = True, []
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


def test_email_is_text_whatever_names_hold(board, make_context, mailbox):
    address = (
        f"mailto://127.0.0.1:{mailbox.server_address[1]}?from=octowait@example.com&to=ops@example.com&mode=insecure"
    )
    context = make_context(notify_urls=address)
    Notifier(context).run()
    board.reserve("Machines-7", note='<img src="https://elsewhere.example.com/x"><b>disk</b>', by="ann")

    Notifier(context).run()

    [mail] = [email.message_from_bytes(each, policy=email.policy.default) for each in mailbox.mails]
    assert [part.get_content_type() for part in mail.walk()] == ["text/plain"]
    assert '<img src="https://elsewhere.example.com/x"><b>disk</b>' in mail.get_content()


def test_target_that_never_takes_it_ends_as_a_dead_letter_without_its_address(board, clock, make_context, one):
    one.url = one.url.replace("json://", "json://user:hidden-password@")
    context = make_context(one)
    Notifier(context).run()
    one.status = 500
    board.reserve("Machines-7", note="disk swap", by="ann")

    for _ in range(MOST_TRIES + 3):
        Notifier(context).run()
        clock.advance(PAUSES[1])

    [letter] = context.services.dead_jobs.all()
    assert letter["error"] == f"target 1 (json) has not taken 'octowait: Machines-7 is reserved' in {MOST_TRIES} tries"
    assert not board.client.exists(*(board.keys.named(f"notify-{name}") for name in ("due", "box", "tries")))


def test_address_that_was_taken_out_of_the_settings_is_not_told(board, make_context, one, other):
    both = make_context(one, other)
    Notifier(both).run()
    one.status = other.status = 500
    board.reserve("Machines-7", note="disk swap", by="ann")
    Notifier(both).run()
    one.status = other.status = 200

    board.script.offset_ms += 60_000
    Notifier(make_context(other)).run()

    assert (one.titles, len(other.titles)) == ([], 1)


def die_after(client, requests):
    """Let *client* die with its so-manieth command or transaction."""
    real, left = client.connection_pool.get_connection, [requests]

    def get_connection(*args, **options):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return real(*args, **options)

    client.connection_pool.get_connection = get_connection


def test_whoever_is_killed_wherever_loses_nothing(board, redis_url, make_context, one):
    """What is sent twice is sent by somebody who died before he could note it, and then once more at most."""
    context = make_context(one)
    Notifier(context).run()
    for machine in range(5):
        board.reserve(f"Machines-{machine}", note="disk swap", by="ann")
    deaths = 0
    for commands in range(1, 60):
        dying = connect(redis_url)
        die_after(dying, commands)
        outbox, recent = Outbox(dying, board.keys), Timeline(dying, board.keys)
        services = replace(make_context(one).services, outbox=outbox, recent=recent)
        try:
            Notifier(Context(services, None)).run()
        except Killed:
            deaths += 1
        finally:
            dying.close()
        board.script.offset_ms += 600_000

    titles = [f"Machines-{machine} is reserved" for machine in range(5)]
    assert sorted(set(one.titles)) == titles
    assert len(one.titles) <= len(titles) + deaths
    assert deaths


def test_two_workers_at_once_tell_each_cause_once(board, make_context, one):
    context = make_context(one)
    Notifier(context).run()
    for machine in range(20):
        board.reserve(f"Machines-{machine}", note="disk swap", by="ann")
    ready = threading.Barrier(2)

    def work():
        ready.wait(10)
        Notifier(context).run()

    with ThreadPoolExecutor(2) as pool:
        for working in [pool.submit(work) for _ in range(2)]:
            working.result(30)
    Notifier(context).run()

    assert sorted(one.titles) == sorted(f"Machines-{machine} is reserved" for machine in range(20))


def test_place_that_somebody_else_has_read_on_from_is_refused(board, clock):
    outbox = Outbox(board.client, board.keys)
    outbox.begin("5-0", clock.now_ms)
    content = {"title": "t", "body": "b", "level": "info"}

    assert outbox.put([("a", LONG, content)], ["x"], clock.now_ms, seen="5-0", to="6-0")
    assert not outbox.put([("b", LONG, content)], ["x"], clock.now_ms, seen="5-0", to="7-0")

    assert outbox.claim(clock.now_ms, LONG).notice == content
    assert outbox.claim(clock.now_ms, LONG) is None


def test_scheduler_asks_for_it_when_there_is_something_to_do_even_without_an_api_key(board, make_context, one):
    context = make_context(one)
    [entry] = [entry for entry in entries(context.services) if entry.name == "notify"]
    queue = queues_of(board.client, context.settings)[1]
    Notifier(context).run()
    entry.do()
    assert queue.count == 0

    board.reserve("Machines-7", note="disk swap", by="ann")
    entry.do()

    assert [job_id.rpartition("-")[0].rpartition("-")[2] for job_id in queue.job_ids] == [NOTIFY.name]


def test_address_that_apprise_does_not_know_stops_the_start_and_is_not_shown():
    settings = Settings(notify_urls="json://localhost/one, nonsense://hidden-token/two")

    with pytest.raises(BadSettings) as error:
        targets_of(settings)

    assert "OCTOWAIT_NOTIFY_URLS: address 2 (nonsense://…): expected one that Apprise knows" in str(error.value)
    assert "hidden" not in str(error.value)


def test_real_processes_tell(make_service, one):
    service = make_service(OCTOWAIT_NOTIFY_URLS=one.url)
    processes = [service.spawn(name) for name in ("worker", "scheduler")]
    try:
        # It has begun once the place is there; what comes then is told.
        eventually(lambda: "octowait_job_seconds_count{name=\"notify\",outcome=\"done\"} 1.0" in
                   service.call("GET", "/metrics")[1], timeout=40)  # fmt: skip
        service.call("PUT", "/api/machines/Machines-7/reservation", {"note": "disk swap", "create": True})
        assert eventually(lambda: one.titles, timeout=40) == ["Machines-7 is reserved"]
    finally:
        for process in processes:
            process.terminate()
            process.wait(20)
