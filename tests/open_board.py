"""A board whose Redis a test may look into, and change behind its back."""

from __future__ import annotations

from app.coordination.board import Board
from app.coordination.registry import Registry
from app.history.estimates import Estimates
from app.store.connection import Client
from app.store.keys import Keys

DELETE_ALL = """
for _, key in ipairs(redis.call("KEYS", ARGV[1])) do
    redis.call("DEL", key)
end
"""


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
        return list(self._client.scan_iter(self._prefix() + "*", count=10_000))

    def lose_all(self) -> None:
        """Empty its namespace, as a Redis that comes up without its file.

        In one script: who asks between two keys that go would see a loss of a part, which Redis does not have.
        """
        self._client.eval(DELETE_ALL, 0, self._prefix() + "*")

    def _prefix(self) -> str:
        return self._keys.runs.removesuffix("runs")


def estimates_on(board: OpenBoard) -> Estimates:
    """The ETAs of a process that has cached nothing."""
    return Estimates(board.client, board.keys, board.place, Registry(board.client, board.keys).runs)
