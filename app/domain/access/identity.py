"""Identities: who asks as a step, whose a run is, and what the owner of a token may do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

#: What the names of owners begin with that Octopus has signed; no token can have a name with a colon.
SIGNED = "octopus"

#: The owner of all runs that were joined with tokens without limits. No token can have that name.
EVERYBODY = "*"


@dataclass(frozen=True)
class Limits:
    """What may be done with a token of the role step; ids in lower case, empty ones mean any.

    Args:
        max_priority: A higher wish is lowered to it.
        max_waiting: Runs of its owner that may wait at once; None for any number.
        families: Other owners whose runs its runs may name as their parents.
        max_new_machines: Machines that octowait has not known, which its runs may name on one day; None for any number.
        max_new_mb: Millions of bytes that its runs may add to Redis on one day; None for any number.
    """

    spaces: frozenset[str] = frozenset()
    projects: frozenset[str] = frozenset()
    max_priority: int = 0
    max_waiting: int | None = None
    families: frozenset[str] = frozenset()
    max_new_machines: int | None = None
    max_new_mb: int | None = None

    @property
    def is_priority_only(self) -> bool:
        """Whether nothing but the priority is limited."""
        return replace(self, max_priority=0) == Limits()


@dataclass(frozen=True)
class Identity:
    """Who asks. *owner* is None of an admin, who may do everything to every run."""

    owner: str | None
    limits: Limits = Limits()

    #: Of one that Octopus has signed for the run that asks: what it says, such as ``("project", "web")``, as slugs.
    signed: tuple[tuple[str, str], ...] = ()

    @property
    def is_signed(self) -> bool:
        return bool(self.signed)

    @property
    def is_admin(self) -> bool:
        return self.owner is None

    def lowered(self, priority: int) -> int:
        """The priority that it gets."""
        return priority if self.is_admin else min(priority, self.limits.max_priority)

    def objection(self, space_id: str | None, project_id: str | None) -> str | None:
        """Why it may not join a run of that space and project, as its step names them; None where it may."""
        for what, given, allowed in (
            ("space", space_id, self.limits.spaces), ("project", project_id, self.limits.projects),
        ):  # fmt: skip
            if allowed and (given or "").lower() not in allowed:
                return f"token {self.owner} is for {_listed(what, allowed)}: the run says {given or f'no {what}'}"
        return None

    def covers(
        self, space_id: str | None, project_id: str | None, slugs: Mapping[str, str] | None = None
    ) -> bool | None:  # fmt: skip
        """Whether its limits, or what was signed, are about that space and project; None where they do not say.

        A limit to a space says nothing for a run of it: it has other projects.
        """
        if self.signed and slugs:
            return all(slugs.get(key, value) == value for key, value in self.signed)
        for allowed, given in ((self.limits.projects, project_id), (self.limits.spaces, space_id)):
            if allowed and given and given.lower() not in allowed:
                return False
        return True if self.limits.projects and project_id else None


def signed_parts(owner: str, keys: Iterable[str]) -> dict[str, str]:
    """What was signed for an owner, by the keys of which its name is made; nothing of one that was not signed."""
    kind, _, words = owner.partition(":")
    return dict(zip(keys, words.split("/"), strict=False)) if kind == SIGNED and words else {}


class Verdict(StrEnum):
    """What comes of it that somebody asks about a run of another owner."""

    TAKE = "take"  #: it is his
    REFUSE = "refuse"  #: it is not his
    WAIT = "wait"  #: Octopus will say whose it is
    SHARE = "share"  #: nobody can say: both may act, and it is disputed


def verdict_on(
    asker: Identity, owners: Iterable[Identity], *, space_id: str | None, project_id: str | None, can_check: bool,
    slugs: Mapping[str, str] | None = None,
) -> Verdict:  # fmt: skip
    """Whose a run is that somebody asks about who is not its owner.

    Args:
        owners: What the tokens of its owner may; none where there are none any more.
        space_id: That of the run, as Octopus or an event of it says; so *project_id*. None where neither has said it.
        can_check: Octopus is about to be asked about it.
        slugs: Those of its space and its project, as Octopus has said.
    """
    mine = asker.covers(space_id, project_id, slugs)
    if mine is not None:
        return Verdict.TAKE if mine else Verdict.REFUSE
    others = [owner.covers(space_id, project_id, slugs) for owner in owners]
    if True in others:
        return Verdict.REFUSE
    if False in others:
        return Verdict.TAKE
    if project_id is None and can_check:
        return Verdict.WAIT
    if asker.is_signed and not any(owner.is_signed for owner in owners):
        return Verdict.TAKE
    return Verdict.SHARE


def _listed(what: str, ids: Iterable[str]) -> str:
    names = sorted(ids)
    return f"{what}{'s' if len(names) > 1 else ''} {', '.join(names[:5])}{' and others' if len(names) > 5 else ''}"
