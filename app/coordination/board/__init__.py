"""The board: who waits for which machine, who holds it, and every change of that in one atomic step."""

from __future__ import annotations

from app.coordination.board.admission import AdmissionVerbs, Swept
from app.coordination.board.base import Policy
from app.coordination.board.observation import ObservationVerbs
from app.coordination.board.opening import OpeningVerbs
from app.coordination.board.parking import ParkingVerbs
from app.coordination.board.polls import Poll, StillWaits
from app.coordination.board.waits import WaitVerbs

__all__ = ["Board", "Policy", "Poll", "StillWaits", "Swept"]


class Board(WaitVerbs, ObservationVerbs, ParkingVerbs, OpeningVerbs, AdmissionVerbs):
    """Joins, polls, releases, observes and ends runs.

    Every method is one script on Redis unless it says otherwise. All raise `StoreError` when Redis cannot do it.
    """
