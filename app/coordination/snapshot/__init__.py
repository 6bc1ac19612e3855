"""Snapshots of the board: all machines, or some of them, who holds them, and who waits."""

from app.coordination.snapshot.read import count, machines_alone, take
from app.coordination.snapshot.shared import SharedSnapshot
from app.coordination.snapshot.values import Counts, Machine, Reservation, Snapshot, Waiter

__all__ = [
    "Counts", "Machine", "Reservation", "SharedSnapshot", "Snapshot", "Waiter", "count", "machines_alone", "take",
]  # fmt: skip
