"""Answers to steps stay small, whatever Octopus allows; and nothing of it keeps a run from waiting."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.run import RunRequest, RunState, State
from app.domain.run_info import Document, RunInfo
from app.domain.status import Holder, MachinePlace, RunStatus
from app.queries.views import step_answer
from app.services import Services
from app.web import create_app
from app.web.api.step_sizes import MOST_HOLDERS, MOST_MACHINES, step_model
from tests.conftest import TOKENS, eventually, services_on

KB_32 = 32 * 1024

#: Characters that take many bytes, that Octopus reads as commands, and that take two characters in JSON.
letters = st.sampled_from(["a", "#", "##", "é", "部", "😀", '"', "\\", "\x07", "\u2028"])
texts = st.builds(lambda piece, length: (piece * length)[:length], letters, st.sampled_from([0, 1, 300, 2000]))
ids = st.builds(lambda kind, length: f"{kind}-" + "9" * length, st.just("Machines"), st.sampled_from([1, 91]))
documents = st.builds(Document, st.none() | st.just("Projects-" + "1" * 90), texts)
infos = st.builds(
    RunInfo, project=documents, release=documents, environment=documents,
    url=st.none() | st.builds(lambda text: "https://" + text, texts),
)  # fmt: skip
holders = st.builds(
    Holder, st.sampled_from(["lease", "observed", "provisional", "reservation"]), st.just("ServerTasks-" + "7" * 88),
    st.just(1000), infos, note=texts, by=texts,
)  # fmt: skip


@st.composite
def statuses(draw: st.DrawFn) -> RunStatus:
    state = draw(st.sampled_from([State.WAITING, State.GRANTED, State.REFUSED, State.LEFT]))
    info, count = draw(infos), draw(st.sampled_from([1, 2, 49, 51, 1001, 10_000]))
    ahead = tuple("ServerTasks-" + f"{n:088d}" for n in range(draw(st.sampled_from([0, 20]))))
    name, held = draw(texts), tuple(draw(st.lists(holders, max_size=2))) * draw(st.sampled_from([1, 500]))
    machine_id = draw(ids)
    machines = tuple(
        MachinePlace(f"{machine_id[:90]}{n}", name, 21 if state is State.WAITING else 0, held, ahead)
        for n in range(count)
    )
    run = RunState(
        "ServerTasks-" + "5" * 88, state, info=info, machines=tuple(m.id for m in machines), reason=draw(texts),
        claim="c" * 64, family_word="f" * 32, token=17, requested_at_ms=1, granted_at_ms=5,
    )  # fmt: skip
    return RunStatus(run, 1_000_000, machines)


@pytest.fixture
def services(board, redis_url) -> Services:
    return services_on(board, redis_url, tokens=f"step:test:{TOKENS['step']}", webhook_secret="webhook-secret")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(status=statuses(), base_url=st.sampled_from(["https://gate.example.com/", "https://" + "x" * 3000]))
def test_answer_is_below_32_kb_and_says_how_much_there_is(services: Services, status: RunStatus, base_url: str) -> None:
    answer = step_answer(services, status, claim="c" * 64, base_url=base_url)

    model = step_model(answer)

    assert len(json.dumps(model.model_dump(mode="json"))) < KB_32
    assert model.machines_count == len(status.machines)
    assert 1 <= len(model.machines) <= MOST_MACHINES
    assert all(len(m.holders) <= MOST_HOLDERS and m.holders_count == len(status.machines[0].holders)
               for m in model.machines)  # fmt: skip
    assert (model.task_id, model.claim, model.family) == (status.task_id, "c" * 64, "f" * 32)


VERSION, NAME = "1.0.0-" + "a" * 343, "Wëb" + "#" * 1997


def test_view_of_a_run_with_many_machines_has_the_one_where_its_wait_is_longest(services: Services) -> None:
    board = services.board
    many = [f"Machines-{number}" for number in range(1000)]
    board.join(RunRequest("ServerTasks-1"), ["Machines-997"])
    board.join(RunRequest("ServerTasks-2"), ["Machines-998"])
    board.join(RunRequest("ServerTasks-3"), ["Machines-998"])

    place = board.join(RunRequest("ServerTasks-4"), many)

    assert (place.place, place.machines_count, len(place.machines)) == (2, 1000, 200)
    assert [machine.id for machine in place.machines[:4]] == ["Machines-998", "Machines-997", many[0], many[1]]
    assert len({machine.id for machine in place.machines}) == 200
    assert place.message.startswith("Waiting for Machines-998 and 999 more, place 2: ServerTasks-2 has held it")


@pytest.mark.parametrize("accept", ["application/json", "text/plain"])
def test_run_with_10_000_machines_and_long_names_waits_like_others(services: Services, accept: str) -> None:
    step = create_app(services).test_client()
    headers = {"Authorization": f"Bearer {TOKENS['step']}", "Accept": accept, "X-Octowait-Claim": "c" * 32}
    machines = [f"Machines-{number}" for number in range(10_000)]
    body = {
        "machines": machines, "project": {"id": "Projects-1", "name": NAME}, "environment": {"name": NAME},
        "release": {"id": "Releases-1", "version": VERSION}, "url": "https://octopus.example.com/" + "x" * 3000,
    }  # fmt: skip

    def ask(method: str, number: int, claim: str, **sent: Any) -> Any:
        # On a machine that has much else to do a script of so many machines takes seconds, and a step asks again.
        own = headers | {"X-Octowait-Claim": claim * 32}
        call = partial(step.open, f"/api/waits/ServerTasks-{number}", method=method, headers=own, **sent)
        return eventually(lambda: (answer := call()).status_code != 503 and answer, timeout=60)

    answers = [
        ask("PUT", 1, "c", json=body),
        ask("PUT", 2, "d", json=body),
        ask("GET", 2, "d"),
        ask("PUT", 2, "e", json=body | {"machines": [*machines, "m-1"]}),
        ask("PUT", 2, "e", json=body | {"machines": ["m-1"]}),
    ]

    assert [answer.status_code // 100 for answer in answers[:3]] == [2, 2, 2]
    assert [answer.status_code for answer in answers[3:]] == [422, 409]
    assert all(len(answer.data) < KB_32 for answer in answers)
    if accept == "text/plain":
        assert [answer.text.split()[0] for answer in answers[:3]] == ["granted", "waiting", "waiting"]
        assert [answer.text.count("\n") for answer in answers[:3]] == [3, 3, 3]
    else:
        waiting = answers[2].get_json()
        assert (waiting["state"], waiting["machines_count"]) == ("waiting", 10_000)
        assert 1 <= len(waiting["machines"]) <= MOST_MACHINES
        assert waiting["machines"][0]["holders"][0]["task_id"] == "ServerTasks-1"
        assert "1.0.0-" in waiting["message"] and "…" in waiting["message"]
        assert waiting["machines"][0]["holders"][0]["url"] is None


def test_name_and_version_are_kept_as_long_as_people_read_them(services: Services) -> None:
    step = create_app(services).test_client()
    headers = {"Authorization": f"Bearer {TOKENS['step']}"}
    body = {"machines": ["Machines-7"], "release": {"version": VERSION}, "project": {"name": "x" * 300}}

    step.put("/api/waits/ServerTasks-1", json=body, headers=headers)

    place = services.board.place("ServerTasks-1")
    assert place
    assert place.run.info.release_version == VERSION[:299] + "…"
    assert place.run.info.project_name == "x" * 300
