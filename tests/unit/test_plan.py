"""Rule 18 as a table, and what holds whatever Octopus says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.plan import MachineUse, PlannedAction, Selection, Target, machines_of

RED, BLUE = "TagSets-1/Tags-9", "TagSets-1/Tags-10"


def a_plan(*actions: str, disabled: str = "") -> list[PlannedAction]:
    """One action a text, ``"a: 1 2"``: its id and the numbers of its machines."""
    made = []
    for action in actions:
        name, _, machines = action.partition(":")
        targets = tuple(Target(f"Machines-{number}") for number in machines.split())
        made.append(PlannedAction(name or None, targets, is_disabled=bool(name) and name == disabled))
    return made


def ids(*numbers: int) -> tuple[str, ...]:
    return tuple(f"Machines-{number}" for number in numbers)


def numbers_of(use: MachineUse) -> set[int]:
    return {int(target.id.split("-")[1]) for target in use.machines}


PLAN = a_plan("a: 1 2", "b: 2 3")


@pytest.mark.parametrize(
    ("selection", "expected", "is_full"),
    [
        pytest.param(Selection(), {1, 2, 3}, True, id="the plan"),
        pytest.param(Selection(specific=ids(2)), {2}, False, id="specific machines"),
        pytest.param(Selection(specific=("MACHINES-2",)), {2}, False, id="ids in another letter case"),
        pytest.param(Selection(specific=ids(2, 8)), {2, 8}, False, id="a specific machine that the plan lacks"),
        pytest.param(Selection(excluded=ids(1)), {2, 3}, False, id="excluded machines"),
        pytest.param(Selection(excluded=("machines-1",)), {2, 3}, False, id="excluded in another letter case"),
        pytest.param(Selection(specific=ids(1, 2), excluded=ids(1)), {2}, False, id="specific and excluded"),
        pytest.param(Selection(skipped_actions=("a",)), {2, 3}, False, id="every action on machine 1 is skipped"),
        pytest.param(Selection(skipped_actions=("A", "B")), set(), False, id="every action is skipped"),
        pytest.param(Selection(skipped_actions=("z",)), {1, 2, 3}, True, id="an action that the plan lacks is skipped"),
        pytest.param(Selection(specific=ids(1, 8), skipped_actions=("a",)), {8}, False, id="specific, but skipped"),
        pytest.param(Selection(deployed_to=ids(1)), {1, 2, 3}, True, id="a partial list never replaces the plan"),
        pytest.param(Selection(deployed_to=ids(7)), {1, 2, 3, 7}, True, id="reached beyond the plan"),
        pytest.param(Selection(excluded=ids(1), deployed_to=ids(1)), {1, 2, 3}, False, id="excluded, but reached"),
    ],
)
def test_machines_of_a_first_start(selection, expected, is_full):
    use = machines_of(selection, PLAN)

    assert (numbers_of(use), use.is_full, use.reasons, use.unknown) == (expected, is_full, (), ())


@pytest.mark.parametrize(
    "selection",
    [
        Selection(excluded=ids(1)), Selection(specific=ids(2)), Selection(skipped_actions=("a",)),
        Selection(included_tags=(RED,)), Selection(excluded_tags=(RED,)),
    ],
)  # fmt: skip
def test_second_start_uses_the_plan_whatever_the_first_left_out(selection):
    use = machines_of(selection, PLAN, is_second_start=True, tags={"machines-1": frozenset({RED})})

    assert numbers_of(use) == {1, 2, 3}
    assert use.reasons == ("it was started again: machines that its first start left out count as used, too",)


def test_second_start_without_a_filter_is_a_full_run_and_needs_no_words():
    use = machines_of(Selection(), PLAN, is_second_start=True)

    assert (numbers_of(use), use.is_full, use.reasons) == ({1, 2, 3}, True, ())


TAGS = {"machines-1": frozenset({RED}), "machines-2": frozenset({BLUE}), "machines-3": frozenset({RED, BLUE})}


@pytest.mark.parametrize(
    ("selection", "unknown", "expected", "reason"),
    [
        pytest.param(Selection(included_tags=(RED,)), "", {1, 3}, None, id="one of the tags"),
        pytest.param(Selection(included_tags=(RED.upper(), BLUE)), "", {1, 2, 3}, None, id="any of the tags"),
        pytest.param(Selection(excluded_tags=(RED,)), "", {2}, None, id="none of the tags"),
        pytest.param(Selection(excluded_tags=(RED, BLUE)), "", set(), None, id="none of several tags"),
        pytest.param(Selection(included_tags=(RED,), excluded_tags=(BLUE,)), "", {1}, None, id="both"),
        pytest.param(Selection(specific=ids(2), included_tags=(RED,)), "", {1, 2, 3}, None, id="machines and tags"),
        pytest.param(Selection(specific=ids(2, 3), excluded_tags=(RED,)), "", {2}, None, id="specific, but excluded"),
        pytest.param(Selection(included_tags=(RED,)), "2", {1, 2, 3},
                     "target tags of Machines-2 are not known: it is busy", id="one unknown"),
        pytest.param(Selection(excluded_tags=(RED,)), "1 3", {1, 2, 3},
                     "target tags of Machines-1, Machines-3 are not known: they are busy", id="some unknown"),
        pytest.param(Selection(included_tags=(RED,)), "1 2 3", {1, 2, 3},
                     "target tags of Machines-1, Machines-2, Machines-3 are not known: "
                     "all targets of the plan are busy",
                     id="all unknown"),
    ],
)  # fmt: skip
def test_target_tags_narrow_where_they_are_known(selection, unknown, expected, reason):
    lost = {f"machines-{number}" for number in unknown.split()}
    use = machines_of(selection, PLAN, tags={key: tags for key, tags in TAGS.items() if key not in lost})

    assert numbers_of(use) == expected
    assert not use.is_full
    assert use.reasons == ((reason,) if reason else ())


def test_tags_in_the_plan_itself_are_read():
    plan = [PlannedAction("a", (Target("Machines-1", tags=frozenset({RED})), Target("Machines-2", tags=frozenset())))]

    assert numbers_of(machines_of(Selection(included_tags=(RED,)), plan)) == {1}


def test_disabled_action_uses_nothing():
    use = machines_of(Selection(), a_plan("a: 1 2", "b: 2 3", disabled="b"))

    assert (numbers_of(use), use.is_full) == ({1, 2}, True)


def test_plan_that_does_not_name_its_actions_cannot_be_narrowed_by_skipped_ones():
    use = machines_of(Selection(skipped_actions=("a",)), a_plan(": 1", ": 2"))

    assert numbers_of(use) == {1, 2}
    assert use.reasons == ("which actions of the plan are skipped is not known: all of them count as run",)


def test_names_stand_for_machines_that_are_known_by_them():
    plan = [PlannedAction("a", names=("Web-01", "web-02")), PlannedAction("b", (Target("Machines-3"),))]
    named = {f"web-0{number}": Target(f"Machines-{number}", f"web-0{number}") for number in (1, 2)}

    use = machines_of(Selection(excluded=ids(2)), plan, named=named)

    assert (numbers_of(use), use.unknown) == ({1, 3}, ())


def test_name_that_nobody_knows_is_told_and_never_none():
    plan = [PlannedAction("a", names=("web-01", "web-02")), PlannedAction("b", names=("web-03",))]
    named = {"web-01": Target("Machines-1", "web-01")}

    assert machines_of(Selection(), plan, named=named).unknown == ("web-02", "web-03")
    assert machines_of(Selection(skipped_actions=("b",)), plan, named=named).unknown == ("web-02",)
    assert machines_of(Selection(specific=ids(7)), plan, named=named).unknown == ()


def test_plan_is_needed_unless_the_machines_are_named():
    assert Selection().needs_plan() and Selection(excluded=ids(1)).needs_plan()
    assert Selection(specific=ids(1), included_tags=(RED,)).needs_plan()
    assert Selection(specific=ids(1)).needs_plan(is_second_start=True)
    assert not Selection(specific=ids(1)).needs_plan()
    assert numbers_of(machines_of(Selection(specific=ids(1)), None)) == {1}
    with pytest.raises(ValueError, match="plan"):
        machines_of(Selection(), None)


def test_many_machines_are_counted_in_the_reason():
    plan = a_plan("a: 1 2 3 4 5 6 7 8")

    (reason,) = machines_of(Selection(included_tags=(RED,)), plan).reasons

    assert "Machines-5 and 3 more are not known" in reason


numbers = st.lists(st.integers(1, 6), max_size=4, unique=True).map(lambda found: ids(*found))
tag_ids = st.lists(st.sampled_from([RED, BLUE]), max_size=2, unique=True).map(tuple)
known_tags = st.dictionaries(numbers.filter(bool).map(lambda found: found[0].lower()), tag_ids.map(frozenset))
plans = st.lists(
    st.builds(
        PlannedAction, st.sampled_from(["a", "b", "c", None]),
        st.lists(st.integers(1, 6).map(lambda number: Target(f"Machines-{number}")), max_size=3).map(tuple),
        is_disabled=st.booleans(),
    ), max_size=4,
)  # fmt: skip
selections = st.builds(Selection, numbers, numbers, tag_ids, tag_ids,
                       st.lists(st.sampled_from("abc"), max_size=2).map(tuple), numbers)  # fmt: skip


@given(selections, plans, st.booleans(), known_tags)
def test_machines_that_the_run_has_reached_are_always_used(selection, plan, is_second_start, tags):
    use = machines_of(selection, plan, is_second_start=is_second_start, tags=tags)

    assert {each.lower() for each in selection.deployed_to} <= {target.key for target in use.machines}


@given(selections, plans, known_tags)
def test_second_start_uses_at_least_what_any_first_start_does(selection, plan, tags):
    first = machines_of(selection, plan, tags=tags)
    second = machines_of(selection, plan, is_second_start=True, tags=tags)

    assert {target.key for target in first.machines} <= {target.key for target in second.machines}
    assert {target.key for action in plan if not action.is_disabled for target in action.machines} <= {
        target.key for target in second.machines
    }


@given(selections, plans, known_tags, st.data())
def test_what_cannot_be_read_narrows_nothing(selection, plan, tags, data):
    lost = data.draw(st.sets(st.sampled_from(sorted(tags)))) if tags else set()
    nameless = [PlannedAction(None, action.machines, is_disabled=action.is_disabled) for action in plan]

    known = {target.key for target in machines_of(selection, plan, tags=tags).machines}
    fewer = {key: each for key, each in tags.items() if key not in lost}

    assert known <= {target.key for target in machines_of(selection, plan, tags=fewer).machines}
    assert known <= {target.key for target in machines_of(selection, nameless, tags=tags).machines}


@given(selections, plans, known_tags)
def test_machine_is_left_out_only_for_a_reason(selection: Selection, plan: Any, tags: Any):
    """Never fewer than what is certain: whoever is in the plan and goes, goes by a rule of the table."""
    used = {target.key for target in machines_of(selection, plan, tags=tags).machines}
    enabled = [action for action in plan if not action.is_disabled]

    for key in {target.key for action in enabled for target in action.machines} - used:
        own = tags.get(key, frozenset())
        all_skipped = all((action.action_id in selection.skipped_actions) for action in enabled
                          if key in {target.key for target in action.machines})  # fmt: skip
        is_chosen = key in {each.lower() for each in selection.specific}
        filtered = bool(selection.specific or selection.included_tags) and not is_chosen
        untagged = not selection.included_tags or (key in tags and not own & set(selection.included_tags))
        assert (
            key in {each.lower() for each in selection.excluded}
            or own & set(selection.excluded_tags)
            or all_skipped
            or (filtered and untagged)
        )


@given(selections, plans, st.booleans())
def test_full_run_has_the_whole_plan(selection, plan, is_second_start):
    use = machines_of(selection, plan, is_second_start=is_second_start)

    if use.is_full:
        whole = {target.key for action in plan if not action.is_disabled for target in action.machines}
        assert whole <= {target.key for target in use.machines}
        assert not selection.is_filter
