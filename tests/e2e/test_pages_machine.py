"""The page of one machine: its chart, zoom and pan, its forms."""

from __future__ import annotations

import re
import time
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect

from app.domain.run import RunRequest
from app.followers.learner import Learner
from tests.conftest import TOKENS, eventually
from tests.e2e.boards import TTL, join, write_past
from tests.e2e.browser import keep_screenshot, serious_findings

VIEWER, ADMIN = TOKENS["viewer"], TOKENS["admin"]
PAGE = "/machines/Machines-1"

#: Of a chart: its marks, each with its text and place, the places of their lines, and the time range in ms.
MARKS = """chart => [
  [...chart.querySelectorAll(".tick")].map(mark => [mark.textContent, parseFloat(mark.getAttribute("x"))]),
  [...chart.querySelectorAll(".grid")].map(line => parseFloat(line.getAttribute("x1"))),
  Number(chart.dataset.fromMs), Number(chart.dataset.toMs),
]"""


@pytest.fixture
def past_board(board, clock):
    write_past(board, clock)
    return board


@pytest.fixture
def service(past_board, make_service, request):
    return make_service(**getattr(request, "param", {}))


def test_chart_shows_who_held_and_who_waited_for_whom(past_board, window, tmp_path):
    page = window.sign_in(VIEWER, PAGE + "?span=12h")
    chart = page.locator("#chart")

    expect(chart.locator("a.hold")).to_have_count(4)
    expect(chart.locator(".hold title").first).to_have_text(
        re.compile(r"ServerTasks-1 \(Web 1.4.0 to Production\) held for 30 min, from .* its release step ran")
    )
    expect(chart.locator(".hold.forced title")).to_contain_text("an operator released it")
    expect(chart.locator(".reservation title")).to_contain_text("Reserved for 30 min")
    waited = chart.locator(".wait", has_text="Portal").locator("title")
    expect(waited).to_contain_text("ServerTasks-3 (Portal 1.4.0 to Staging) waited 35 min")
    expect(waited).to_contain_text("15 min: ServerTasks-1 (Web 1.4.0 to Production) held web-01")
    expect(waited).to_contain_text("20 min: ServerTasks-2 (Api 1.4.0 to Production) held web-01")
    expect(chart.locator(".wait.waiting title")).to_contain_text("ServerTasks-5")
    expect(chart.locator(".edge")).to_have_count(3)
    expect(chart.locator(".now")).to_have_count(1)
    keep_screenshot(page, "machine", tmp_path)


def test_chart_is_the_same_from_a_checkpoint(past_board, window):
    learner = Learner(past_board.client, past_board.keys, checkpoint_every=3)
    while learner.learn(most=3):
        pass
    page = window.sign_in(VIEWER, PAGE + "?span=4h")

    chart = page.locator("#chart")
    expect(chart.locator("a.hold")).to_have_count(4)
    expect(chart.locator(".wait", has_text="Portal").locator("title")).to_contain_text(
        "20 min: ServerTasks-2 (Api 1.4.0 to Production) held web-01"
    )


def test_bar_leads_to_its_run_and_a_drag_does_not(window):
    page = window.sign_in(VIEWER, PAGE + "?span=12h")
    window.wait_until_live()
    bar = page.locator("#chart a.hold rect").nth(1)
    box = bar.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 8)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 8, steps=4)
    page.mouse.up()
    page.wait_for_url(re.compile("from_ms="))
    assert page.url.startswith(window.url + PAGE)

    bar.click()
    page.wait_for_url(window.url + "/runs/ServerTasks-2")


def test_what_goes_on_grows_and_a_release_shows_without_reload(past_board, clock, window):
    page = window.sign_in(VIEWER, PAGE + "?span=15m")
    window.wait_until_live()
    bar = page.locator("#chart .hold[data-open] > rect")
    before = float((bar.get_attribute("width") or "").rstrip("%"))
    eventually(lambda: float((bar.get_attribute("width") or "").rstrip("%")) > before)

    past_board.release("ServerTasks-4")

    expect(page.locator("#chart .hold[data-open] title")).to_contain_text("ServerTasks-5", timeout=2000)
    expect(page.locator(".holders").first).to_contain_text("ServerTasks-5")


def shown(page) -> tuple[int, int]:
    """The time range of the chart, from and to in ms, read at once: it may be drawn anew at any moment."""
    box = page.locator("#chart").evaluate("chart => [chart.dataset.fromMs, chart.dataset.toMs]")
    return int(box[0]), int(box[1])


def still_chart(window) -> tuple[Page, int, int]:
    """The page with a chart from 6 to 2 hours ago, and that range in ms: one that ends now moves on each minute."""
    page = window.sign_in(VIEWER, PAGE)
    end = (int(time.time()) - 7_200) * 1000
    begin = end - 4 * 3_600_000
    page.goto(f"{window.url}{PAGE}?from_ms={begin}&to_ms={end}")
    window.wait_until_live()
    assert shown(page) == (begin, end)
    page.locator("#chart").focus()
    return page, begin, end


