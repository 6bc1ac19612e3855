"""The tokens that are valid now: those of the settings, and of TOKENS_FILE as it changes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from app.settings import BadSettings, Settings, read_tokens
from app.settings.values import Token

log = structlog.get_logger()

#: Seconds between two looks at TOKENS_FILE.
LOOK_SECONDS = 1.0


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class Tokens:
    """The tokens, found by digest: no comparison depends on how much of a guess is right.

    Args:
        read: What reads them anew; raises `BadSettings`.
        now: Seconds by a clock that never goes back.
    """

    def __init__(
        self, tokens: Sequence[Token], *, path: Path | None = None, read: Callable[[], Sequence[Token]] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._path = path
        self._read = read
        self._now = now
        self._state: object = _state_of(path)
        self._looked_at = now()
        self._take(tokens)

    @classmethod
    def of(cls, settings: Settings, *, now: Callable[[], float] = time.monotonic) -> Tokens:
        """Those of *settings*, read again when their file changes."""
        return cls(settings.tokens, path=settings.tokens_file, read=lambda: read_tokens(settings), now=now)

    def find(self, secret: str) -> Token | None:
        return self.find_digest(digest(secret))

    def find_digest(self, digest: str) -> Token | None:
        self._look()
        return self._by_digest.get(digest)

    def named(self, name: str) -> list[Token]:
        """The tokens of the role step with that name: several while they are rotated."""
        self._look()
        return [token for token in self._by_digest.values() if token.role == "step" and token.name == name]

    def _take(self, tokens: Sequence[Token]) -> None:
        self._by_digest = {digest(token.secret): token for token in tokens}

    def _look(self) -> None:
        """Read the file where it has changed. What cannot be read leaves the tokens as they are: a file that is half
        written must not turn every waiting step away.
        """
        if self._path is None or self._read is None or self._now() - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = self._now()
        state = _state_of(self._path)
        if state == self._state:
            return
        self._state = state
        try:
            tokens = self._read()
        except BadSettings as error:
            log.warning("the tokens were not read again, those of before stay valid", error=str(error))
            return
        self._take(tokens)
        log.info("the tokens were read again", names=sorted({f"{token.role}:{token.name}" for token in tokens}))


def _state_of(path: Path | None) -> object:
    try:
        state = path.stat() if path else None
    except OSError:
        return None
    return state and (state.st_mtime_ns, state.st_size, state.st_ino)
