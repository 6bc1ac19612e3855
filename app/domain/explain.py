"""Explain a wait: find the chain of blockers, the remedy for each, and alternatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from heapq import nlargest
from itertools import takewhile

from app.domain.eta import Eta
from app.domain.explanation import MOST_LINKS, Alternative, Explanation, Link
from app.domain.run import MAX_PRIORITY
from app.domain.status import Holder, MachinePlace, RunStatus
from app.domain.wording import closed_words

#: A run as it stands, without a sign of life.
Look = Callable[[str], RunStatus | None]

#: The runs of a family that wait.
Children = Callable[[int], Sequence[str]]

#: When a run with such a place would start.
Foretell = Callable[[RunStatus], Eta | None]


def explain(place: RunStatus, look: Look, foretell: Foretell, children: Children = lambda family: ()) -> Explanation:
    """Why a waiting run does not start. It looks at each run of the chain once, a moment after the one before."""
    chain, is_cut = _chain(place, look, foretell, children)
    machines = tuple(machine for machine in place.machines if machine.place)
    is_refused = _would_wait_for_itself(place, look, children)
    first = machines if is_refused else tuple(_first(machine, look) for machine in machines)
    # Each is foretold by itself: of many those at which it stands farthest behind, which are the likeliest to matter.
    longest = machines if len(machines) <= MOST_LINKS else nlargest(MOST_LINKS, machines, key=lambda m: m.place)
    without = [(m, tuple(o for o in machines if o is not m)) for m in longest] if len(place.machines) > 1 else []
    return Explanation(
        place=place,
        chain=chain,
        is_cut=is_cut,
        first=replace(_alternative_of(place, first, foretell), refused=is_refused),
        without=tuple(_alternative_of(place, rest, foretell, dropped) for dropped, rest in without),
    )


def _first(machine: MachinePlace, look: Look) -> MachinePlace:
    """The machine as the run would stand there with the highest priority: behind those who had it before."""
    seen = ((task, look(task)) for task in machine.ahead)
    same = takewhile(lambda pair: pair[1] and pair[1].run.priority == MAX_PRIORITY, seen)
    ahead = tuple(task for task, _ in same)
    return replace(machine, place=len(ahead) + 1, ahead=ahead)


def _would_wait_for_itself(place: RunStatus, look: Look, children: Children) -> bool:
    """Whether somebody for whom the run waits would stand behind it if it were first: then its priority stays.

    That is a child of one who holds what the run wants, or one before that child. Looks at `MOST_LINKS` runs.
    """
    own = {machine.id.lower() for machine in place.machines if machine.place}
    tasks, seen = [*_waits_behind(place, children)], {place.task_id}
    while tasks and len(seen) <= MOST_LINKS:
        task = tasks.pop()
        other = look(task) if task not in seen else None
        seen.add(task)
        if other is None or not other.is_waiting:
            continue
        if any(machine.place and machine.id.lower() in own for machine in other.machines):
            return True
        tasks += [*_waits_behind(other, children), *(task for m in other.machines if m.place for task in m.ahead)]
    return False


def _waits_behind(place: RunStatus, children: Children) -> Sequence[str]:
    """The runs in line that have to go before the holders go for which this one waits."""
    families = {held.family for machine in place.machines if machine.place for held in machine.holders}
    return [task for family in families if family is not None for task in children(family)]


def _chain(place: RunStatus, look: Look, foretell: Foretell, children: Children) -> tuple[tuple[Link, ...], bool]:
    links: list[Link] = []
    at: RunStatus | None = place
    seen = {place.task_id}
    while at is not None and len(links) < MOST_LINKS:
        held = [(holder, machine) for machine in at.machines if machine.place for holder in machine.holders]
        if held:
            # The same as for a stretch: whoever has held one of its machines for the longest.
            holder, machine = min(held, key=lambda pair: pair[0].since_ms)
            at = _started_by(holder, look, children)
            links.append(_of_holder(holder, machine, child=at))
            if at is not None:
                links.append(_of_child(at, holder, foretell))
        else:
            at = _add_head(links, at, look, foretell)
        if at is None or at.task_id in seen:
            return tuple(links), False
        seen.add(at.task_id)
    return tuple(links), at is not None


def _started_by(held: Holder, look: Look, children: Children) -> RunStatus | None:
    """The run that this one started and waits for, while that one stands in line itself."""
    waiting = [look(task) for task in (children(held.family) if held.family is not None else ())]
    own = [child for child in waiting if child and child.is_waiting and _parent(child) == (held.task_id or "").lower()]
    return min(own, key=lambda child: child.run.order, default=None)


def _parent(child: RunStatus) -> str:
    return (child.run.on_behalf_of or "").lower()


def _of_child(child: RunStatus, parent: Holder, foretell: Foretell) -> Link:
    machine = max(child.machines, key=lambda machine: machine.place)
    link = _of_waiter(child, machine, foretell)
    remedy = (
        f"{parent.task_id} goes on when {link.label} has ended; a higher priority of that one changes when it starts."
    )
    return replace(link, remedy=remedy, started_by=parent.task_id)


def _of_waiter(run: RunStatus, machine: MachinePlace, foretell: Foretell) -> Link:
    info = run.run.info
    label = info.of(run.task_id)
    return Link(
        "waiting", run.task_id, label, machine, run.run.requested_at_ms, info.url,
        f"{label} goes before it; a higher priority changes that.", run.place, foretell(run),
    )  # fmt: skip


def _add_head(links: list[Link], place: RunStatus, look: Look, foretell: Foretell) -> RunStatus | None:
    """Add the first who stands before the run, if anybody does: that one as it stands."""
    heads = [(look(machine.ahead[0]), machine) for machine in place.machines if machine.place and machine.ahead]
    waiting = [(head, machine) for head, machine in heads if head and head.is_waiting]
    if not waiting:
        return None
    head, machine = min(waiting, key=lambda pair: pair[0].run.order)
    links.append(_of_waiter(head, machine, foretell))
    return head


def _of_holder(held: Holder, machine: MachinePlace, *, child: RunStatus | None = None) -> Link:
    kind = held.kind if held.task_id is None else "paused" if held.paused else "waiting" if child else "working"
    label = "octowait itself" if kind == "rebuilding" else held.label
    remedy = _remedy(kind, held, machine)
    if child:
        remedy = f"{machine.name} is free when {held.task_id} has ended; it waits for its child {child.task_id}."
    note = closed_words(held.note) if kind == "rebuilding" else held.note
    return Link(
        kind, held.task_id, label, machine, held.since_ms, held.info.url, remedy,
        note=note, by=held.by, until_ms=held.until_ms,
    )  # fmt: skip


def _remedy(kind: str, held: Holder, machine: MachinePlace) -> str:
    match kind:
        case "reservation":
            end = "at the reservation's end, or " if held.until_ms else ""
            return f"{machine.name} is free {end}with: octowait unreserve {machine.id}"
        case "rebuilding":
            return "It grants again as soon as Octopus has told who runs where, or an operator says so."
        case "paused":
            return f"Somebody must answer the intervention of {held.task_id} in Octopus."
    if held.kind == "provisional":
        return (
            f"{machine.name} is presumed busy until it is known which machines {held.task_id} uses, or it has ended; "
            f"if it uses others: octowait force-release {held.task_id} --reason …"
        )
    if held.kind == "observed":
        return (
            f"{machine.name} is free when {held.task_id} has ended in Octopus; "
            "it had not asked octowait before it began."
        )
    return (
        f"{machine.name} is free when {held.task_id} has ended. "
        f"If it hangs: octowait force-release {held.task_id} --reason …"
    )


def _alternative_of(
    place: RunStatus, machines: tuple[MachinePlace, ...], foretell: Foretell, dropped: MachinePlace | None = None
) -> Alternative:
    stands = max((machine.place for machine in machines), default=0)
    blockers: dict[str, None] = {}
    for machine in machines:
        blockers |= {held.label: None for held in machine.holders}
        blockers |= {task: None for task in machine.ahead[:1] if not machine.holders}
    starts = all(machine.place == 1 and not machine.holders for machine in machines)
    return Alternative(
        place=stands, starts_now=starts, blocked_by=tuple(blockers)[:MOST_LINKS],
        passes=max(0, (place.place or 0) - stands), eta_ms=foretell(replace(place, machines=machines)), dropped=dropped,
    )  # fmt: skip
