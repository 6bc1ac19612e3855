"""A call that asks whether a grant is confirmed is answered "granted" only where it is: its step begins then."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.run import RunRequest
from tests.conftest import app_client_on

CLAIM = "c" * 32

ACCEPTS = {"bash": "text/plain", "python": "application/json"}

#: Signs what the steps of one host are told to repeat.
KEY = {"witness_key": "a-key-of-twenty-characters"}

OTHER_KEY = {"witness_key": "another-one-of-the-same-length"}


@pytest.fixture
def waiter(board, a_run):
    """A run that waits behind ServerTasks-90."""
    run = replace(a_run(), claim=CLAIM)
    board.join(replace(run, task_id="ServerTasks-90", claim=None), {"Machines-1"})
    board.join(run, {"Machines-1"})
    return run.task_id


class Step:
    """Calls as the scripts make them: it repeats what it was told last, to whichever host."""

    def __init__(self, task, accept, seen=""):
        self._task, self._accept, self._seen = task, accept, seen

    def ask(self, client, query):
        headers = {"Accept": self._accept, "X-Octowait-Version": "2", "X-Octowait-Claim": CLAIM}
        if self._seen:
            headers["X-Octowait-Seen"] = self._seen
        answer = client.get(f"/api/waits/{self._task}?{query}", headers=headers)
        if answer.is_json:
            state, self._seen = answer.json["state"], answer.json["seen"] or self._seen
        else:
            state = answer.text.split()[0]
            self._seen = answer.text.partition(" seen ")[2].partition(" ")[0] or self._seen
        return state

    def look(self, client):
        return self.ask(client, "look=1")

    def blocks(self, client):
        return self.ask(client, "block_seconds=0.05")

    def confirms(self, client):
        return self.ask(client, "block_seconds=0")


@pytest.fixture(params=ACCEPTS.values(), ids=ACCEPTS)
def step(request, waiter):
    return Step(waiter, request.param)


def changes(board):
    return board.client.info("persistence")["rdb_changes_since_last_save"]


def test_grant_is_told_without_a_write_to_a_step_that_repeats_what_it_sees(board, redis_url, step, waiter):
    client = app_client_on(board, redis_url, **KEY)
    assert step.look(client) == "waiting"
    board.release("ServerTasks-90")
    before = changes(board)

    assert step.blocks(client) == "granted"

    assert changes(board) == before
    assert step.confirms(client) == "granted"
    assert board.place(waiter).run.collected


def test_step_that_was_told_by_a_host_with_another_key_hears_of_its_grant_again(board, redis_url, step, waiter):
    here, there = (app_client_on(board, redis_url, **key) for key in (KEY, OTHER_KEY))
    assert step.look(here) == "waiting"
    board.release("ServerTasks-90")
    assert step.blocks(here) == "granted"

    assert step.confirms(there) == "waiting"
    assert not board.place(waiter).run.collected
    assert step.blocks(there) == "granted"
    assert step.confirms(there) == "granted"

    assert board.place(waiter).run.collected


def test_grant_of_which_nobody_was_told_is_not_confirmed(board, redis_url, clock, step, waiter):
    """What was told before was taken back meanwhile, and given again."""
    client = app_client_on(board, redis_url, **KEY)
    step.look(client)
    board.release("ServerTasks-90")
    assert step.blocks(client) == "granted"
    board.close(by="ann")
    board.poll(waiter, claim=CLAIM)
    board.open("operator", by="ann")
    assert board.place(waiter).is_granted

    assert step.confirms(client) == "waiting"

    assert not board.place(waiter).run.collected
    clock.advance(timedelta(seconds=1))
    assert [step.blocks(client), step.confirms(client)] == ["granted", "granted"]
    assert board.place(waiter).run.collected


def test_confirmation_that_waited_for_its_turn_confirms_as_well(board, redis_url, step, waiter):
    """It comes less than a second after its run was told that it waits."""
    client = app_client_on(board, redis_url, **KEY)
    assert step.blocks(client) == "waiting"
    board.release("ServerTasks-90")
    assert step.blocks(client) == "granted"

    assert step.confirms(client) == "granted"

    assert board.place(waiter).run.collected


def test_answer_says_that_the_next_call_hears_of_the_grant(board, redis_url, waiter):
    client = app_client_on(board, redis_url)
    board.release("ServerTasks-90")

    answer = client.get(f"/api/waits/{waiter}", headers={"Accept": "text/plain", "X-Octowait-Claim": CLAIM})

    assert answer.text.splitlines()[:2] == [
        "waiting 0", "Waiting: its turn has come, of which its next call hears."
    ]  # fmt: skip


def test_parked_run_whose_grant_is_not_confirmed_is_told_to_wait(board, redis_url):
    client = app_client_on(board, redis_url, **KEY)
    board.join(RunRequest("ServerTasks-1", claim=CLAIM, parked=True), {"Machines-1"})
    board.close(by="ann")
    board.poll("ServerTasks-1", claim=CLAIM, blocks=True)
    board.open("operator", by="ann")
    assert board.place("ServerTasks-1").is_granted

    assert Step("ServerTasks-1", "text/plain").confirms(client) == "waiting"
    assert not board.place("ServerTasks-1").run.collected


def test_one_who_asks_before_he_was_told_is_woken_again(board, waiter):
    """A step that blocks on Redis has used its wake for the call that tells of its grant."""
    board.release("ServerTasks-90")
    assert board.client.lpop(board.keys.wake(waiter)) == b"granted"

    assert not board.poll(waiter, claim=CLAIM).run.collected

    assert board.client.lpop(board.keys.wake(waiter)) == b"granted"
    assert board.poll(waiter, claim=CLAIM).run.collected
    assert not board.client.exists(board.keys.wake(waiter))


def test_later_change_in_an_answer_of_before_the_grant_confirms_nothing(board, redis_url, a_run, monkeypatch):
    """Another request of the process sees it while the answer is made."""
    run = replace(a_run(), claim=CLAIM)
    board.join(replace(run, task_id="ServerTasks-90", claim=None), {"Machines-1"})
    client = app_client_on(board, redis_url, **KEY)
    monkeypatch.setattr("app.web.api.plain_waits.have_named", lambda *_: board.release("ServerTasks-90"))
    headers = {"Accept": "application/json", "X-Octowait-Version": "2", "X-Octowait-Claim": CLAIM}
    answer = client.put(f"/api/waits/{run.task_id}", json={"machines": ["Machines-1"]}, headers=headers)
    assert answer.json["state"] == "waiting" and board.place(run.task_id).is_granted

    step = Step(run.task_id, "application/json", seen=answer.json["seen"])
    # By another process: this one would let it wait for a second.
    assert step.confirms(app_client_on(board, redis_url, **KEY)) == "waiting"
    assert not board.place(run.task_id).run.collected
