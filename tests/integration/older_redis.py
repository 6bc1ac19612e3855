"""A Redis that comes back older: the keys of one namespace as they were."""

from __future__ import annotations

from tests.open_board import OpenBoard


class Backup:
    """The keys of *board* now, to `restore` them later."""

    def __init__(self, board: OpenBoard) -> None:
        self._board = board
        self._keys = {key: board.client.dump(key) for key in board.all_keys()}

    def restore(self) -> None:
        """What was done since is lost."""
        if now := self._board.all_keys():
            self._board.client.delete(*now)
        for key, value in self._keys.items():
            self._board.client.restore(key, 0, value)
