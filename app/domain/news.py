"""The news of a wait: a word that changes only when there is something new to tell its waiter."""

from __future__ import annotations

from hashlib import blake2b

from app.domain.status import RunStatus, in_the_way


def news_of(place: RunStatus) -> str:
    """A word for what `RunStatus.message` says: state, place, machine, holder and who is next.

    It stays the same while only time passes, and while only what is expected changes.
    """
    facts: list[object] = [str(place.state), place.reason]
    if place.is_waiting and not place.is_being_told and place.machines:
        worst, held = in_the_way(place)
        holder = held.holders[0] if held else None
        facts += [worst.id, worst.place, place.machines_count, held and held.id, worst.ahead[:1]]
        facts += [holder and (holder.kind, holder.label, holder.paused)]
    return blake2b(repr(facts).encode("utf-8", "replace"), digest_size=6).hexdigest()
