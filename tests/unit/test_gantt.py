"""What a chart keeps of a past, how it is drawn, and which part of time a page shows."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.analysis.fronts import Reason, Stretch
from app.domain.analysis.intervals import Span
from app.domain.analysis.replay import Wait
from app.domain.wording import Names
from app.web.charts.layout import AXIS, CAPTION, HOLD, lay_out
from app.web.charts.legend import MEANINGS
from app.web.charts.shapes import Box
from app.web.charts.svg import chart
from app.web.charts.track import COLUMNS, MOST_ROWS, Track, Window, rows, ticks
from app.web.pages.ranges import LEAST_MS, SPANS, Range, span_ms

HOUR = 3_600_000
WINDOW = Window(0, 6 * HOUR, 5 * HOUR)
NAMES = Names()


def link_to(task: str) -> str:
    return f"/runs/{task}"


def a_hold(begin: int, end: int, *, task: str = "ServerTasks-1", **fields) -> Span:
    return Span("lease", task, 1, ("Machines-1",), begin, end, **fields)


def a_wait(begin: int, end: int, *, task: str = "ServerTasks-2", outcome: str = "granted", parts=None) -> Wait:
    parts = parts or (Stretch(begin, end, Reason.HOLDER, "Machines-1", "ServerTasks-1"),)
    return Wait(task, 1, ("Machines-1",), None, None, begin, end, outcome, None, False, parts)


def a_track(*told, window: Window = WINDOW) -> Track:
    track = Track(window, "Machines-1")
    for one in told:
        track.add(one)
    return track


def drawn(track: Track, names: Names = NAMES) -> ElementTree.Element:
    return ElementTree.fromstring(chart(track, names, link_to, key="c"))


def of_class(svg: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [element for element in svg.iter() if name in (element.get("class") or "").split()]


def test_ten_thousand_short_holds_are_a_few_clumps():
    step = 6 * HOUR // 10_000
    track = a_track(*(a_hold(n * step, n * step + 1000, task=f"ServerTasks-{n}") for n in range(10_000)))

    assert track.held_count == 10_000
    assert track.holds == []
    assert sum(clump.count for clump in track.clumps) == 10_000
    assert len(track.clumps) <= COLUMNS
    assert len(chart(track, NAMES, link_to, key="c")) < 10_000


def test_short_hold_that_goes_on_is_drawn():
    track = a_track(a_hold(5 * HOUR - 10, 5 * HOUR, is_open=True))

    [bar] = of_class(drawn(track), "hold")
    assert bar.get("data-open") is not None
    assert float(bar[1].get("width", "").rstrip("%")) > 0


def test_what_is_outside_of_the_window_is_left_out():
    track = a_track(a_hold(-2 * HOUR, -HOUR), a_hold(7 * HOUR, 8 * HOUR), a_wait(-2 * HOUR, -1))

    assert (track.held_count, track.wait_count) == (0, 0)


def test_bar_that_began_before_the_window_begins_at_its_edge():
    svg = drawn(a_track(a_hold(-HOUR, 3 * HOUR)))

    [bar] = of_class(svg, "bar")
    assert (bar.get("x"), bar.get("width")) == ("0.0%", "50.0%")


def test_layout_says_where_a_bar_and_its_text_are():
    [item] = lay_out(a_track(a_hold(HOUR, 4 * HOUR)), NAMES, link_to).items

    place = {"x": 16.667, "width": 50.0, "y": AXIS + 2 + CAPTION, "height": HOLD}
    assert item.boxes == (Box(**place, name="bar"), Box(**place, text="ServerTasks-1"))
    assert (item.name, item.link, item.is_open) == ("hold lease", "/runs/ServerTasks-1", False)


def test_only_the_part_of_a_wait_in_the_window_counts():
    assert a_track(a_wait(-HOUR, HOUR)).waited_ms == HOUR


def test_run_that_did_not_wait_has_no_bar_of_waiting():
    assert a_track(a_wait(HOUR, HOUR)).wait_count == 0


def test_rows_never_have_two_at_a_time_and_are_as_few_as_need_be():
    items = [a_hold(0, 10), a_hold(5, 15), a_hold(10, 20), a_hold(15, 25), a_hold(3, 4)]

    found = list(rows(items))

    assert [[(item.from_ms, item.to_ms) for item in row] for row in found] == [
        [(0, 10), (10, 20)],
        [(3, 4), (5, 15), (15, 25)],
    ]


def test_more_waits_than_rows_are_told_as_their_number():
    waits = [a_wait(HOUR + n, 2 * HOUR, task=f"ServerTasks-{n}") for n in range(MOST_ROWS + 1)]
    track = a_track(*waits)

    assert track.wait_rows is None
    assert max(track.depth) == MOST_ROWS + 1
    assert track.depth[0] == track.depth[-1] == 0
    assert of_class(drawn(track), "wait") == []
    assert len(of_class(drawn(track), "depth")) == 1


def test_wait_is_joined_to_the_one_who_kept_it_waiting_where_that_one_went():
    parts = (
        Stretch(HOUR, 2 * HOUR, Reason.HOLDER, "Machines-1", "ServerTasks-1"),
        Stretch(2 * HOUR, 3 * HOUR, Reason.HOLDER, "Machines-9", "ServerTasks-7"),
    )
    svg = drawn(a_track(a_hold(0, 2 * HOUR), a_wait(HOUR, 3 * HOUR, parts=parts)))

    [edge] = of_class(svg, "edge")
    assert edge.get("x1") == f"{round(100 * 2 / 6, 3)}%"
    assert len(of_class(svg, "elsewhere")) == 1


def test_text_of_people_is_text():
    evil = '<script>alert("1")</script>'
    span = Span("reservation", None, 0, ("Machines-1",), HOUR, 2 * HOUR, note=evil)
    names = Names({"servertasks-1": f"ServerTasks-1 ({evil})"}, {"machines-1": evil})
    svg = chart(a_track(span, a_hold(0, HOUR)), names, str, key="c")

    assert "<script" not in svg
    assert "&lt;script&gt;" in svg


def test_overlap_and_closed_board_are_marked():
    overlap = Span("overlap", "ServerTasks-2", 1, ("Machines-1",), HOUR, 2 * HOUR, note="ServerTasks-1")
    closed = Span("closed", None, 0, (), 3 * HOUR, 4 * HOUR)
    svg = drawn(a_track(a_hold(0, 2 * HOUR), a_hold(HOUR, 2 * HOUR, task="ServerTasks-2"), overlap, closed))

    assert "ServerTasks-2 and ServerTasks-1" in (of_class(svg, "overlap")[0][0].text or "")
    assert "Closed" in (of_class(svg, "closed")[0][0].text or "")
    assert len({bar.get("y") for bar in of_class(svg, "bar")}) == 2


def test_words_above_overlaps_stand_beside_each_other():
    overlaps = [Span("overlap", f"ServerTasks-{n}", 1, ("Machines-1",), n * 60_000, n * 60_000 + 1) for n in range(60)]
    svg = drawn(a_track(a_hold(0, 2 * HOUR), *overlaps))

    words = [float((text.get("x") or "").rstrip("%")) for text in of_class(svg, "overlap") if text.tag.endswith("text")]
    assert len(of_class(svg, "overlap-bar")) == 60
    assert words and all(later - one >= 16 for one, later in pairwise(words))


@pytest.mark.parametrize(
    ("minutes", "label"), [(60, "Web 1.4.0 to Production"), (15, "Web 1…"), (6, None)], ids=["whole", "cut", "none"]
)
def test_label_is_cut_where_its_bar_is_too_short(minutes, label):
    names = Names({"servertasks-1": "ServerTasks-1 (Web 1.4.0 to Production)"})
    svg = drawn(a_track(a_hold(0, minutes * 60_000)), names)

    [bar] = of_class(svg, "hold")
    assert [text.text for text in bar.iter() if text.tag.endswith("text")] == ([label] if label else [])


def test_wait_for_one_ahead_is_told_by_a_pattern_too():
    ahead, holder = (
        Stretch(0, HOUR, reason, "Machines-1", "ServerTasks-9") for reason in (Reason.AHEAD, Reason.HOLDER)
    )
    for stretch, patterns in ((ahead, 1), (holder, 0)):
        svg = drawn(a_track(a_wait(0, HOUR, parts=(stretch,))))
        assert len([rect for rect in of_class(svg, "hatched") if rect.get("fill") == "url(#c-h)"]) == patterns


def test_marks_at_the_edges_stand_inside():
    window = Window(0, 4 * HOUR, 4 * HOUR)
    marks = of_class(drawn(Track(window, "Machines-1")), "tick")

    assert "first" in (marks[0].get("class") or "") and "first" not in (marks[1].get("class") or "")


@pytest.mark.parametrize("span", [10_000, 60_000, HOUR, 24 * HOUR, 30 * 24 * HOUR, 400 * 24 * HOUR])
def test_axis_has_a_few_marks_at_round_times(span):
    marks, step = ticks(Window(1_763_838_123_456, 1_763_838_123_456 + span, 0))

    assert 2 <= len(marks) <= 10
    assert all(mark % step == 0 for mark in marks)


def asked(**args: str) -> Range:
    return Range.of(args, 100 * 24 * HOUR + 12345)


@pytest.mark.parametrize("span", SPANS)
def test_range_that_follows_ends_at_now_and_stays_the_same_for_a_while(span):
    now = 100 * 24 * HOUR
    step = min(60_000, span_ms(span) // 50)
    first, second = (Range.of({"span": span}, now + n).window for n in (1, step - 1))

    assert (first.from_ms, first.to_ms) == (second.from_ms, second.to_ms)
    assert now < first.to_ms <= now + 60_000, "nobody is shown a time that has not come"
    assert first.span_ms == span_ms(span)


def test_a_run_that_holds_this_machine_too_is_no_other_machine():
    """Ids are sorted as text: the stretch is named after Machines-10, though Machines-9 is busy for the same run."""
    parts = (Stretch(HOUR, 2 * HOUR, Reason.HOLDER, "Machines-10", "ServerTasks-1", also=("machines-1",)),)

    chart = lay_out(a_track(a_wait(HOUR, 2 * HOUR, parts=parts)), NAMES, link_to)

    assert "holder" in chart.legend and "elsewhere" not in chart.legend


@pytest.mark.parametrize("days", [1, 7, 30, 90])
def test_every_wait_that_is_counted_is_drawn(days):
    """However short for the window: by itself, in a clump, or as a part of the graph of how many waited."""
    window = Window(0, days * 24 * HOUR, days * 24 * HOUR)
    waits = [a_wait(n * HOUR, n * HOUR + 90_000, task=f"ServerTasks-{n}") for n in range(3, 15, 4)]

    track = a_track(*waits, window=window)
    chart = lay_out(track, NAMES, link_to)

    drawn_one_by_one = sum(item.name.startswith("wait ") for item in chart.items)
    assert drawn_one_by_one + sum(clump.count for clump in track.wait_clumps) == track.wait_count == 3
    assert chart.legend and set(chart.legend) & {"holder", "short-waits"}


CLASSES = {
    "lease": "hold lease", "observed": "hold observed", "provisional": "hold provisional", "holder": "part holder",
    "ahead": "part ahead", "elsewhere": "part elsewhere", "for-reservation": "part reservation",
    "rebuilding": "part rebuilding", "nobody": "part nobody", "clump": "clump", "short-waits": "short-waits",
    "overlap": "overlap-bar", "closed": "closed-band", "edge": "edge", "forced": "forced", "reservation": "reservation",
}  # fmt: skip


@settings(deadline=None)  # What else runs here is not the matter.
@given(
    holds=st.lists(st.tuples(st.sampled_from(["lease", "observed", "provisional"]), st.integers(0, 300)), max_size=4),
    parts=st.lists(st.sampled_from(list(Reason)), max_size=4), where=st.sampled_from(["Machines-1", "Machines-2"]),
    others=st.sets(st.sampled_from(["reservation", "overlap", "closed"])), wait_s=st.sampled_from([1, 3600]),
)  # fmt: skip
def test_the_legend_has_what_is_drawn_and_nothing_else(holds, parts, where, others, wait_s):
    told = [Span(kind, f"ServerTasks-{n}", 1, ("Machines-1",), n * HOUR, n * HOUR + minutes * 60_000)
            for n, (kind, minutes) in enumerate(holds)]  # fmt: skip
    told += [Span(kind, "ServerTasks-1", 1, ("Machines-1",), HOUR, 2 * HOUR, note="x") for kind in sorted(others)]
    for number, reason in enumerate(parts):
        part = Stretch(HOUR, HOUR + wait_s * 1000, reason, where, "ServerTasks-1")
        told.append(a_wait(HOUR, HOUR + wait_s * 1000, task=f"ServerTasks-9{number}", parts=(part,)))
    track = a_track(*told)

    layout = lay_out(track, NAMES, link_to)

    text = chart(track, NAMES, link_to, key="c")
    drawn_classes = {name for value in re.findall(r'class="([^"]+)"', text) for name in [value, *value.split()]}
    found = {
        key for key, names in CLASSES.items()
        if any(set(names.split()) <= set(value.split()) for value in drawn_classes)
        and not (key == "reservation" and not track.reservations)
    }  # fmt: skip
    assert set(layout.legend) - {"depth"} == found
    assert set(MEANINGS) >= set(layout.legend)


@pytest.mark.parametrize(
    "args",
    [
        {}, {"span": "x"}, {"span": "999999d"}, {"from_ms": "-1", "to_ms": "5"}, {"from_ms": "5", "to_ms": "4"},
        {"from_ms": "9" * 30, "to_ms": "4"}, {"to_ms": "5"}, {"from_ms": "1e3", "to_ms": "2e3"}, {"span": "٣h"},
    ],
)  # fmt: skip
def test_address_that_cannot_be_read_is_the_default(args):
    assert Range.of(args, 100 * 24 * HOUR).span == "4h"


def test_zooming_in_and_out_again_leads_back():
    fixed = asked(from_ms="1000000000", to_ms=str(1_000_000_000 + 8 * HOUR))

    assert asked(**asked(**fixed.narrower).wider).params == fixed.params
    assert asked(**asked(**fixed.earlier).later).params == fixed.params
    assert asked(span="1h").narrower == {"span": "15m"}
    assert asked(span="1h").wider == {"span": "4h"}


def test_range_never_gets_too_small_or_negative():
    small = asked(from_ms="0", to_ms="3")
    assert small.window.span_ms == LEAST_MS
    assert asked(**small.narrower).window.span_ms == LEAST_MS
    assert small.earlier["from_ms"] == "0"


@pytest.mark.parametrize(("text", "ms"), [("15m", 900_000), ("4h", 4 * HOUR), ("7d", 7 * 24 * HOUR)])
def test_span_in_words(text, ms):
    assert span_ms(text) == ms


def test_chart_is_well_formed_and_says_what_it_shows():
    svg = drawn(a_track(a_hold(0, HOUR), a_wait(0, HOUR)))

    ids = [element.get("id") for element in svg.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    assert re.search("1 run held it, 1 waited, 1 h in all", "".join(svg.itertext()))
