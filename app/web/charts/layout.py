"""The layout of a chart: every bar, line and text of one machine's track with its place, for a template to draw.

Places across are percent of the width, so that a chart fits any width without a script; places down are pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from app.domain.analysis.fronts import Reason, Stretch
from app.domain.analysis.intervals import Span
from app.domain.analysis.replay import Wait
from app.domain.durations import format_duration, format_moment
from app.domain.wording import BLOCKERS, ENDS, HELD, Names, blocker
from app.web.charts.legend import keys_of
from app.web.charts.shapes import Box, Chart, Edge, Item, Text
from app.web.charts.track import Clump, Track, Window, ticks

#: Pixels: the axis, a row of holders, one of waits, one of reservations, the caption of a section, the graph of waits.
AXIS, HOLD, WAIT, RESERVED, CAPTION, DEPTH = 20, 24, 16, 18, 17, 60

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

#: Stretches of a wait that the title of its bar lists.
MOST_LISTED = 12


#: Where the page of a task is; None: nowhere.
LinkTo = Callable[[str], str | None]


def lay_out(track: Track, names: Names, link_to: LinkTo, *, by_blocker: bool = False) -> Chart:
    """The layout of *track*.

    Args:
        by_blocker: Waits are labelled with whom they were for; for a chart of one run.
    """
    return _Layout(track, names, link_to, by_blocker).chart()


class _Layout:
    def __init__(self, track: Track, names: Names, link_to: LinkTo, by_blocker: bool) -> None:
        self._track, self._names, self._link_to, self._by_blocker = track, names, link_to, by_blocker
        self._window = track.window
        self._y, self._edges_left = AXIS + 2, MOST_EDGES
        self._texts: list[Text] = []
        self._depth: tuple[str, int, str] | None = None
        #: The keys of the legend for what is drawn.
        self._drawn: set[str] = set()
        #: The bottom of the bars of those who hold, and the middle of those who wait, by task.
        self._held_at: dict[str, int] = {}
        self._waits_at: dict[str, int] = {}

    def chart(self) -> Chart:
        items = (*self._holders(), *self._reservations(), *self._waits())
        bands = (*self._closures(),)
        window, track = self._window, self._track
        marks, step = ticks(window)
        return Chart(
            f"Who held {self._names.machine(track.machine_id)}, and who waited",
            f"From {utc(window.from_ms)} to {utc(window.to_ms)} UTC: {_several(track.held_count, 'run')} held it, "
            f"{track.wait_count:,} waited, {format_duration(track.waited_ms)} in all. A table follows.",
            self._y + 6,
            step,
            tuple(_tick(window, number, at_ms, step) for number, at_ms in enumerate(marks)),
            (*bands, *items),
            self._depth,
            tuple(self._texts),
            keys_of(self._drawn),
        )

    def _closures(self) -> Iterator[Item]:
        for span in self._track.closures:
            self._drawn.add("closed")
            band = self._bar(span, self._y + 6 - AXIS, "closed-band", y=AXIS)
            yield Item("closed", f"Closed: nobody was granted, {_when(span)}", (band,))

    def _holders(self) -> Iterator[Item]:
        rows, clumps = self._track.hold_rows, self._track.clumps
        if rows or clumps or not self._by_blocker:
            self._caption("Held by")
        for clump in clumps:
            self._drawn.add("clump")
            title = f"{_several(clump.count, 'run')}, {_when(clump)}: zoom in to see each"
            yield Item("", title, (self._bar(clump, HOLD, "clump"),))
        for row in rows:
            for number, hold in enumerate(row):
                yield self._hold(hold, is_odd=number % 2 > 0)
            self._y += HOLD + GAP
        if not rows and (clumps or not self._by_blocker):
            self._y += HOLD + GAP
        yield from self._overlaps(AXIS + 2 + CAPTION)

    def _overlaps(self, top: int) -> Iterator[Item]:
        last_word = -float(LABEL_ROOM)
        for overlap in sorted(self._track.overlaps, key=lambda span: span.from_ms):
            x = self._window.x(overlap.from_ms)
            if x - last_word >= LABEL_ROOM:
                self._texts.append(Text("overlap", x, top - 5, "Overlap"))
                last_word = x
            runs = f"{self._names.run(overlap.task_id or '')} and {self._names.run(overlap.note or '')}"
            self._drawn.add("overlap")
            bar = self._bar(overlap, 4, "overlap-bar", y=top - 3)
            yield Item("overlap", f"Overlap: {runs}, {_when(overlap)}", (bar,))

    def _hold(self, hold: Span, *, is_odd: bool) -> Item:
        task = hold.task_id or ""
        self._held_at[task.lower()] = self._y + HOLD
        self._drawn |= {hold.kind, *({"forced"} if hold.cause == "forced" else ())}
        how = f", {ENDS[hold.cause]}" if hold.cause in ENDS else ""
        length = format_duration(hold.to_ms - hold.from_ms)
        return Item(
            f"hold {hold.kind}{' odd' if is_odd else ''}{' forced' if hold.cause == 'forced' else ''}",
            f"{self._names.run(task)} {HELD[hold.kind]} for {length}, {_when(hold)}{how}",
            (self._bar(hold, HOLD, "bar"), *self._label(hold, HOLD, self._run(task))),
            is_open=hold.is_open,
            link=self._link_to(task) if task else None,
        )

    def _reservations(self) -> Iterator[Item]:
        for span in self._track.reservations:
            title = f"Reserved for {format_duration(span.to_ms - span.from_ms)}, {_when(span)}: {span.note}"
            self._drawn.add("reservation")
            label = self._label(span, RESERVED, f"Reserved: {span.note}")
            yield Item("reservation", title, (self._bar(span, RESERVED, "bar"), *label), is_open=span.is_open)
        if self._track.reservations:
            self._y += RESERVED + GAP

    def _waits(self) -> Iterator[Item]:
        if not self._track.wait_count:
            return
        self._y += GAP
        rows = self._track.wait_rows
        if rows is None:
            self._lay_out_depth()
            return
        self._caption("Waiting")
        yield from self._short_waits()
        top = self._y
        for number, row in enumerate(rows):
            middle = top + number * (WAIT + GAP) + WAIT // 2
            self._waits_at.update((wait.task_id.lower(), middle) for wait in row)
        # From below, so that a line up to a holder passes behind the bars above its own.
        for number in reversed(range(len(rows))):
            self._y = top + number * (WAIT + GAP)
            for wait in rows[number]:
                yield self._wait(wait)
        self._y = top + len(rows) * (WAIT + GAP)

    def _short_waits(self) -> Iterator[Item]:
        """Those too short to be drawn one by one, in a row of their own: none that is counted stays unseen."""
        clumps = self._track.wait_clumps
        for clump in clumps:
            self._drawn.add("short-waits")
            title = f"{_several(clump.count, 'run')} waited, {_when(clump)}: zoom in to see each"
            yield Item("", title, (self._bar(clump, WAIT, "short-waits"),))
        self._y += WAIT + GAP if clumps else 0

    def _wait(self, wait: Wait) -> Item:
        boxes: list[Box] = []
        for part in wait.stretches:
            name = self._class(part)
            self._drawn.add("for-reservation" if name == Reason.RESERVATION else name)
            is_open = wait.outcome == "waiting" and part is wait.stretches[-1]
            boxes.append(self._bar(part, WAIT, f"part {name}", is_open=is_open))
            if name == Reason.AHEAD:
                # Two shades of one colour are told apart by few: one of them has a pattern, too.
                boxes.append(self._bar(part, WAIT, "hatched", is_open=is_open))
        edges = tuple(edge for part in wait.stretches if (edge := self._edge(part)))
        return Item(
            f"wait {wait.outcome}", self._wait_title(wait), (*boxes, *self._wait_labels(wait)), edges,
            link=self._link_to(wait.task_id),
        )  # fmt: skip

    def _wait_labels(self, wait: Wait) -> Iterator[Box]:
        if not self._by_blocker:
            yield from self._label(wait, WAIT, f"{self._run(wait.task_id)} · {format_duration(wait.waited_ms)}")
            return
        for part in wait.stretches:
            yield from self._label(part, WAIT, self._for_whom(part))

    def _for_whom(self, part: Stretch) -> str:
        return f"for {self._run(part.task_id) if part.task_id else BLOCKERS[part.reason]}"

    def _wait_title(self, wait: Wait) -> str:
        verb = "has been waiting for" if wait.outcome == "waiting" else "waited"
        lines = [f"{self._names.run(wait.task_id)} {verb} {format_duration(wait.waited_ms)}"]
        for part in wait.stretches[:MOST_LISTED]:
            lines.append(f"{format_duration(part.to_ms - part.from_ms)}: {blocker(part, self._names)}")
        if len(wait.stretches) > MOST_LISTED:
            lines.append(f"and {len(wait.stretches) - MOST_LISTED} more")
        return "\n".join(lines)

    def _class(self, part: Stretch) -> str:
        here = self._track.machine_id.lower()
        is_here = not part.machine_id or here in map(str.lower, (part.machine_id, *part.also))
        return str(part.reason) if is_here else "elsewhere"

    def _edge(self, part: Stretch) -> Edge | None:
        if self._class(part) not in (Reason.HOLDER, Reason.AHEAD) or not self._edges_left:
            return None
        at = self._held_at if part.reason is Reason.HOLDER else self._waits_at
        top = at.get((part.task_id or "").lower())
        if top is None or top >= self._y or part.to_ms >= self._window.until_ms:
            return None
        self._edges_left -= 1
        self._drawn.add("edge")
        return Edge(self._window.x(part.to_ms), top, self._y + 2)

    def _lay_out_depth(self) -> None:
        depth = self._track.depth
        most = max(depth)
        self._drawn.add("depth")
        self._caption(f"Waiting: {_several(self._track.wait_count, 'run')}, up to {most} at a time")
        path = f"M0 {DEPTH}" + "".join(f"V{DEPTH * (1 - n / most):.1f}h1" for n in depth) + f"V{DEPTH}Z"
        self._depth = (f"How many waited: up to {most}", self._y, path)
        self._y += DEPTH + GAP

    def _caption(self, text: str) -> None:
        self._y += CAPTION
        self._texts.append(Text("caption", 0, self._y - 5, text))

    def _bar(
        self, span: Span | Clump | Stretch, height: int, name: str, *, y: int | None = None, is_open: bool = False
    ) -> Box:
        x = self._window.x(span.from_ms)
        # A bar that begins now is to be seen, too.
        width = round(max(0.12, self._window.x(span.to_ms) - x), 3)
        return Box(x, width, self._y if y is None else y, height, name, is_open=is_open)

    def _label(self, span: Span | Wait | Stretch, height: int, text: str) -> tuple[Box, ...]:
        x = self._window.x(span.from_ms)
        width = round(self._window.x(span.to_ms) - x, 3)
        text = _fitting(text, width)
        return (Box(x, width, self._y, height, text=text),) if text else ()

    def _run(self, task_id: str) -> str:
        """``Web 1.4.0 to Production``, or the task itself."""
        return self._names.label(task_id) or task_id


def _fitting(text: str, width: float) -> str:
    """As much of *text* as a bar of so many percent can show; nothing where that would say nothing."""
    letters = int((width * WIDTH / 100 - 8) / LETTER)
    if len(text) <= letters:
        return text
    return f"{text[: letters - 1].rstrip()}…" if letters >= LEAST_LETTERS else ""


def _tick(window: Window, number: int, at_ms: int, step: int) -> Text:
    x = window.x(at_ms)
    form = "%-d %b" if step >= 86_400_000 or at_ms % 86_400_000 == 0 else "%H:%M:%S" if step < 60_000 else "%H:%M"
    text = datetime.fromtimestamp(at_ms / 1000, UTC).strftime(form)
    return Text(f"tick{' odd' if number % 2 else ''}{_side(x)}", x, 11, text, at_ms)


def _side(x: float) -> str:
    """On which side of its line a mark has to stand to be seen whole: on a wide screen, or only on a phone."""
    if x < 10:
        return " left first" if x < 3 else " left"
    return "" if x <= 90 else " right last" if x > 97 else " right"


def _several(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _when(span: Span | Clump) -> str:
    goes_on = isinstance(span, Span) and span.is_open
    return f"from {utc(span.from_ms)}" + (" on" if goes_on else f" to {utc(span.to_ms)}") + " UTC"


def utc(at_ms: int) -> str:
    return format_moment(at_ms)
