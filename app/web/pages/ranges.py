"""The time range of a page, from its address: ``from_ms`` and ``to_ms``, or ``span``, which ends now."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from app.web.charts.track import Window

_UNITS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}

#: Spans that the pages offer.
SPANS = ("15m", "1h", "4h", "12h", "1d", "3d", "7d", "30d", "90d")

#: The shortest and the longest range, ms.
LEAST_MS, MOST_MS = 10_000, 400 * 86_400_000

#: A range that ends now moves on in steps of this share of it, so that it stays the same between two records; and of
#: this many ms at most, for nobody is shown a time that has not come.
STEP, MOST_STEP_MS = 50, 60_000

Query = dict[str, str]


@dataclass(frozen=True)
class Range:
    """A time range. *span* is its length if it ends now and moves on; None if it stands still."""

    window: Window
    span: str | None

    @classmethod
    def of(cls, args: Mapping[str, str], now_ms: int, *, default: str = "4h") -> Range:
        """The range of an address, or the default if it has none that can be read."""
        begin, end = _number(args.get("from_ms")), _number(args.get("to_ms"))
        if begin is not None and end is None:
            end = now_ms
        if begin is not None and end is not None and end > begin:
            return cls._fixed(begin, end, now_ms)
        span = args.get("span", default)
        return cls.following(span if span_ms(span) else default, now_ms)

    @classmethod
    def _fixed(cls, begin: int, end: int, now_ms: int) -> Range:
        length = min(MOST_MS, max(LEAST_MS, end - begin))
        begin = max(0, min(begin, 99_999_999_999_999))
        return cls(Window(begin, begin + length, now_ms), None)

    @classmethod
    def following(cls, span: str, now_ms: int) -> Range:
        length = span_ms(span) or _UNITS["h"]
        step = min(MOST_STEP_MS, max(1, length // STEP))
        end = (now_ms // step + 1) * step
        return cls(Window(end - length, end, now_ms), span)

    @property
    def params(self) -> Query:
        """The query of the address for this range."""
        if self.span:
            return {"span": self.span}
        return {"from_ms": str(self.window.from_ms), "to_ms": str(self.window.to_ms)}

    @property
    def narrower(self) -> Query:
        if self.span in SPANS[1:]:
            return {"span": SPANS[SPANS.index(self.span) - 1]}
        quarter = self.window.span_ms // 4
        return self._at(self.window.from_ms + quarter, self.window.to_ms - quarter)

    @property
    def wider(self) -> Query:
        if self.span in SPANS[:-1]:
            return {"span": SPANS[SPANS.index(self.span) + 1]}
        half = self.window.span_ms // 2
        return self._at(self.window.from_ms - half, self.window.to_ms + half)

    @property
    def earlier(self) -> Query:
        half = self.window.span_ms // 2
        return self._at(self.window.from_ms - half, self.window.to_ms - half)

    @property
    def later(self) -> Query:
        half = self.window.span_ms // 2
        return self._at(self.window.from_ms + half, self.window.to_ms + half)

    def _at(self, begin: int, end: int) -> Query:
        fixed = self._fixed(max(0, begin), end, self.window.now_ms)
        return fixed.params


def span_ms(span: str | None) -> int | None:
    """The milliseconds of ``15m``, ``4h`` or ``7d``; None if that is no span, or too short or too long."""
    match = re.match(r"^([1-9][0-9]{0,3})([mhd])\Z", span or "")
    length = int(match[1]) * _UNITS[match[2]] if match else 0
    return length if LEAST_MS <= length <= MOST_MS else None


def _number(text: str | None) -> int | None:
    return int(text) if text and re.match(r"^[0-9]{1,14}\Z", text) else None
