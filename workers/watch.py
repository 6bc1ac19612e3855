"""The watch job: checks the holders that somebody waits for, with one request a space."""

from __future__ import annotations

from app.jobs import WATCH
from workers.context import current
from workers.reconcile import WATCH_SHARE, reconcile, requests_of

#: Seconds a request may wait for its turn: the next watch is about to come.
PATIENCE_SECONDS = 5.0


def run() -> None:
    """What RQ calls."""
    context = current.get()
    context.begin(WATCH)
    if context.octopus and (holders := context.board.watched()):
        spaces = requests_of(context.settings, WATCH_SHARE, context.settings.watch_seconds)
        reconcile(context, context.octopus.asking(urgent=True, patience=PATIENCE_SECONDS), holders, spaces=spaces)
