"""The checks of the soak find what was planted: each of them fails where it must."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from app.domain.analysis.fronts import Reason, Stretch
from app.domain.analysis.replay import Wait
from app.domain.records import Record
from tests.simulator import busy_check, loss_check
from tests.simulator.busy_check import knowledge, meetings, untold, untold_until
from tests.simulator.ledger_check import compare
from tests.simulator.soak import TOLD_SECONDS, judge_busy
from tests.simulator.soak_load import RUNBOOKS, STEPLESS, TENANTED, Load

WEB, DB = "Machines-1", "Machines-2"


def a_run(number: int, start: int, end: int | None, *, asks: bool = False, **fields: Any) -> dict[str, Any]:
    """One that works on WEB from a millisecond after its start on; with *asks* behind a wait step that succeeds."""
    work = {"machine": WEB, "step": "deploy", "started_ms": start + 1, "ended_ms": end}
    wait = {"script": "wait", "kind": "script", "status": "Success", "outputs": {}, "last_line": "",
            "started_ms": start, "ended_ms": start}  # fmt: skip
    return {
        "task_id": f"ServerTasks-{number}", "execution": 1, "family": f"ServerTasks-{number}", "kind": "Deploy",
        "space_id": "Spaces-1", "project_id": f"Projects-{number}", "environment_id": "Environments-1",
        "tenant_id": None, "machines": [WEB, DB], "started_ms": start, "ended_ms": end, "state": "Success",
        "is_abandoned": False, "work": [work], "steps": [wait] if asks else [], "answers": [], **fields,
    }  # fmt: skip


def a_record(*runs: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"runs": list(runs), "events": [], "deliveries": [], "outages": [], **fields}


def says(kind: str, task: int, at_ms: int, *machines: str, **detail: Any) -> Record:
    return Record(f"{at_ms}-0", at_ms, kind, f"ServerTasks-{task}", 1, machines, detail=detail)


def start(task: int, at_ms: int, occurred_ms: int, **detail: Any) -> Record:
    return says("event", task, at_ms, event="Events-1", category="DeploymentStarted", occurred_ms=occurred_ms, **detail)


#: A run without a step from 100 to 900, and one that was granted its machine at 300.
BARE, ASKS = a_run(1, 100, 900), a_run(2, 299, 800, asks=True, work=[
    {"machine": WEB, "step": "deploy", "started_ms": 310, "ended_ms": 700}])  # fmt: skip
GRANTED = [says("joined", 2, 299, WEB), says("granted", 2, 300, WEB)]


def met(record: dict[str, Any], *timeline: Record) -> list[busy_check.Meeting]:
    return meetings(record, knowledge(record, timeline))


def test_grant_where_somebody_was_told_of_and_observed_is_a_fault() -> None:
    found = met(a_record(BARE, ASKS), start(1, 200, 100), says("observed", 1, 250, WEB), *GRANTED)

    assert [(one.earlier.name, one.later, one.machine, one.is_fault) for one in found] == [
        ("ServerTasks-1#1", "ServerTasks-2#1", WEB, True)
    ]


@pytest.mark.parametrize("kind", ["presumed", "observed", "joined"])
def test_whatever_makes_a_machine_busy_makes_it_known(kind: str) -> None:
    [one] = met(a_record(BARE, ASKS), start(1, 200, 100), says(kind, 1, 250, WEB), *GRANTED)

    assert (one.is_told, one.known_ms, one.is_fault) == (True, 250, True)


def test_machine_that_becomes_known_after_the_grant_is_none() -> None:
    [one] = met(a_record(BARE, ASKS), start(1, 200, 100), says("observed", 1, 301, WEB), *GRANTED)

    assert (one.is_told, one.is_fault) == (True, False)


def test_machine_that_the_run_before_it_has_shown_is_known_once_it_is_told() -> None:
    before = a_run(3, 10, 50, project_id="Projects-1")
    timeline = [says("observed", 3, 20, WEB), start(1, 200, 100), *GRANTED]

    [one] = met(a_record(before, BARE, ASKS), *timeline)
    [other] = met(a_record({**before, "tenant_id": "Tenants-1"}, BARE, ASKS), *timeline)

    assert (one.known_ms, one.is_fault) == (200, True)
    assert (other.known_ms, other.is_fault) == (None, False)


def test_webhook_that_was_received_tells_even_where_no_record_does() -> None:
    event = {"Id": "Events-1", "Category": "RunbookRunStarted", "occurred_ms": 100,
             "RelatedDocumentIds": ["Deployments-1", "ServerTasks-1"]}  # fmt: skip
    sent = {"event": "Events-1", "status": 204, "sent_ms": 150, "took_ms": 20}
    unsent = {"event": "Events-1", "status": None, "sent_ms": None, "took_ms": None}

    for deliveries, told_ms in (([unsent, sent], 170), ([unsent], None), ([{**sent, "status": 503}], None)):
        [one] = met(a_record(BARE, ASKS, events=[event], deliveries=deliveries), *GRANTED)
        assert one.earlier.told_ms == told_ms


def test_start_that_a_reconcile_listed_is_told() -> None:
    listed = says("event", 1, 200, event="x", category="", occurred_ms=100, via="reconcile")

    assert met(a_record(BARE, ASKS), listed, *GRANTED)[0].earlier.told_ms == 200


def test_start_of_an_earlier_execution_tells_nothing_of_this_one() -> None:
    again = {**BARE, "execution": 2}
    first = a_run(1, 10, 50, execution=1, work=[])

    [one] = met(a_record(first, again, ASKS), start(1, 200, 10), *GRANTED)

    assert one.earlier.told_ms is None


def test_who_begins_after_the_grant_or_never_meets_is_nobodys_fault() -> None:
    late = a_run(1, 301, 900)
    bare_too = a_run(2, 299, 800)

    assert met(a_record(late, ASKS), *GRANTED) == []
    assert met(a_record(a_run(1, 100, 300), ASKS), *GRANTED) == []
    assert met(a_record(BARE, bare_too)) == []


def test_two_leases_at_once_are_a_fault_of_the_later_one() -> None:
    first = a_run(1, 100, 900, asks=True)
    [one] = met(a_record(first, ASKS), says("joined", 1, 100, WEB), says("granted", 1, 100, WEB), *GRANTED)

    assert (one.earlier.name, one.is_fault) == ("ServerTasks-1#1", True)


@pytest.mark.parametrize(
    ("away", "ms"),
    [
        ([], 400), ([[150, 250]], 250), ([[0, 450]], 50), ([[50, 120], [300, 310]], 190), ([[200, None]], 100),
        ([[0, 1000]], 0), ([[600, 700]], 400), ([[150, 400], [160, 200]], 100),
    ],
)  # fmt: skip
def test_untold_is_the_longest_stretch_in_which_all_were_there(away: list[list[int]], ms: int) -> None:
    known = knowledge(a_record(BARE), [start(1, 500, 100)])

    assert [one.ms for one in untold(known, away)] == [ms]


def test_run_that_nobody_ever_told_of_was_untold_until_its_end_or_the_grant() -> None:
    record = a_record(BARE, ASKS)
    [one] = met(record, *GRANTED)

    assert [one.ms for one in untold(knowledge(record, GRANTED), [])] == [800, 0]
    assert untold_until(one, []) == 200


def test_overlap_told_of_a_run_that_then_asks_is_a_false_alarm() -> None:
    alarm = says("overlapped", 1, 200, WEB, **{"with": "ServerTasks-2"})
    asks = a_run(2, 150, 800, asks=True)

    def alarms(*more: Record, expect_ms: int = 500) -> int:
        return len(busy_check.false_alarms(a_record(BARE, asks), [alarm, *more], expect_ms=expect_ms))

    assert alarms(says("joined", 2, 300, WEB)) == 1
    assert alarms(says("joined", 1, 300, WEB)) == 1
    assert alarms() == 0
    assert alarms(says("joined", 2, 300, WEB), expect_ms=100) == 0
    assert alarms(says("joined", 2, 160, WEB), says("joined", 2, 300, WEB)) == 0


def test_busiest_stretch_of_calls() -> None:
    assert busy_check.busiest({"10": 3, "11": 4, "13": 5, "20": 6}, 3) == 9
    assert busy_check.busiest({}, 60) == 0


def test_what_the_soak_says_of_all_that_and_where_it_fails() -> None:
    most_ms = TOLD_SECONDS * 1000
    late = a_run(1, 0, 2 * most_ms)
    asks = {**ASKS, "started_ms": most_ms, "ended_ms": 3 * most_ms, "work": [
        {"machine": WEB, "step": "deploy", "started_ms": most_ms + 10, "ended_ms": 2 * most_ms}]}  # fmt: skip
    alarm = says("overlapped", 1, most_ms, WEB, **{"with": "ServerTasks-2"})
    joins = [says("joined", 2, most_ms + 1, WEB), says("granted", 2, most_ms + 2, WEB)]

    lines, problems = judge_busy(a_record(late, asks), [alarm, *joins], [], speed=1)
    assert Counter(problem.partition(":")[0].partition(" ")[2] for problem in problems) == {
        "for 35 s": 1, "was at work for 70 s untold": 1,
        "is told of as one of two at once (record 35000-0), and asked 1 ms later": 1,
    }  # fmt: skip
    assert "1 of which nobody had told, untold for so many seconds: 35;" in lines[0]

    observed = [start(1, 100, 0), says("observed", 1, 200, WEB), *joins]
    assert [p.partition(":")[0] for p in judge_busy(a_record(late, asks), observed, [], speed=1)[1]] == [
        "known and free"
    ]
    assert judge_busy(a_record(late), observed[:2], [], speed=1)[1] == []


def test_events_that_are_lost_or_told_twice_and_grants_without_an_end() -> None:
    event = {"Id": "Events-1", "Category": "DeploymentStarted"}
    other = {"Id": "Events-2", "Category": "MachineAdded"}
    asks = a_run(2, 0, 9, asks=True)

    def missing(*timeline: Record) -> list[str]:
        return list(loss_check.missing(a_record(asks, events=[event, other]), timeline))

    ok = [start(2, 1, 0), says("granted", 2, 2, WEB), says("released", 2, 9, WEB)]
    assert missing(*ok) == []
    assert missing(*ok[1:]) == ["DeploymentStarted Events-1 is 0 times in the timeline"]
    assert missing(*ok, ok[0]) == ["DeploymentStarted Events-1 is 2 times in the timeline"]
    assert missing(*ok[:2]) == ["ServerTasks-2 was granted 1 times and released 0 times"]
    assert missing(ok[0]) == ["ServerTasks-2 passed its gate and was never granted"]


def test_runs_that_never_end_and_keys_that_stay() -> None:
    assert list(loss_check.unended(a_record(a_run(1, 0, None), a_run(2, 0, 9)))) == ["not ended: ServerTasks-1 Success"]
    assert list(loss_check.left_over(["octowait:{soak}:timeline", "octowait:{soak}:lines"])) == [
        "left in Redis: octowait:{soak}:lines"
    ]


def a_wait(*stretches: Stretch) -> Wait:
    return Wait("ServerTasks-2", 1, (WEB,), None, None, 100, 300, "granted", None, False, stretches)


def wrong(*stretches: Stretch, step_ends: int = 310, holder_ends: int = 300) -> list[str]:
    """What `compare` finds of a wait from 100 to 300 behind the first run, where 20 ms are tolerated."""
    step = {"script": "wait", "kind": "script", "status": "Success", "started_ms": 95, "ended_ms": step_ends}
    record = a_record(a_run(1, 50, holder_ends), a_run(2, 90, 900, steps=[step]))
    return compare(record, [a_wait(*stretches)], tolerance_ms=20).problems


def test_wait_of_the_ledger_that_is_not_what_octopus_saw() -> None:
    held = Stretch(100, 300, Reason.HOLDER, WEB, "ServerTasks-1")

    assert wrong(held) == []
    assert "do not add up" in wrong(held._replace(to_ms=290))[0]
    assert "do not add up" in wrong(held._replace(to_ms=200), held._replace(from_ms=210))[0]
    assert wrong(held, step_ends=400) == ["ServerTasks-2: its step ran 105 ms longer than its wait of 200 ms"]
    assert wrong(held, step_ends=290) == ["ServerTasks-2: its step ran -5 ms longer than its wait of 200 ms"]
    assert wrong(held, holder_ends=200) == ["ServerTasks-2: ServerTasks-1 did not run in all of 100 to 300"]
    assert wrong(held._replace(task_id="ServerTasks-9")) == [
        "ServerTasks-2: ServerTasks-9 did not run in all of 100 to 300"
    ]


@pytest.mark.parametrize("number", [60, 500])
def test_soak_deploys_the_shares_that_it_promises(number: int) -> None:
    kinds = Load(octopus=None, dice=random.Random(3), longest_work=60).kinds(number)  # type: ignore[arg-type]

    forms = Counter(kind.form for kind in kinds)
    assert len(kinds) == number
    assert sum(not kind.has_steps for kind in kinds) == round(number * STEPLESS / 10)
    assert sum(kind.is_tenanted for kind in kinds) == round(number * TENANTED / 10)
    assert forms["runbook"] + forms["git"] == round(number * RUNBOOKS / 10)
    assert forms["runbook"] == forms["git"]
