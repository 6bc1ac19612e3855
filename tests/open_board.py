"""A board whose Redis a test may look into, and change behind its back."""

from __future__ import annotations

from app.coordination.board import Board
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
