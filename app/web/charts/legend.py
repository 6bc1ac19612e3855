"""The legend of a chart: a key for each kind of thing that is drawn in it."""

from __future__ import annotations

from collections.abc import Collection

#: What the things in a chart mean, by their class in the style sheet, in the order of the legend.
MEANINGS = {
    "lease": "held",
    "observed": "held without a wait step",
    "provisional": "presumed to be held",
    "clump": "several that are short",
    "reservation": "reserved",
    "holder": "waits for the holder",
    "ahead": "for one ahead of it",
    "elsewhere": "for another machine",
    "for-reservation": "for a reservation",
    "rebuilding": "for octowait itself",
    "nobody": "not on record for whom",
    "short-waits": "several short waits",
    "depth": "how many waited",
    "edge": "ended when that one let go",
    "forced": "released by an operator",
    "overlap": "two at once",
    "closed": "octowait closed",
}


def keys_of(drawn: Collection[str]) -> tuple[str, ...]:
    """The keys of what is *drawn*, in the order of the legend."""
    return tuple(key for key in MEANINGS if key in drawn)
