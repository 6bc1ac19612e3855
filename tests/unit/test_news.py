"""The word by which a client knows whether there is something new to print."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.eta import Eta
from app.domain.news import news_of
from app.domain.run import RunState, State
from app.domain.run_info import Document, RunInfo
from app.domain.status import Holder, MachinePlace, RunStatus

NOW = 1_800_000_000_000
API = RunInfo(project=Document(name="Api"))
HOLDER = Holder("lease", "ServerTasks-4700", NOW - 60_000, API)
MACHINE = MachinePlace("Machines-7", "web-01", 2, (HOLDER,), ("ServerTasks-4705",))
OTHER = MachinePlace("Machines-8", "web-02", 1, (), ())
RUN = RunState("ServerTasks-4711", State.WAITING, requested_at_ms=NOW - 90_000)
PLACE = RunStatus(RUN, NOW, (MACHINE, OTHER))


def with_machine(**fields: Any) -> RunStatus:
    return replace(PLACE, machines=(replace(MACHINE, **fields), OTHER))


@given(passed=st.timedeltas(timedelta(), timedelta(days=30)), p50=st.integers(0, 10**9))
def test_time_that_passes_and_what_is_expected_are_no_news(passed: timedelta, p50: int) -> None:
    later = replace(PLACE, now_ms=NOW + passed // timedelta(milliseconds=1), eta_ms=Eta(p50, 2 * p50))

    assert news_of(later) == news_of(PLACE)


@pytest.mark.parametrize(
    "other",
    [
        with_machine(place=1, ahead=()),
        with_machine(holders=(replace(HOLDER, task_id="ServerTasks-4701"),)),
        with_machine(holders=(replace(HOLDER, paused=True),)),
        with_machine(holders=(replace(HOLDER, kind="provisional"),)),
        with_machine(holders=(Holder("reservation", None, NOW, note="disk", by="ann"),)),
        with_machine(holders=()),
        with_machine(id="Machines-9", name="web-03"),
        replace(PLACE, machines=(MACHINE,)),
        replace(PLACE, run=replace(RUN, after="expired")),
        replace(PLACE, run=replace(RUN, state=State.GRANTED)),
        replace(PLACE, run=replace(RUN, state=State.EXPIRED)),
    ],
    ids=["place", "task", "paused", "kind", "reserved", "free", "machine", "fewer", "again", "granted", "expired"],
)  # fmt: skip
def test_state_place_and_holder_are_news(other: RunStatus) -> None:
    assert news_of(other) != news_of(PLACE)


def test_it_is_one_word_for_the_answers_in_text() -> None:
    assert news_of(PLACE).isalnum()
