"""The stretches of a wait for many machines: the same as if all fronts were looked at at each moment, at less cost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.domain.analysis import fronts
from app.domain.analysis.attribution import LineHeads, stretches
from app.domain.analysis.fronts import EMPTY, Blocker, LineHead, Reason, Stretch, ahead_of, holder_of, stretch_of

SPAN = (10, 100)


def a_blocker(reason, task, rank, family=None):
    is_run = reason is not Reason.RESERVATION
    return Blocker(reason, f"ServerTasks-{task}" if is_run else None, None, None, (rank, task), family)


def a_front(holders, heads):
    holders = sorted(holders, key=lambda held: held.rank)
    return LineHead(tuple(holders), heads, (*holders, heads)[0])


HOLDERS = st.builds(
    a_blocker, st.sampled_from([Reason.HOLDER, Reason.RESERVATION]), st.integers(1, 6), st.integers(0, 3),
    st.sampled_from([None, 1, 2]),
)  # fmt: skip
HEADS = st.builds(a_blocker, st.just(Reason.AHEAD), st.integers(1, 6), st.integers(0, 3))
FRONTS = st.builds(a_front, st.lists(HOLDERS, max_size=3), st.none() | HEADS)
PASTS = st.lists(st.lists(st.tuples(st.integers(0, 110), FRONTS), max_size=6), min_size=2, max_size=5)


def pasts_of(histories):
    machines = []
    for number, history in enumerate(histories):
        past = LineHeads()
        for at_ms, front in sorted(history, key=lambda pair: pair[0]):
            past.add(at_ms, front)
        machines.append((f"Machines-{number}", past))
    return machines


def looked_at(task, family, machines, begin, end):
    """One part of the wait, by the rule, from all fronts."""
    now = [(machine, past.at(begin)) for machine, past in machines]
    for find in (holder_of, ahead_of):
        if blockers := [(m, blocker) for m, front in now if (blocker := find(front, task, family))]:
            machine, blocker = min(blockers, key=lambda pair: pair[1].rank)
            part = stretch_of(begin, end, machine, blocker)
            stands = (lambda front: front.holders) if blocker.reason is Reason.HOLDER else (lambda front: [front.head])
            also = [m for m, front in now if any(one and one.task_id == blocker.task_id for one in stands(front))]
            return part._replace(also=tuple(m for m in also if m != machine)) if blocker.task_id else part
    return stretch_of(begin, end, None, None)


@given(PASTS, st.sampled_from([None, 1]))
def test_each_moment_of_a_wait_has_the_blocker_that_all_fronts_have_then(histories, family):
    machines = pasts_of(histories)

    parts = stretches("ServerTasks-1", family, machines, (), SPAN)

    assert (parts[0].from_ms, parts[-1].to_ms) == SPAN
    times = sorted({*SPAN, *(t for _, past in machines for t in past.times if SPAN[0] < t < SPAN[1])})
    for begin, end in zip(times, times[1:], strict=False):
        [part] = [part for part in parts if part.from_ms <= begin < part.to_ms]
        rule = looked_at("ServerTasks-1", family, machines, begin, end)
        assert part[2:6] == rule[2:6] and {*part.also} >= {*rule.also}
        if (part.from_ms, part.to_ms) == (begin, end):
            assert part == rule


def test_a_change_at_one_of_many_machines_costs_what_has_changed(monkeypatch):
    looks = []
    monkeypatch.setattr(fronts, "holder_of", lambda *args: looks.append(args) or holder_of(*args))
    wide = a_blocker(Reason.HOLDER, 9, 0)
    others = [a_front([wide, a_blocker(Reason.HOLDER, 20 + n, 1)], None) for n in range(1000)]
    machines = pasts_of([[(0, a_front([wide], None)), (11 + n % 80, others[n])] for n in range(1000)])

    [part] = stretches("ServerTasks-1", None, machines, (), SPAN)

    assert part == Stretch(*SPAN, Reason.HOLDER, "Machines-0", "ServerTasks-9", also=part.also)
    assert len(part.also) == 999 and len(looks) == 2000


def test_before_all_that_is_known_nobody_is_in_the_way():
    parts = stretches("ServerTasks-1", None, pasts_of([[], [(50, EMPTY)]]), (), SPAN)

    assert parts == (Stretch(*SPAN, Reason.NOBODY),)
