"""A board whose Redis a test may look into, and change behind its back."""

from __future__ import annotations

from app.coordination.board import Board
from app.coordination.registry import Registry
from app.history.estimates import Estimates
from app.store.connection import Client
from app.store.keys import Keys


class OpenBoard(Board):
    """What the board keeps to itself."""

    @property
    def client(self) -> Client:
        return self._client

    @property
    def keys(self) -> Keys:
        return self._keys

    def all_keys(self) -> list[bytes]:
        """The names of all keys of its namespace that there are."""
        return list(self._client.scan_iter(self._keys.runs.removesuffix("runs") + "*", count=10_000))


def estimates_on(board: OpenBoard) -> Estimates:
    """The ETAs of a process that has cached nothing."""
    return Estimates(board.client, board.keys, board.place, Registry(board.client, board.keys).runs)
