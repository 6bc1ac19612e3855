"""What somebody can do with a token of another project: nothing to the runs of this one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.domain.records import Filter
from app.domain.run import RunRequest
from tests.conftest import Service, a_delivery

WEB, EVIL, LEGACY = "web-secret-of-twenty-chars", "evil-secret-of-twenty-chars", "legacy-secret-of-twenty-chars"
TOKENS = (
    f"step:web:{WEB};projects=Projects-1;families=api,step:evil:{EVIL};projects=Projects-9;max_waiting=2,"
    f"step:api:api-secret-of-twenty-chars;projects=Projects-2;max_priority=5,step:bare:bare-secret-of-twenty-chars;"
    f"max_waiting=50,step:few:few-secret-of-twenty-chars;max_new_machines=2;max_new_mb=1,step:legacy:{LEGACY},viewer:v:viewer-secret-of-twenty,admin:a:admin-secret-of-twenty"
)
PROJECT = {"web": "Projects-1", "evil": "Projects-9", "api": "Projects-2", "bare": "Projects-5"}


class Gate:
    """A service, and the calls of steps of several projects on it."""

    def __init__(self, service: Service) -> None:
        self.service = service
        service.tokens = {
            entry.split(":")[1]: entry.split(":")[2].split(";")[0]
            for entry in service.env["OCTOWAIT_TOKENS"].split(",")
        }
        service.tokens["admin"] = service.tokens["a"]

    def join(self, who: str, task: int, *machines: str, claim: str | None = None, **body: Any) -> dict[str, Any]:
        whose = PROJECT.get(who)
        wish = {"machines": machines or ["Machines-7"], **({"project": {"id": whose}} if whose else {}), **body}
        headers = {"X-Octowait-Claim": claim} if claim else {}
        status, answer = self.service.call("PUT", f"/api/waits/ServerTasks-{task}", wish, role=who, headers=headers)
        assert status in (200, 201), answer
        return dict(answer)

    def poll(self, who: str, task: int, *, query: str = "", claim: str | None = None) -> tuple[int, dict[str, Any]]:
        headers = {"X-Octowait-Claim": claim} if claim else {}
        return self.service.call("GET", f"/api/waits/ServerTasks-{task}{query}", role=who, headers=headers)

    def release(self, who: str, task: int, *, claim: str | None = None) -> dict[str, Any]:
        headers = {"X-Octowait-Claim": claim} if claim else {}
        status, answer = self.service.call("DELETE", f"/api/waits/ServerTasks-{task}", role=who, headers=headers)
        assert status == 200, answer
        return dict(answer)


@pytest.fixture
def gate(make_service, board) -> Gate:
    return Gate(make_service(OCTOWAIT_TOKENS=TOKENS))


def started(gate: Gate, task: int, project: str, deployment: str = "Deployments-51") -> None:
    """Octopus tells of the start of a task."""
    delivery = a_delivery(
        number=task, task=task, related=[deployment, project, "Releases-90", "Environments-2", "Channels-9"]
    )
    assert gate.service.deliver(delivery)[1]["outcome"] == "applied"


def test_end_by_another_token_frees_nothing(gate, board):
    gate.join("web", 1)

    assert gate.release("evil", 1)["outcome"] == "nothing"
    assert board.place("ServerTasks-1").state == "granted"
    assert gate.release("web", 1)["outcome"] == "released"


def test_end_by_another_token_takes_nobody_out_of_a_line(gate, board):
    gate.join("web", 1)
    gate.join("web", 2)

    assert gate.release("evil", 2, claim="c" * 32)["outcome"] == "nothing"
    assert board.place("ServerTasks-2").state == "waiting"


def test_end_by_another_token_frees_no_machine_of_a_run_without_a_step(gate, board):
    started(gate, 1, "Projects-1")
    board.observe("ServerTasks-1", [{"id": "Machines-7"}], info={})

    assert gate.release("evil", 1)["outcome"] == "nothing"
    assert gate.join("evil", 1, "Machines-8")["state"] == "refused"
    assert board.place("ServerTasks-1").state == "observed"


def test_step_of_an_observed_run_joins_with_the_token_of_its_project(gate, board):
    started(gate, 1, "Projects-1")
    board.observe("ServerTasks-1", [{"id": "Machines-7"}], info={})

    assert gate.join("web", 1)["state"] == "granted"


def test_grant_is_not_collected_with_another_token(gate, board):
    gate.join("web", 1)
    gate.join("web", 2, claim="a" * 32)
    gate.release("web", 1)

    status, answer = gate.poll("evil", 2)
    assert (status, answer.get("state")) in ((200, "refused"), (404, None))
    assert gate.poll("evil", 2, claim="a" * 32)[0] in (200, 404)
    assert not board.place("ServerTasks-2").run.told
    assert not board.place("ServerTasks-2").run.collected


def test_parked_run_is_not_joined_again_with_another_token(gate, board):
    started(gate, 2, "Projects-1")
    gate.join("web", 1)
    gate.join("web", 2, parked=True)

    assert gate.join("evil", 2, parked=False)["state"] == "refused"
    assert board.place("ServerTasks-2").run.parked


def test_task_that_was_claimed_in_advance_is_its_projects_all_the_same(gate, board):
    """It is told of by its event before its step asks."""
    gate.join("evil", 500, "Machines-99")
    started(gate, 500, "Projects-1")

    assert gate.join("web", 500, "Machines-7")["state"] == "granted"
    assert board.place("ServerTasks-500").run.machines == ("Machines-7",)
    assert gate.join("evil", 500, "Machines-99")["state"] == "refused"
    assert gate.poll("evil", 500)[1]["state"] == "refused"


def test_task_that_was_claimed_in_advance_ends_no_step_before_its_event(gate):
    gate.join("evil", 500, "Machines-99")

    answer = gate.join("web", 500, "Machines-7")

    assert (answer["state"], answer["place"]) == ("waiting", None)
    assert "ServerTasks-500 was joined with the token evil" in answer["message"]
    assert gate.poll("web", 500)[0] == 404


def test_child_of_a_stranger_waits_like_anybody(gate, board):
    gate.join("web", 1)

    answer = gate.join("evil", 2, on_behalf_of="ServerTasks-1")

    assert answer["state"] == "waiting"
    assert "It shares no machines with ServerTasks-1, which its token may not name as its parent." in answer["message"]


def test_child_of_a_run_that_nobody_has_heard_of_shares_nothing(gate, board):
    gate.join("evil", 2, on_behalf_of="ServerTasks-1", parked=True)
    gate.join("web", 1, "Machines-8")

    assert gate.join("evil", 3, "Machines-8", on_behalf_of="ServerTasks-1", parked=True)["state"] == "waiting"


@pytest.mark.parametrize(("who", "state"), [("web", "granted"), ("legacy", "waiting"), ("bare", "waiting")])
def test_children_share_with_parents_of_their_owner(gate, who, state):
    gate.join("web", 1)

    assert gate.join(who, 2, on_behalf_of="ServerTasks-1")["state"] == state


def test_children_share_with_owners_that_their_token_names(gate):
    gate.join("api", 1)

    assert gate.join("web", 2, on_behalf_of="ServerTasks-1")["state"] == "granted"
    assert gate.join("api", 3, on_behalf_of="ServerTasks-2")["state"] == "waiting"


def test_word_of_the_family_counts_for_every_token(gate):
    word = gate.join("web", 1, claim="a" * 32)["family"]

    assert gate.join("evil", 2, on_behalf_of=f"ServerTasks-1.{word}")["state"] == "granted"
    assert gate.join("evil", 3, on_behalf_of=f"ServerTasks-1.{'x' * 32}")["state"] == "waiting"


def test_wish_beyond_the_limit_is_lowered_and_its_step_told(gate, board):
    gate.join("web", 1)
    gate.join("web", 2)

    answer = gate.join("api", 3, priority=1_000_000)

    assert answer["place"] == 1
    assert board.place("ServerTasks-3").run.priority == 5
    assert answer["message"].startswith(
        "The token api may ask for a priority of 5 at most (its max_priority): the priority 1000000 was lowered to it."
    )


def test_token_without_limits_has_the_priority_of_everybody(gate, board):
    gate.join("legacy", 1, priority=1_000_000)

    assert board.place("ServerTasks-1").run.priority == 0


def test_run_of_another_project_is_not_joined(gate, board):
    for body in ({"project": {"id": "Projects-1"}}, {"project": None}):
        answer = gate.join("evil", 1, **body)

        assert answer["state"] == "refused"
        assert "token evil is for project projects-9" in answer["message"]
    assert board.place("ServerTasks-1") is None


def test_token_may_have_so_many_waiting_runs_only(gate, board):
    gate.join("web", 1)
    for task in (2, 3):
        assert gate.join("evil", task)["place"] == task - 1

    answer = gate.join("evil", 4)
    assert (answer["state"], answer["place"]) == ("waiting", None)
    assert "2 runs of evil wait already, as many as may (max_waiting of the token evil)" in answer["message"]
    assert gate.join("evil", 3)["place"] == 2
    gate.release("evil", 2)
    assert gate.join("evil", 4)["place"] == 2
    assert gate.join("web", 5)["place"] == 3


def test_token_with_too_many_new_machines_is_refused_and_told_why(gate, board):
    gate.join("few", 1, "Machines-7", "Machines-8")

    for claim in (None, "c" * 32):
        answer = gate.join("few", 2, "Machines-7", "Machines-9", claim=claim)
        assert (answer["state"], answer["place"]) == ("refused", None)
        assert "runs of the token few have named 2 machines today" in answer["message"]
        assert "2 such machines a day (max_new_machines of the token)" in answer["message"]
    assert board.place("ServerTasks-2") is None and gate.poll("few", 2)[0] == 404
    refusals = gate.service.call("GET", "/api/refusals")[1]["refusals"]
    assert {each["who"] for each in refusals if "max_new_machines" in each["why"]} == {"few (step)"}
    assert gate.join("few", 1, "Machines-7", "Machines-8")["state"] == "granted"
    assert gate.join("few", 2, "Machines-7")["state"] == "waiting"
    assert gate.join("bare", 3, "Machines-9")["state"] == "granted"


def test_token_with_too_much_data_is_refused_and_told_why(gate, board):
    machines = [f"Machines-{n}" for n in range(3000)]
    board.join(RunRequest("ServerTasks-9"), machines)
    board.release("ServerTasks-9")
    for task in (1, 2):
        assert gate.join("few", task, *machines)["state"] == "granted"
        gate.release("few", task)

    answer = gate.join("few", 3, *machines)
    assert answer["state"] == "refused"
    assert "MB, of 1 MB a day (max_new_mb of the token)" in answer["message"]
    assert board.place("ServerTasks-3") is None
    assert gate.join("few", 3)["state"] == "granted"


def test_deployment_of_another_run_brings_no_events_of_it(gate, board):
    gate.join("web", 1, deployment_id="Deployments-51")
    gate.join("evil", 2, "Machines-8", deployment_id="Deployments-51")

    gate.service.deliver(a_delivery("DeploymentSucceeded", number=9, task=None))

    assert board.place("ServerTasks-1").state == "released"
    assert board.place("ServerTasks-2").state == "granted"


def test_all_tokens_without_limits_are_one_owner(gate, board):
    gate.join("legacy", 1)

    assert gate.release("legacy", 1)["outcome"] == "released"
    assert board.place("ServerTasks-1").run.owner == "*"


def test_admin_may_do_everything(gate, board):
    gate.join("web", 1)

    assert gate.poll("admin", 1)[1]["state"] == "granted"
    assert gate.release("admin", 1)["outcome"] == "released"


def test_where_nothing_decides_both_act_and_it_is_disputed(gate, board, timeline):
    gate.join("legacy", 1)

    assert gate.join("bare", 1)["state"] == "granted"
    assert [record.detail for record in timeline.read(Filter(kind="disputed"))] == [{"owner": "*", "rival": "bare"}]
    assert gate.poll("bare", 1)[1]["state"] == gate.poll("legacy", 1)[1]["state"] == "granted"


def test_no_lease_that_is_disputed_ends_by_a_step(gate, board):
    gate.join("legacy", 1)
    gate.join("bare", 1)

    assert gate.release("bare", 1)["outcome"] == gate.release("legacy", 1)["outcome"] == "nothing"
    assert gate.release("admin", 1)["outcome"] == "released"


def test_refusal_of_a_step_is_counted_and_listed(gate):
    gate.join("web", 1)
    gate.release("evil", 1)

    refusals = gate.service.call("GET", "/api/refusals")[1]["refusals"]
    assert [(each["who"], each["why"]) for each in refusals] == [
        ("evil (step)", "ServerTasks-1: it belongs to the token web, and the token evil asks")
    ]


def test_text_answers_say_the_same(gate):
    gate.join("web", 1)

    headers = {"Accept": "text/plain"}
    status, text = gate.service.call("DELETE", "/api/waits/ServerTasks-1", role="evil", headers=headers)

    assert (status, text.splitlines()[0]) == (200, "nothing 0")
    body = {"machines": ["Machines-1"], "project": {"id": "Projects-3"}}
    status, text = gate.service.call("PUT", "/api/waits/ServerTasks-2", body, role="evil", headers=headers)
    assert (status, text.splitlines()[0]) == (200, "refused 0")


@pytest.mark.parametrize("has_claim", [True, False])
def test_token_that_was_valid_at_the_join_stays_so_for_its_claim(gate, make_service, board, has_claim):
    claim = "a" * 32 if has_claim else None
    gate.join("web", 1)
    gate.join("web", 2, claim=claim)
    later = make_service(OCTOWAIT_TOKENS=TOKENS.replace(WEB, "its-successor-of-twenty"))
    later.tokens = {**gate.service.tokens}
    after = Gate.__new__(Gate)
    after.service = later

    assert after.poll("web", 2, claim=claim)[0] == (200 if has_claim else 401)
    assert after.poll("web", 2, query="?block_seconds=1", claim=claim)[0] == (200 if has_claim else 401)
    assert after.poll("web", 1, claim=claim)[0] == 401
    assert after.poll("evil", 2, claim=claim)[0] in (200, 404)
    assert after.service.call("PUT", "/api/waits/ServerTasks-3", {"machines": ["M-1"]}, role="web")[0] == 401


def test_digest_of_a_claim_opens_no_other(gate, board):
    gate.join("web", 1, claim="a" * 32)
    gate.join("web", 2, claim="b" * 32)

    credentials = [board.place(f"ServerTasks-{task}").run.credential for task in (1, 2)]
    assert len(set(credentials)) == 2
    assert WEB not in json.dumps(credentials)


def test_limits_of_the_same_secret_keep_its_runs(gate, make_service, board):
    """A token gets limits while runs wait that were joined before it had any."""
    gate.join("web", 1)
    gate.join("legacy", 2, claim="a" * 32, project={"id": "Projects-1"})
    limited = make_service(OCTOWAIT_TOKENS=TOKENS.replace(LEGACY, f"{LEGACY};projects=Projects-1"))
    after = Gate(limited)

    assert after.poll("legacy", 2, claim="a" * 32)[1]["state"] == "waiting"


@pytest.mark.parametrize(
    ("project", "who", "state"),
    [("Projects-2", "web", "granted"), ("Projects-1", "web", "granted"), ("Projects-2", "evil", "waiting"),
     ("Projects-5", "web", "waiting"), ("Projects-5", "legacy", "granted")],
)  # fmt: skip
def test_parent_that_nobody_owns_is_known_by_its_project(gate, board, project, who, state):
    """Its owner is lost with Redis, or it has no step."""
    started(gate, 1, project)
    board.observe("ServerTasks-1", [{"id": "Machines-7"}], info={})

    assert gate.join(who, 2, on_behalf_of="ServerTasks-1")["state"] == state


def test_claim_that_ended_before_its_check_keeps_nobody_waiting(make_service, board):
    gate = Gate(
        make_service(
            OCTOWAIT_TOKENS=TOKENS, OCTOWAIT_OCTOPUS_URL="http://127.0.0.1:9", OCTOWAIT_OCTOPUS_API_KEY="API-KEY"
        )
    )  # fmt: skip
    gate.join("evil", 500, "Machines-99")
    answer = gate.join("web", 500)
    assert (answer["state"], answer["place"]) == ("waiting", None)
    assert "octowait is asking Octopus whose it is" in answer["message"]

    gate.release("evil", 500)

    assert gate.join("web", 500)["state"] == "granted"