def test_keyboard_zooms_and_pans(window):
    page, begin, end = still_chart(window)

    page.keyboard.press("+")
    eventually(lambda: shown(page)[1] - shown(page)[0] == (end - begin) // 2)
    assert shown(page)[0] - begin == (end - begin) // 4
    zoomed = shown(page)
    page.keyboard.press("ArrowLeft")
    eventually(lambda: shown(page)[0] < zoomed[0])
    page.keyboard.press("-")
    eventually(lambda: shown(page)[1] - shown(page)[0] == end - begin)
    assert page.evaluate("document.activeElement.id") == "chart"
    page.keyboard.press("0")
    page.wait_for_url(lambda url: url == window.url + PAGE + "?")


def test_zoom_is_not_lost_when_the_chart_is_drawn_anew_meanwhile(window):
    page, begin, end = still_chart(window)
    page.clock.install()

    def drawn_at() -> str | None:
        return page.locator("#live").get_attribute("data-now-ms")

    page.keyboard.press("+")
    before = drawn_at()
    page.evaluate("document.dispatchEvent(new CustomEvent('octowait:draw'))")
    page.clock.run_for(1)
    eventually(lambda: drawn_at() != before)

    def is_zoomed() -> bool:
        page.clock.run_for(30)
        return shown(page)[1] - shown(page)[0] == (end - begin) // 2

    eventually(is_zoomed)


def test_wheel_zooms_at_the_pointer(window):
    page = window.sign_in(VIEWER, PAGE + "?span=4h")
    window.wait_until_live()
    begin, end = shown(page)
    page.locator("#chart").focus()
    box = page.locator("#chart").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 30)
    page.mouse.wheel(0, -100)

    eventually(lambda: shown(page)[1] - shown(page)[0] < end - begin)
    left, right = shown(page)
    pointed = begin + (end - begin) / 4
    assert abs((pointed - left) / (right - left) - 0.25) < 0.01


def test_buttons_work_and_can_be_shared_without_script(window, window_of):
    page = window.sign_in(VIEWER, PAGE + "?span=4h")
    window.wait_until_live()
    page.get_by_role("link", name="Earlier").click()
    page.wait_for_url(re.compile("from_ms="))
    expect(page.locator("#chart a.hold")).to_have_count(3)
    shared = page.url

    plain = window_of(java_script_enabled=False, extra_http_headers={"Authorization": f"Bearer {VIEWER}"}).page
    plain.goto(shared)
    expect(plain.locator("#chart a.hold")).to_have_count(3)
    before = shown(plain)
    plain.get_by_role("link", name="Zoom in").click()
    plain.wait_for_url(lambda url: url != shared)
    after = shown(plain)
    assert after[1] - after[0] == (before[1] - before[0]) // 2


def test_table_says_the_same_as_the_chart(window):
    page = window.sign_in(VIEWER, PAGE + "?span=12h")
    page.get_by_text("The same as a table").click()
    rows = page.get_by_label("Runs in the chart").locator("tbody tr")

    expect(rows.filter(has_text="ServerTasks-3")).to_contain_text(
        "15 min: ServerTasks-1 (Web 1.4.0 to Production) held web-01; 20 min: ServerTasks-2"
    )
    expect(rows.filter(has_text="disk swap")).to_contain_text("Reserved")
    expect(rows.filter(has_text="ServerTasks-5")).to_contain_text("Waits")


def test_open_details_and_typed_text_stay_when_the_board_changes(past_board, window):
    page = window.sign_in(ADMIN, PAGE + "?span=1h")
    window.wait_until_live()
    page.get_by_text("The same as a table").click()
    page.get_by_text("Reserve this machine").click()
    page.get_by_label("What for").fill("disk swap")

    past_board.release("ServerTasks-4")

    expect(page.locator(".holders").first).to_contain_text("ServerTasks-5", timeout=2000)
    expect(page.get_by_label("What for")).to_have_value("disk swap")
    expect(page.get_by_label("Runs in the chart")).to_be_visible()


