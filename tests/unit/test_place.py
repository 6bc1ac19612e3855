import pytest

from app.domain.run import RunState, State
from app.domain.run_info import Document, RunInfo
from app.domain.status import WAIT_STATES, Holder, MachinePlace, RunStatus
from app.domain.wording import CLOSED
from app.queries.views import WaitAnswer
from app.web.api.schemas.waits import WaitModel

MINUTE = 60_000
NOW = 1_800_000_000_000

API = RunInfo(project=Document(name="Api"), release=Document(name="2.0.1"), environment=Document(name="Production"))


def a_holder(**fields):
    return Holder(
        **{"kind": "lease", "task_id": "ServerTasks-4700", "since_ms": NOW - 3 * MINUTE, "info": API, **fields}
    )


def a_machine(**fields):
    return MachinePlace(**{"id": "Machines-7", "name": "web-01", "place": 2, "holders": (), "ahead": (), **fields})


def a_place(*machines, state=State.WAITING, **run):
    return RunStatus(RunState("ServerTasks-4711", state, **{"requested_at_ms": NOW - MINUTE, **run}), NOW, machines)


def shown(place):
    answer = WaitAnswer(
        place.run,
        place.now_ms,
        place.machines,
        eta_ms=place.eta_ms,
        message=place.message,
        wake_key="octowait:{d}:wake:x",
    )
    return WaitModel.model_validate(answer, from_attributes=True)


@pytest.mark.parametrize(
    ("machines", "message"),
    [
        (
            [a_machine(holders=(a_holder(),))],
            "Waiting for web-01, place 2: ServerTasks-4700 (Api 2.0.1 to Production) has held it for 3 min.",
        ),
        (
            [a_machine(holders=(a_holder(paused=True),))],
            "Waiting for web-01, place 2: ServerTasks-4700 (Api 2.0.1 to Production) is paused on it for 3 min.",
        ),
        *(
            (
                [a_machine(holders=(Holder("rebuilding", None, NOW - MINUTE, note=cause),))],
                f"Waiting for web-01, place 2: {why}, "
                "and nobody is granted until it is known what runs where, for 1 min.",
            )
            for cause, why in CLOSED.items()
        ),
        (
            [a_machine(holders=(Holder("reservation", None, NOW - MINUTE, note="disk", by="ann"),))],
            "Waiting for web-01, place 2: a reservation by ann (disk) has held it for 1 min.",
        ),
        (
            [a_machine(ahead=("ServerTasks-4705",))],
            "Waiting for web-01, place 2: ServerTasks-4705 is next, and waits for another machine.",
        ),
        (
            [a_machine(holders=(a_holder(info=RunInfo()),)), a_machine(id="Machines-8", name="web-02", place=1)],
            "Waiting for web-01 and 1 more, place 2: ServerTasks-4700 has held it for 3 min.",
        ),
        (
            [a_machine(place=2), a_machine(id="Machines-8", name="web-02", place=1, holders=(a_holder(),))],
            "Waiting for web-01 and 1 more, place 2; web-02: "
            "ServerTasks-4700 (Api 2.0.1 to Production) has held it for 3 min.",
        ),
        ([a_machine(place=1)], "Waiting for web-01, place 1."),
    ],
)
def test_message_of_a_waiter_says_what_who_and_how_long(machines, message):
    assert a_place(*machines).message == message


def test_message_of_a_grant_names_the_machines():
    place = a_place(a_machine(place=0), state=State.GRANTED, granted_at_ms=NOW - MINUTE // 2)

    assert place.message == "Granted: web-01, after waiting 30 s."


@pytest.mark.parametrize("state", sorted(set(State) - {State.WAITING, State.GRANTED}))
def test_every_other_state_has_a_message(state):
    assert a_place(state=state).message.startswith("ServerTasks-4711 ")
    assert a_place(state=state, cause="step", reason="done").message.endswith("(done).")
    forced = a_place(state=state, cause="forced", by="dana", reason="stuck")
    assert forced.message.endswith("(by an operator, dana: stuck).")


def test_place_is_the_largest_of_all_machines():
    assert a_place(a_machine(place=1), a_machine(place=3), a_machine(place=2)).place == 3


def test_who_does_not_wait_has_no_place():
    assert a_place(a_machine(place=0), state=State.GRANTED).place is None


@pytest.mark.parametrize(
    ("run", "waited_ms"),
    [
        ({}, MINUTE),
        ({"granted_at_ms": NOW - 10_000}, 50_000),
        ({"ended_at_ms": NOW - 20_000}, 40_000),
        ({"granted_at_ms": NOW - 10_000, "ended_at_ms": NOW}, 50_000),
        ({"requested_at_ms": NOW + 5}, 0),
    ],
)
def test_waiting_time_ends_with_the_grant_or_the_end_of_the_wait(run, waited_ms):
    assert a_place(**run).waited_ms == waited_ms


def test_who_was_removed_and_joined_again_is_told_why_it_is_at_the_end():
    place = a_place(a_machine(), after="expired")

    assert "removed from the line because nothing was heard from it" in place.reason


def test_token_of_a_former_grant_is_not_shown():
    assert shown(a_place(state=State.RELEASED, token=17)).fencing_token is None
    assert shown(a_place(state=State.GRANTED, token=17)).fencing_token == 17


def test_answer_has_the_fields_of_the_contract():
    answer = shown(a_place(a_machine(holders=(a_holder(),), ahead=("ServerTasks-4705",)), a_machine(place=0)))

    assert (answer.state, answer.place, answer.requested_at_ms, answer.waited_ms) == (
        "waiting",
        2,
        NOW - MINUTE,
        MINUTE,
    )
    assert answer.wake_key == "octowait:{d}:wake:x"
    assert answer.machines[0].ahead == ["ServerTasks-4705"]
    assert (answer.machines[0].holders[0].project, answer.machines[0].holders[0].release) == ("Api", "2.0.1")
    assert answer.machines[1].place is None


def test_states_of_the_contract():
    assert {str(s) for s in WAIT_STATES} == {
        "waiting", "granted", "released", "left", "expired", "timed_out", "refused",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("info", "title"),
    [
        ({}, ""),
        (API.as_json(), "Api 2.0.1 to Production"),
        ({"environment": {"name": "Production (EU)"}}, "to Production (EU)"),
        ({"project": {"name": "(old) Api"}, "release": {"id": "Releases-9"}}, "(old) Api Releases-9"),
    ],
)
def test_brackets_in_a_name_stay_in_the_title(info, title):
    assert a_holder(info=RunInfo.from_json(info)).title == title
