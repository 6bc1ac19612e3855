"""The patches of gevent, by which whoever waits in a process lets the others go on."""

from __future__ import annotations

from importlib import metadata


def patch() -> None:
    """Patch the standard library; before anything that brings sockets or threads, which would keep what it has.

    Plugins of gevent are told as ever, but what packages there are is looked for once: gevent looks at each of its 25
    steps, which took longer than all its patches.
    """
    from gevent import monkey

    look = metadata.entry_points
    metadata.entry_points = look().select
    try:
        monkey.patch_all()
    finally:
        metadata.entry_points = look