def test_admin_reserves_a_machine_and_ends_that(past_board, window):
    page = window.sign_in(ADMIN, PAGE)
    page.get_by_text("Reserve this machine").click()
    page.get_by_label("What for").fill("disk swap")
    page.get_by_label("How long").fill("two hours")
    page.get_by_role("button", name="Reserve", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("such as 30m, 2h or 1d")
    expect(page.get_by_label("What for")).to_have_value("disk swap")
    window.forgive("422")

    page.get_by_label("How long").fill("2h")
    page.get_by_role("button", name="Reserve", exact=True).click()
    expect(page.locator(".notice")).to_contain_text("Machines-1 is reserved")
    expect(page.locator(".holders").first).to_contain_text("disk swap")
    expect(page.locator(".holders").first).to_contain_text("by test for")

    page.get_by_role("button", name="End the reservation").click()
    expect(page.locator(".notice")).to_contain_text("The reservation has ended")
    expect(page.get_by_role("button", name="End the reservation")).to_have_count(0)


def test_viewer_sees_no_form_and_may_not_send_one(window, window_of, past_board):
    page = window.sign_in(VIEWER, PAGE)
    expect(page.get_by_text("Reserve this machine")).to_have_count(0)
    answer = page.request.post(window.url + PAGE + "/reserve", form={"note": "x"}, headers={"Origin": window.url})
    assert answer.status == 403


def test_form_without_the_token_of_its_session_is_refused(window, past_board):
    page = window.sign_in(ADMIN, PAGE)
    for token in ("", "guessed"):
        answer = page.request.post(
            window.url + PAGE + "/reserve", form={"note": "x", "form_token": token}, headers={"Origin": window.url}
        )
        assert answer.status == 403
    assert past_board.client.hlen(past_board.keys.reservations) == 0


# Without a key it would open by itself, after a second at most.
@pytest.mark.parametrize(
    "service",
    [{"OCTOWAIT_OCTOPUS_URL": "http://127.0.0.1:1", "OCTOWAIT_OCTOPUS_API_KEY": "API-OF-NOBODY"}],
    indirect=True,
)
def test_closed_board_is_told(past_board, window, tmp_path):
    page = window.sign_in(VIEWER, PAGE)
    window.wait_until_live()

    past_board.close(by="dana", reason="moving")
    expect(page.locator(".banner")).to_contain_text("Nobody is granted", timeout=2000)
    keep_screenshot(page, "machine-closed", tmp_path)
    past_board.open("operator", by="dana")
    expect(page.locator(".banner")).to_have_count(0, timeout=3000)


def test_chart_of_a_machine_that_is_new_shows_only_what_it_saw(past_board, clock, window):
    join(past_board, 9, 9)

    page = window.sign_in(VIEWER, "/machines/Machines-9")
    expect(page.locator("#chart")).to_have_attribute("data-span", re.compile("^[1-8]m$"))  # its first minutes fill it
    page.goto(window.url + PAGE)
    expect(page.locator(".spans [aria-current]")).to_have_text("4h")


def test_marks_of_a_chart_stand_at_the_midnights_of_the_reader(window):
    page = window.sign_in(VIEWER, PAGE + "?span=7d")

    # Read at once: the chart moves on each minute.
    marks, lines, begin, end = page.locator("#chart").evaluate(MARKS)
    assert marks and all(re.fullmatch(r"[0-9]+ [A-Z][a-z]{2}", text) for text, _ in marks)
    # Tokyo, where the browser is, is nine hours ahead: its midnights are at 15:00 UTC.
    times = [begin + (end - begin) * x / 100 for _, x in marks]
    assert all(abs(at % 86_400_000 - 15 * 3_600_000) < 60_000 for at in times)
    assert lines == [x for _, x in marks]


def test_runs_that_share_a_machine_and_parked_ones_are_marked(past_board, window):
    child = RunRequest("ServerTasks-8", {"project": {"name": "Database"}}, on_behalf_of="ServerTasks-4")
    past_board.join(child, {"Machines-1"}, ttl=TTL)
    parked = RunRequest("ServerTasks-9", {"project": {"name": "Mail" * 70}}, parked=True)
    past_board.join(parked, {"Machines-1"}, ttl=TTL)

    page = window.sign_in(VIEWER, PAGE)
    expect(page.locator(".holders li", has_text="ServerTasks-4").locator(".tag")).to_have_text("Shared")
    expect(page.locator(".holders li", has_text="ServerTasks-8").locator(".tag")).to_have_text("Shared")
    expect(page.locator(".line li", has_text="ServerTasks-9").locator(".tag")).to_have_text("Parked")
    expect(page.locator("tr", has_text="ServerTasks-9").locator(".tag")).to_have_text("Parked")
    runs = page.get_by_role("region", name="Last runs")
    assert runs.evaluate("it => it.scrollWidth <= it.clientWidth"), "a name without a blank hides no column"
    page.goto(window.url + "/runs/ServerTasks-8")
    expect(page.locator(".story")).to_contain_text("It shares its machine with ServerTasks-4 (Web 1.4.0 to Production)")
    page.goto(window.url + "/runs/ServerTasks-9")
    expect(page.locator(".head .tag")).to_have_text("Parked")


def test_many_waits_are_drawn_as_their_number(board, clock, past_board, window, tmp_path):
    for number in range(60):
        join(board, 100 + number, 1, ttl=timedelta(days=1))
    page = window.sign_in(VIEWER, PAGE + "?span=15m")

    expect(page.locator(".depth title")).to_contain_text("up to 61")
    expect(page.locator(".line > ol > li")).to_have_count(50)
    page.get_by_text("11 more").click()
    expect(page.locator(".line details li", has_text="ServerTasks-159")).to_be_visible()
    expect(page.locator("#chart .wait")).to_have_count(0)
    keep_screenshot(page, "machine-deep", tmp_path, full_page=False)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_keeps_anybody_from_using_it(window_of, scheme, past_board):
    past_board.reserve("Machines-1", note="disk swap", by="dana")
    page = window_of(color_scheme=scheme).sign_in(ADMIN, PAGE + "?span=12h")
    page.get_by_text("The same as a table").click()
    page.get_by_text("Change the reservation").click()

    assert serious_findings(page) == []
