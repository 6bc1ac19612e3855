"""The machines of an observed run (rule 18): one pure function of everything that Octopus says about the run.

What is not certain only widens the answer: a machine that counts as free while a run works on it is the worst fault.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

#: Machines that one reason names; the others are counted.
MOST_NAMED = 5


@dataclass(frozen=True)
class Target:
    """A deployment target. *name* and *tags* (ids, ``TagSets-1/Tags-9``) are None where Octopus did not say."""

    id: str
    name: str | None = None
    tags: frozenset[str] | None = None

    @property
    def key(self) -> str:
        """What targets are compared by."""
        return self.id.lower()


@dataclass(frozen=True)
class PlannedAction:
    """What a preview says of one action. *names* are those of machines whose ids it does not give."""

    action_id: str | None = None
    machines: tuple[Target, ...] = ()
    names: tuple[str, ...] = ()
    is_disabled: bool = False


@dataclass(frozen=True)
class Selection:
    """What a deployment or runbook run says of its machines: ids of machines, of target tags and of actions.

    *specific* and *included_tags* both empty: on all machines of the plan. *deployed_to* is perhaps not complete.
    """

    specific: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    included_tags: tuple[str, ...] = ()
    excluded_tags: tuple[str, ...] = ()
    skipped_actions: tuple[str, ...] = ()
    deployed_to: tuple[str, ...] = ()

    def needs_plan(self, *, is_second_start: bool = False) -> bool:
        """Whether its machines are not known without a preview."""
        return is_second_start or not self.specific or bool(self.included_tags)

    @property
    def names_tags(self) -> bool:
        """Whether its machines depend on their target tags."""
        return bool(self.included_tags or self.excluded_tags)

    @property
    def is_filter(self) -> bool:
        """Whether it leaves machines of the plan out."""
        return bool(self.specific or self.excluded or self.names_tags)


@dataclass(frozen=True)
class MachineUse:
    """The machines of a run. *is_full*: they are its whole plan, no filter was set.

    *reasons* say to people what could not be read, so that more machines count as used than perhaps are.
    *unknown* are names in the plan that stand for no known machine: as long as there are any, *machines* is not
    complete.
    """

    machines: tuple[Target, ...]
    is_full: bool
    reasons: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def machines_of(
    selection: Selection,
    plan: Sequence[PlannedAction] | None,
    *,
    is_second_start: bool = False,
    tags: Mapping[str, frozenset[str]] | None = None,
    named: Mapping[str, Target] | None = None,
) -> MachineUse:
    """Which machines a run uses.

    1. The plan: the machines of all enabled actions.
    2. Narrowed: by machines and target tags to include, by those to exclude, and by skipped actions, where a machine
       goes only if every action on it is skipped. What cannot be read narrows nothing.
    3. A second start of a known deployment uses the whole plan: what its first start left out does not count.
    4. Widened by the machines that it has reached.

    Args:
        plan: What the preview says; None where it was not needed, see `Selection.needs_plan`.
        is_second_start: It is not the first start of its deployment, under the same or another task.
        tags: Target tags that the plan does not carry, by the machine's id in lower case.
        named: Machines by their names in lower case, for names in the plan.

    Raises:
        ValueError: *plan* is None and needed.
    """
    if plan is None and selection.needs_plan(is_second_start=is_second_start):
        raise ValueError("the selection names no machines: expected a plan")
    skipped = _lower(selection.skipped_actions)
    enabled = [action for action in plan or () if not action.is_disabled]
    unskipped = [action for action in enabled if (action.action_id or "").lower() not in skipped]
    whole, running = _targets(enabled, named or {}), _targets(unskipped, named or {})
    known_tags = _known_tags(whole, tags or {})
    if is_second_start:
        used = {**whole, **_by_id(selection.specific, whole)}
    else:
        used = _selected(selection, whole, running, known_tags)
    counted = enabled if is_second_start else unskipped
    return MachineUse(
        machines=tuple({**used, **_by_id(selection.deployed_to, whole)}.values()),
        is_full=plan is not None and not selection.is_filter and (is_second_start or len(running) == len(whole)),
        reasons=tuple(_reasons(selection, enabled, whole, known_tags, is_second_start=is_second_start)),
        unknown=tuple(_unknown(counted, named or {})) if selection.needs_plan(is_second_start=is_second_start) else (),
    )


def _selected(
    selection: Selection, whole: Mapping[str, Target], running: Mapping[str, Target], tags: Mapping[str, frozenset[str]]
) -> dict[str, Target]:
    """The machines of a first start, those that it has reached left out."""
    included, excluded = _lower(selection.included_tags), _lower(selection.excluded_tags)
    if not selection.specific and not included:
        chosen = dict(running)
    else:
        chosen = _by_id(selection.specific, whole)
        chosen |= {key: target for key, target in running.items() if included and tags.get(key, included) & included}
    idle = whole.keys() - running.keys()
    out = _lower(selection.excluded) | idle
    return {key: target for key, target in chosen.items() if key not in out and not tags.get(key, _NONE) & excluded}


#: The tags of a machine of which nobody said any.
_NONE: frozenset[str] = frozenset()


def _targets(actions: Iterable[PlannedAction], named: Mapping[str, Target]) -> dict[str, Target]:
    """The machines of the actions by their ids in lower case, each once."""
    targets: dict[str, Target] = {}
    for action in actions:
        by_name = [named[name.lower()] for name in action.names if name.lower() in named]
        for target in (*action.machines, *by_name):
            targets.setdefault(target.key, target)
    return targets


def _unknown(actions: Iterable[PlannedAction], named: Mapping[str, Target]) -> list[str]:
    names = (name for action in actions for name in action.names)
    return list(dict.fromkeys(name for name in names if name.lower() not in named))


def _known_tags(targets: Mapping[str, Target], tags: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """The target tags of machines whose tags are known, by id, all in lower case."""
    carried = {key: target.tags for key, target in targets.items() if target.tags is not None}
    return {key: frozenset(_lower(each)) for key, each in {**tags, **carried}.items()}


def _by_id(ids: Iterable[str], targets: Mapping[str, Target]) -> dict[str, Target]:
    """Targets for *ids*, as the plan knows them where it does."""
    return {each.lower(): targets.get(each.lower(), Target(each)) for each in ids}


def _reasons(
    selection: Selection, enabled: Sequence[PlannedAction], whole: Mapping[str, Target],
    tags: Mapping[str, frozenset[str]], *, is_second_start: bool,
) -> Iterable[str]:  # fmt: skip
    if is_second_start:
        if selection.is_filter or selection.skipped_actions:
            yield "it was started again: machines that its first start left out count as used, too"
        return
    if selection.names_tags:
        candidates = {**(whole if selection.included_tags or not selection.specific else {}),
                      **_by_id(selection.specific, whole)}  # fmt: skip
        untold = [target.name or target.id for key, target in candidates.items() if key not in tags]
        if untold and len(untold) == len(candidates):
            yield f"target tags of {_listed(untold)} are not known: all targets of the plan are busy"
        elif untold:
            yield f"target tags of {_listed(untold)} are not known: {'it is' if len(untold) == 1 else 'they are'} busy"
    if selection.skipped_actions and any(action.machines and not action.action_id for action in enabled):
        yield "which actions of the plan are skipped is not known: all of them count as run"


def _listed(names: Sequence[str]) -> str:
    first = ", ".join(names[:MOST_NAMED])
    return first if len(names) <= MOST_NAMED else f"{first} and {len(names) - MOST_NAMED} more"


def _lower(values: Iterable[str]) -> set[str]:
    return {value.lower() for value in values}
