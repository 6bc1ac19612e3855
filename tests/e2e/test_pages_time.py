"""Times on the pages are those of the clock on the reader's wall, in a real browser in three time zones."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.coordination.board import Board
from tests.conftest import Service
from tests.e2e.browser import Window

ZONES = ["America/Los_Angeles", "Europe/Berlin", "Asia/Kolkata"]

HOUR = 3_600_000

#: The browser has another spelling for some.
SPELLINGS = {"Asia/Kolkata": "Asia/Calcutta"}

#: Each mark of a chart with its text, its place, and whether its text is seen whole.
MARKS = """() => {
  const svg = document.querySelector("#chart .gantt"), box = svg.getBoundingClientRect();
  return Array.from(svg.querySelectorAll("text.tick"), (tick) => {
    const own = tick.getBoundingClientRect();
    return {text: tick.textContent, at: Number(tick.dataset.atMs), x: parseFloat(tick.getAttribute("x")),
            line: parseFloat(tick.previousElementSibling.getAttribute("x1")),
            whole: own.left >= box.left - 0.5 && own.right <= box.right + 0.5};
  });
}"""


def ms(*parts: int) -> int:
    return round(datetime(*parts, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc]


#: Windows of charts: what is shown, in UTC; in some of them the clocks of Berlin or of California are changed.
WINDOWS = {
    "a quarter": (ms(2026, 6, 10, 3, 7), 15 * 60_000),
    "an hour": (ms(2026, 6, 10, 22, 40), HOUR),
    "a day": (ms(2026, 6, 10, 5, 20), 24 * HOUR),
    "three days": (ms(2026, 6, 9, 23, 59), 72 * HOUR),
    "a week": (ms(2026, 6, 10, 12, 0), 7 * 24 * HOUR),
    "a month": (ms(2026, 5, 1, 18, 30), 30 * 24 * HOUR),
    "clocks put back in Berlin": (ms(2026, 10, 24, 12, 0), 24 * HOUR),
    "clocks put back in California": (ms(2026, 10, 31, 12, 0), 24 * HOUR),
    "clocks put forward in Berlin": (ms(2026, 3, 28, 12, 0), 48 * HOUR),
    "a week with a change": (ms(2026, 10, 22, 3, 0), 7 * 24 * HOUR),
}


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest) -> ZoneInfo:
    return ZoneInfo(request.param)


@pytest.fixture
def page(zone: ZoneInfo, window_of: Callable[..., Window], busy_board: Board, service: Service) -> Any:
    return window_of(timezone_id=zone.key).sign_in(service.tokens["admin"], "/machines/Machines-1")


def spelling(zone: ZoneInfo) -> str:
    return SPELLINGS.get(zone.key, zone.key)


def test_marks_of_charts_are_the_days_and_hours_of_the_reader(page: Any, zone: ZoneInfo, service: Service) -> None:
    for name, (begin, span) in WINDOWS.items():
        page.goto(f"{service.url}/machines/Machines-1?from_ms={begin}&to_ms={begin + span}")
        marks = page.evaluate(MARKS)

        assert 2 <= len(marks) <= 13, name
        for mark in marks:
            at = begin + span * mark["x"] / 100
            assert abs(at - mark["at"]) <= span / 10_000, (name, mark)
            assert mark["line"] == mark["x"] and mark["whole"], (name, mark)
            local = datetime.fromtimestamp(mark["at"] / 1000, zone)
            day = f"{local.day} {local:%b}"
            is_midnight = (local.hour, local.minute) == (0, 0)
            seconds = f"{local:%H:%M:%S}" if span < 9 * 60_000 else f"{local:%H:%M}"
            assert mark["text"] == (day if is_midnight else seconds), (name, mark, local)
        assert [mark["at"] for mark in marks] == sorted({mark["at"] for mark in marks}), name
        if span >= 7 * 24 * HOUR:
            assert all((t := datetime.fromtimestamp(m["at"] / 1000, zone)).hour == t.minute == 0 for m in marks), name


@pytest.mark.parametrize("span", ["15m", "1d", "7d", "30d", "90d"])
def test_no_range_ends_in_the_future(page: Any, zone: ZoneInfo, service: Service, span: str) -> None:
    for path in ("/machines/Machines-1", "/timeline", "/ledger"):
        page.goto(f"{service.url}{path}?span={span}")
        page.wait_for_selector("#connection[data-state=live]")
        begin, end = page.locator("#live p.small time").evaluate_all("all => all.slice(0, 2).map(e => e.textContent)")

        shown = [datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=zone) for text in (begin, end)]
        now = datetime.now(zone)
        assert shown[1] <= now + timedelta(seconds=1)
        assert now - shown[1] < timedelta(minutes=2)
        assert spelling(zone) in page.locator("[data-zone]").first.text_content()


def test_what_a_bar_says_when_pointed_at_is_in_the_same_time(page: Any, zone: ZoneInfo, service: Service) -> None:
    titles = page.locator("#chart title, #chart desc").all_text_contents()

    assert titles and not [title for title in titles if "UTC" in title]
    since = service.call("GET", "/api/runs/ServerTasks-1")[1]["granted_at_ms"]
    local = datetime.fromtimestamp(since // 1000, zone)
    assert any(f"from {local:%Y-%m-%d %H:%M:%S} on" in title for title in titles)


def test_a_reservation_ends_at_the_time_on_the_wall(page: Any, zone: ZoneInfo, service: Service) -> None:
    wanted = (datetime.now(zone) + timedelta(days=2)).replace(hour=18, minute=30, second=0, microsecond=0)

    page.get_by_text("Reserve this machine").click()
    assert spelling(zone) in page.locator("form [data-in-zone]").text_content()
    page.locator("form input[name=note]").fill("disk swap")
    page.locator("form input[name=until]").fill(f"{wanted:%Y-%m-%d %H:%M}")
    page.get_by_role("button", name="Reserve", exact=True).click()
    page.wait_for_selector("p.notice")

    reservation = service.call("GET", "/api/machines/Machines-1")[1]["reservation"]
    assert reservation["until_ms"] == round(wanted.timestamp() * 1000)
    assert f"{wanted:%Y-%m-%d %H:%M:%S}" in page.locator(".holders, #live").first.text_content()
