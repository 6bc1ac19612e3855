"""What octowait notices by itself: a run that holds beyond all before it, a disk that is full."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.faults import BEYOND_MS, certificate_ends, held_too_long, is_beyond
from app.domain.run_info import RunInfo
from app.domain.status import Holder
from app.store import disk

NOW = 10**12


@dataclass
class Machine:
    name: str
    holders: list[Holder]
    line: list[object] = field(default_factory=list)


def a_holder(task: int, minutes: float, kind: str = "lease", **more) -> Holder:
    return Holder(kind, f"ServerTasks-{task}", NOW - round(minutes * 60_000), RunInfo(), **more)


def test_a_run_that_holds_beyond_all_before_it_is_one_fault_with_its_worst_line():
    held = a_holder(1, 60)
    machines = [Machine("web-01", [held], [1]), Machine("web-02", [held], [1, 2, 3]), Machine("web-03", [])]

    [fault] = held_too_long(machines, NOW, lambda _: 15 * 60_000)

    assert fault.task_id == "ServerTasks-1" and fault.code == "held_beyond_all"
    assert fault.message == (
        "ServerTasks-1 has held web-02 for 1 h, longer than any run before it (15 min); 3 runs wait there."
    )
    assert "octowait force-release ServerTasks-1" in fault.do


def test_the_past_is_asked_once_for_a_run_however_many_machines_it_holds():
    asked_for: list[str | None] = []

    def longest(held: Holder) -> float:
        asked_for.append(held.task_id)
        return math.inf

    held_too_long([Machine(f"web-{n}", [a_holder(1, 60), a_holder(2, 60)]) for n in range(500)], NOW, longest)

    assert sorted(asked_for) == ["ServerTasks-1", "ServerTasks-2"]


@settings(deadline=None)  # What else runs here is not the matter.
@given(
    minutes=st.floats(0, 10_000), longest=st.one_of(st.just(math.inf), st.floats(1, 10_000).map(lambda m: m * 60_000)),
    kind=st.sampled_from(["lease", "observed", "provisional", "reservation", "rebuilding"]),
)  # fmt: skip
def test_it_is_none_where_the_past_cannot_tell_or_it_lasts_as_usual(minutes, longest, kind):
    found = held_too_long([Machine("web-01", [a_holder(1, minutes, kind)])], NOW, lambda _: longest)

    held_ms = round(minutes * 60_000)
    assert bool(found) == (kind in ("lease", "observed") and is_beyond(held_ms, longest))
    assert not found or held_ms > longest + BEYOND_MS


def test_a_directory_with_little_space_is_named_and_one_that_is_not_there_is_not(tmp_path: Path):
    assert disk.full([tmp_path, tmp_path / "missing"], least=1) == {}
    assert set(disk.full([tmp_path, tmp_path / "missing"], least=2**62)) == {tmp_path}


DAY = 86_400_000


@pytest.mark.parametrize(
    ("ends_ms", "code", "says"),
    [
        (None, None, ""),
        (NOW + 21 * DAY + 1, None, ""),
        (NOW + 21 * DAY, "certificate_ends", "ends in 21 d"),
        (NOW + 1, "certificate_ends", "ends in"),
        (NOW, "certificate_ended", "ended"),
        (NOW - 3 * DAY, "certificate_ended", "ended 3 d ago"),
    ],
)
def test_a_certificate_is_told_of_three_weeks_before_it_ends(ends_ms: int | None, code: str | None, says: str):
    found = certificate_ends(ends_ms, NOW, timedelta(days=21))

    assert [fault.code for fault in found] == ([code] if code else [])
    assert all(says in fault.message and "OCTOWAIT_PUBLIC_URL" in fault.message for fault in found)
