"""A chart of one machine as SVG: across in percent, so that it fits any width without a script; down in pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from markupsafe import Markup

from app.domain.attribution import Reason, Stretch
from app.domain.durations import words
from app.domain.intervals import Span
from app.domain.replay import Wait
from app.web.charts.track import COLUMNS, Clump, Track, ticks

#: Pixels: the axis, a row of holders, one of waits, the caption of a section, the number of waits over time.
AXIS, HOLD, WAIT, CAPTION, DEPTH = 20, 24, 16, 17, 60

#: Pixels between two rows.
GAP = 3

#: Percent of the width that the word above an overlap takes, on a phone, and lets to the one before it.
LABEL_ROOM = 16

#: Pixels of a letter, and of a chart as wide as a screen: what does not fit into a bar there is cut with an ellipsis.
LETTER, WIDTH = 6.4, 1200

#: Letters from which a cut label says anything.
LEAST_LETTERS = 5

#: Lines from waits to those they waited for; more would be a grey block.
MOST_EDGES = 400

_ENDED = {
    "step": "released by its step", "event": "its task ended", "reconciled": "its task was found to have ended",
    "forced": "taken away by an operator", "max_hold": "the longest hold that is allowed", "paused": "it paused",
    "uncollected": "its grant was not collected", "abandoned": "abandoned by Octopus",
}  # fmt: skip


@dataclass(frozen=True)
class Names:
    """What tasks and machines are called, and where their pages are (None: nowhere)."""

    labels: Mapping[str, str]
    machines: Mapping[str, str]
    link: Callable[[str], str | None]

    def of(self, task_id: str | None) -> str:
        """``Web 1.4.0 to Production``, or the task itself."""
        return (self.labels.get((task_id or "").lower()) or task_id) or ""

    def full(self, task_id: str | None) -> str:
        label = self.labels.get((task_id or "").lower())
        return f"{task_id} ({label})" if label else task_id or ""

    def machine(self, machine_id: str | None) -> str:
        return self.machines.get((machine_id or "").lower()) or machine_id or ""


def chart(track: Track, names: Names, *, key: str, by_blocker: bool = False) -> Markup:
    """The SVG of a track.

    Args:
        key: Makes the ids in it unique in the page.
        by_blocker: Waits are labelled with whom they were for; for a chart of one run.
    """
    return Markup("").join(_Chart(track, names, key, by_blocker).draw())


class _Chart:
    def __init__(self, track: Track, names: Names, key: str, by_blocker: bool) -> None:
        self._track, self._names, self._key, self._by_blocker = track, names, key, by_blocker
        self._window = track.window
        self._edges, self._y = 0, AXIS
        #: The bottom of the bars of those who hold, and the middle of those who wait, by task.
        self._held_at: dict[str, int] = {}
        self._waits_at: dict[str, int] = {}

    def draw(self) -> Iterator[Markup]:
        body = [*self._holders(), *self._reservations(), *self._waits()]
        height = self._y + 6
        yield Markup(
            '<svg class="gantt" width="100%" height="{}" role="group" aria-labelledby="{}-t {}-d" data-span-ms="{}" '
            'data-step-ms="{}">'
        ).format(height, self._key, self._key, self._window.span_ms, ticks(self._window)[1])
        yield Markup('<title id="{}-t">{}</title><desc id="{}-d">{}</desc>').format(
            self._key, f"Who held {self._names.machine(self._track.machine_id)}, and who waited", self._key,
            self.description,
        )  # fmt: skip
        yield Markup(
            '<defs><pattern id="{}-h" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
            '<path class="hatch" d="M1.5 0V6"/></pattern></defs><g class="plot">'
        ).format(self._key)
        yield from self._axis(height)
        yield from self._closures(height)
        yield from body
        yield from self._now(height)
        yield Markup("</g></svg>")

    @property
    def description(self) -> str:
        track, runs = self._track, "run" if self._track.held_count == 1 else "runs"
        return (
            f"From {utc(self._window.from_ms)} to {utc(self._window.to_ms)} UTC: {track.held_count:,} {runs} held it, "
            f"{track.wait_count:,} waited, {words(track.waited_ms)} in all. A table follows."
        )

    def _axis(self, height: int) -> Iterator[Markup]:
        marks, step = ticks(self._window)
        for number, at_ms in enumerate(marks):
            x = self._window.x(at_ms)
            form = "day" if step >= 86_400_000 or at_ms % 86_400_000 == 0 else "second" if step < 60_000 else "minute"
            yield Markup('<line class="grid" x1="{x}%" x2="{x}%" y1="{top}" y2="{height}"/>').format(
                x=x, top=AXIS - 4, height=height
            )
            yield Markup('<text class="tick{}{}" x="{}%" y="11" data-at-ms="{}">{}</text>').format(
                " odd" if number % 2 else "", _side(x), x, at_ms, _clock(at_ms, form)
            )

    def _closures(self, height: int) -> Iterator[Markup]:
        for span in self._track.closures:
            yield Markup('<g class="closed"><title>{}</title>{}</g>').format(
                f"Closed: nobody was granted, {self._when(span)}",
                self._rect(span.from_ms, span.to_ms, AXIS, height - AXIS, "closed-band"),
            )

    def _holders(self) -> Iterator[Markup]:
        self._y = AXIS + 2
        rows = self._track.hold_rows
        if rows or self._track.clumps or not self._by_blocker:
            yield from self._caption("Held by")
        for clump in self._track.clumps:
            yield Markup("<g><title>{}</title>{}</g>").format(
                f"{clump.count} runs, {self._when(clump)}: zoom in to see each",
                self._rect(clump.from_ms, clump.to_ms, self._y, HOLD, "clump"),
            )
        for row in rows:
            for number, hold in enumerate(row):
                yield self._hold(hold, number)
            self._y += HOLD + GAP
        if not rows and (self._track.clumps or not self._by_blocker):
            self._y += HOLD + GAP
        yield from self._overlaps(AXIS + 2 + CAPTION)

    def _overlaps(self, top: int) -> Iterator[Markup]:
        said = -float(LABEL_ROOM)
        for overlap in sorted(self._track.overlaps, key=lambda span: span.from_ms):
            x = self._window.x(overlap.from_ms)
            has_room = x - said >= LABEL_ROOM
            said = x if has_room else said
            yield Markup('<g class="overlap"><title>{}</title>{}{}</g>').format(
                f"Overlap: {self._names.full(overlap.task_id)} and {self._names.full(overlap.note)}, "
                f"{self._when(overlap)}",
                self._rect(overlap.from_ms, overlap.to_ms, top - 3, 4, "overlap-bar"),
                self._text(overlap.from_ms, top - 5, "overlap", "Overlap") if has_room else "",
            )  # fmt: skip

    def _hold(self, hold: Span, number: int) -> Markup:
        forced = " forced" if hold.cause == "forced" else ""
        what = {
            "lease": "held",
            "observed": "ran here without a wait step",
            "provisional": "had started and was presumed to use it",
        }[hold.kind]
        length = words(hold.to_ms - hold.from_ms)
        how = f", {_ENDED[hold.cause]}" if hold.cause in _ENDED else ""
        title = f"{self._names.full(hold.task_id)} {what} for {length}, {self._when(hold)}{how}"
        self._held_at[(hold.task_id or "").lower()] = self._y + HOLD
        return self._linked(
            hold.task_id, title, f"hold {hold.kind}{' odd' if number % 2 else ''}{forced}", hold.is_open,
            self._bar(hold.from_ms, hold.to_ms, self._y, HOLD, self._names.of(hold.task_id)),
        )  # fmt: skip

    def _reservations(self) -> Iterator[Markup]:
        if self._track.reservations:
            for span in self._track.reservations:
                title = f"Reserved for {words(span.to_ms - span.from_ms)}, {self._when(span)}: {span.note}"
                yield self._linked(
                    None, title, "reservation", span.is_open,
                    self._bar(span.from_ms, span.to_ms, self._y, WAIT + 2, f"Reserved: {span.note}"),
                )  # fmt: skip
            self._y += WAIT + 2 + GAP

    def _waits(self) -> Iterator[Markup]:
        if not self._track.wait_count:
            return
        self._y += GAP
        yield from self._caption("Waiting")
        rows = self._track.wait_rows
        if rows is None:
            yield from self._depth()
            return
        for row, number in ((row, number) for number, row in enumerate(rows)):
            for wait in row:
                self._waits_at[wait.task_id.lower()] = self._y + number * (WAIT + GAP) + WAIT // 2
        # From below, so that a line up to a holder passes behind the bars above its own.
        top = self._y
        for number in reversed(range(len(rows))):
            self._y = top + number * (WAIT + GAP)
            for wait in rows[number]:
                yield self._wait(wait)
        self._y = top + len(rows) * (WAIT + GAP)

    def _wait(self, wait: Wait) -> Markup:
        going_on = wait.outcome == "waiting"
        parts = Markup("").join(
            self._part(part, is_open=going_on and part is wait.stretches[-1]) for part in wait.stretches
        )  # fmt: skip
        edges = Markup("").join(edge for part in wait.stretches if (edge := self._edge(part)))
        return self._linked(
            wait.task_id, self._wait_title(wait), f"wait {wait.outcome}", False,
            edges + parts + self._wait_labels(wait),
        )  # fmt: skip

    def _part(self, part: Stretch, *, is_open: bool) -> Markup:
        name = self._class(part)
        drawn = self._rect(part.from_ms, part.to_ms, self._y, WAIT, f"part {name}", is_open=is_open)
        if name != Reason.AHEAD:
            return drawn
        # Two shades of one colour are told apart by few: one of them has a pattern, too.
        pattern = f"url(#{self._key}-h)"
        return drawn + self._rect(
            part.from_ms, part.to_ms, self._y, WAIT, "hatched", is_open=is_open, fill=pattern
        )  # fmt: skip

    def _wait_labels(self, wait: Wait) -> Markup:
        if not self._by_blocker:
            label = f"{self._names.of(wait.task_id)} · {words(wait.waited_ms)}"
            return self._label(wait.from_ms, wait.to_ms, self._y, WAIT, label)
        return Markup("").join(
            self._label(part.from_ms, part.to_ms, self._y, WAIT, self._for_whom(part)) for part in wait.stretches
        )

    def _for_whom(self, part: Stretch) -> str:
        if part.task_id:
            return f"for {self._names.of(part.task_id)}"
        return {Reason.RESERVATION: "for a reservation", Reason.REBUILDING: "while octowait was closed"}.get(
            part.reason, "for nobody known"
        )

    def _wait_title(self, wait: Wait) -> str:
        verb = "has been waiting for" if wait.outcome == "waiting" else "waited"
        lines = [f"{self._names.full(wait.task_id)} {verb} {words(wait.waited_ms)}"]
        for part in wait.stretches[:12]:
            lines.append(f"{words(part.to_ms - part.from_ms)}: {said(part, self._names)}")
        if len(wait.stretches) > 12:
            lines.append(f"and {len(wait.stretches) - 12} more")
        return "\n".join(lines)

    def _class(self, part: Stretch) -> str:
        is_here = not part.machine_id or part.machine_id.lower() == self._track.machine_id.lower()
        return str(part.reason) if is_here else "elsewhere"

    def _edge(self, part: Stretch) -> Markup | None:
        """A line from the wait up to the one who kept it waiting, where that one let it go."""
        if self._class(part) not in (Reason.HOLDER, Reason.AHEAD) or self._edges >= MOST_EDGES:
            return None
        at = self._held_at if part.reason is Reason.HOLDER else self._waits_at
        top = at.get((part.task_id or "").lower())
        if top is None or top >= self._y or part.to_ms >= self._window.until_ms:
            return None
        self._edges += 1
        x = self._window.x(part.to_ms)
        return Markup(
            '<line class="edge" x1="{x}%" x2="{x}%" y1="{top}" y2="{y}"/>'
            '<circle class="knot" cx="{x}%" cy="{top}" r="2"/>'
        ).format(x=x, top=top, y=self._y + 2)

    def _depth(self) -> Iterator[Markup]:
        depth = self._track.depth
        most = max(depth)
        path = f"M0 {DEPTH}" + "".join(f"V{DEPTH * (1 - n / most):.1f}h1" for n in depth) + f"V{DEPTH}Z"
        yield Markup(
            '<g class="depth"><title>{}</title><svg y="{}" width="100%" height="{}" viewBox="0 0 {} {}" '
            'preserveAspectRatio="none"><path d="{}"/></svg></g>'
        ).format(f"How many waited: up to {most}", self._y, DEPTH, COLUMNS, DEPTH, path)
        yield Markup('<text class="caption" x="0" y="{}">{}</text>').format(
            self._y - 5, f"Waiting: {self._track.wait_count:,} runs, up to {most} at a time"
        )
        self._y += DEPTH + GAP

    def _now(self, height: int) -> Iterator[Markup]:
        now = self._window.now_ms
        if self._window.from_ms <= now < self._window.to_ms:
            yield Markup('<line class="now" x1="{x}%" x2="{x}%" y1="{top}" y2="{height}"/>').format(
                x=self._window.x(now), top=AXIS - 6, height=height
            )

    # Parts

    def _caption(self, text: str) -> Iterator[Markup]:
        self._y += CAPTION
        if text != "Waiting" or self._track.wait_rows is not None:
            yield Markup('<text class="caption" x="0" y="{}">{}</text>').format(self._y - 5, text)

    def _linked(self, task_id: str | None, title: str, name: str, is_open: bool, inside: Markup) -> Markup:
        # Reached by pointer only: hundreds of stops would be no use to a keyboard, which has the table.
        link = self._names.link(task_id) if task_id else None
        head = Markup('<a class="{}"{} href="{}" tabindex="-1">') if link else Markup('<g class="{}"{}>')
        opened = head.format(name, Markup(' data-open=""') if is_open else "", *([link] if link else []))
        return Markup("{}<title>{}</title>{}</{}>").format(opened, title, inside, "a" if link else "g")

    def _bar(self, from_ms: int, to_ms: int, y: int, height: int, label: str) -> Markup:
        return self._rect(from_ms, to_ms, y, height, "bar") + self._label(from_ms, to_ms, y, height, label)

    def _rect(
        self, from_ms: int, to_ms: int, y: int, height: int, name: str, *, is_open: bool = False, fill: str = ""
    ) -> Markup:
        x = self._window.x(from_ms)
        # A bar that begins now is to be seen, too.
        width = round(max(0.12, self._window.x(to_ms) - x), 3)
        opened = Markup(' data-open=""') if is_open else ""
        filled = Markup(' fill="{}"').format(fill) if fill else ""
        return Markup('<rect class="{}" x="{}%" width="{}%" y="{}" height="{}"{}{}/>').format(
            name, x, width, y, height, filled, opened
        )

    def _label(self, from_ms: int, to_ms: int, y: int, height: int, text: str) -> Markup:
        x = self._window.x(from_ms)
        width = round(self._window.x(to_ms) - x, 3)
        text = _fitting(text, width)
        if not text:
            return Markup("")
        return Markup(
            '<svg class="{}" x="{}%" width="{}%" y="{}" height="{}"><text x="5" y="{}">{}</text></svg>'
        ).format("clipped" if width < 20 else "", x, width, y, height, height // 2 + 4, text)

    def _text(self, at_ms: int, y: int, name: str, text: str) -> Markup:
        return Markup('<text class="{}" x="{}%" y="{}">{}</text>').format(name, self._window.x(at_ms), y, text)

    def _when(self, span: Span | Clump) -> str:
        goes_on = isinstance(span, Span) and span.is_open
        return f"from {utc(span.from_ms)}" + (" on" if goes_on else f" to {utc(span.to_ms)}") + " UTC"


def _fitting(text: str, width: float) -> str:
    """As much of *text* as a bar of so many percent can show; nothing where that would say nothing."""
    letters = int((width * WIDTH / 100 - 8) / LETTER)
    if len(text) <= letters:
        return text
    return f"{text[: letters - 1].rstrip()}…" if letters >= LEAST_LETTERS else ""


def said(part: Stretch, names: Names) -> str:
    """Whom a stretch of a wait was for, in words."""
    where = names.machine(part.machine_id)
    match part.reason:
        case Reason.HOLDER:
            return f"{names.full(part.task_id)} held {where}"
        case Reason.AHEAD:
            return f"{names.full(part.task_id)} was ahead of it at {where} and waited for another machine"
        case Reason.RESERVATION:
            return f"{where} was reserved: {part.note}"
        case Reason.REBUILDING:
            return "octowait was finding out what runs where, and granted nobody"
        case _:
            return "nobody known"


def utc(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _side(x: float) -> str:
    """On which side of its line a mark has to stand to be seen whole: on a wide screen, or only on a phone."""
    if x < 10:
        return " left first" if x < 3 else " left"
    return "" if x <= 90 else " right last" if x > 97 else " right"


def _clock(at_ms: int, form: str) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime(
        {"day": "%-d %b", "minute": "%H:%M", "second": "%H:%M:%S"}[form]
    )
