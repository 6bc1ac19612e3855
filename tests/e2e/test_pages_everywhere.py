"""What holds for every page: live, reconnecting, by keyboard, accessible, and safe against forms of others."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from app.coordination.board import Board
from app.followers.learner import Learner
from tests.conftest import TOKENS, Service, eventually
from tests.e2e.boards import join, write_past
from tests.e2e.browser import CUT, Window, keep_screenshot, serious_findings
from tests.e2e.test_pages import post

VIEWER, ADMIN = TOKENS["viewer"], TOKENS["admin"]


@pytest.fixture
def past_board(board, clock):
    write_past(board, clock)
    learner = Learner(board.client, board.keys)
    while learner.learn():
        pass
    return board


@pytest.fixture
def service(past_board, make_service):
    return make_service()


def reserve(board: Board) -> None:
    board.reserve("Machines-1", note="new fan", by="dana")


def release(board: Board) -> None:
    board.release("ServerTasks-4", cause="reconciled")


def wait_for_it(board: Board) -> None:
    join(board, 6, 1)
    before = board.now_ms()
    eventually(lambda: board.now_ms() > before)  # a wait of no length is none
    reserve(board)


@dataclass(frozen=True)
class Live:
    """A page, something that happens, and where the page then says what."""

    path: str
    happens: Any
    where: str
    says: str


LIVE = [
    Live("/", reserve, "[data-key=machines-1] .holders", "new fan"),
    Live("/machines/Machines-1", reserve, ".pair .holders", "new fan"),
    Live("/runs/ServerTasks-5", release, ".story", "and has held it for"),
    Live("/ledger", wait_for_it, ".summary", r"Waits\s*4"),
    Live("/timeline", reserve, ".timeline tbody tr:first-child", "new fan"),
    Live("/health", release, "[aria-label=Repairs]", "ServerTasks-4"),
]

of_each = pytest.mark.parametrize("live", LIVE, ids=lambda live: live.path)


@of_each
def test_what_happens_shows_without_reload(live, past_board, window):
    page = window.sign_in(VIEWER, live.path)
    window.wait_until_live()
    expect(page.locator("main")).not_to_contain_text("new fan")
    page.evaluate("window.isTheSamePage = true")

    live.happens(past_board)

    expect(page.locator(live.where).first).to_contain_text(re.compile(live.says))
    assert page.evaluate("window.isTheSamePage")


@of_each
def test_what_happens_while_the_connection_is_cut_shows_afterwards(live, past_board, service, window):
    page = window.sign_in(VIEWER, live.path)
    window.wait_until_live()

    service.stop()
    expect(page.locator("#connection")).to_have_text("Reconnecting…")
    live.happens(past_board)
    service.start()

    expect(page.locator("#connection")).to_have_text("Live", timeout=20_000)
    expect(page.locator(live.where).first).to_contain_text(re.compile(live.says))
    window.forgive(*CUT)


#: What Tab has to reach, in this order; of a group of radio buttons the chosen one.
STOPS = """() => {
  window.stops = [...document.querySelectorAll('a[href], button, input, select, summary, [tabindex="0"]')].filter(e =>
    e.tabIndex >= 0 && e.type !== 'hidden' && (e.type !== 'radio' || e.checked) && e.checkVisibility());
  return window.stops.length;
}"""

#: The number of the stop that has the focus, -1 for none; and whether one can see that it has.
AT = """() => {
  const at = document.activeElement, shown = at.type === 'radio' ? at.nextElementSibling : at;
  return [window.stops.indexOf(at), getComputedStyle(shown).outlineStyle !== 'none'];
}"""


@pytest.mark.parametrize("path", [*(live.path for live in LIVE), "/docs", "/nowhere"])
def test_keyboard_reaches_everything_in_order_and_is_never_caught(window, path):
    page = window.sign_in(ADMIN)
    page.goto(window.url + path)
    if page.locator("#connection").count():
        window.wait_until_live()
    many = page.evaluate(STOPS)

    for number in range(many):
        page.keyboard.press("Tab")
        at, is_visible = page.evaluate(AT)
        assert (at, is_visible) == (number, True), page.evaluate("document.activeElement.outerHTML")
    page.keyboard.press("Tab")
    assert page.evaluate(AT)[0] in (-1, 0)
    window.forgive("404 (NOT FOUND)")


def test_focus_stays_on_a_link_of_a_table_that_changes(past_board, window):
    page = window.sign_in(VIEWER, "/timeline")
    window.wait_until_live()
    link = page.locator(".timeline a", has_text="ServerTasks-5").first
    link.focus()

    reserve(past_board)

    expect(page.locator(".timeline tbody tr").first).to_contain_text("new fan")
    expect(page.locator(":focus")).to_have_text("ServerTasks-5")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/sign-in", "/docs", "/nowhere", "/?q=nothing-like-it", "/timeline?task_id=no one"])
def test_page_without_a_board_is_accessible(window_of, path, scheme, tmp_path):
    window = window_of(color_scheme=scheme)
    page = window.sign_in(VIEWER) if path != "/sign-in" else window.page
    page.goto(window.url + path)

    assert serious_findings(page) == []
    keep_screenshot(page, f"{re.sub(r'[^a-z-]+', '-', path).strip('-')}-{scheme}", tmp_path)
    window.forgive("404 (NOT FOUND)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_report_is_accessible_and_fits_a_phone(service, window_of, scheme, tmp_path):
    status, text = service.call("GET", "/api/report", role="viewer")
    file = tmp_path / "incident.html"
    file.write_text(text)
    assert status == 200

    page = window_of(color_scheme=scheme, viewport={"width": 375, "height": 740}).page
    page.goto(file.as_uri())

    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    assert serious_findings(page) == []
    keep_screenshot(page, f"report-phone-{scheme}", tmp_path)


@pytest.mark.parametrize(
    "path", ["/nowhere", "/?q=nothing-like-it", "/timeline?machine_id=web-02", "/docs", "/ledger?by=week"]
)
def test_phone_needs_no_sideways_scrolling(window_of, path):
    window = window_of(viewport={"width": 375, "height": 740}, has_touch=True, is_mobile=True)
    page = window.sign_in(ADMIN)
    page.goto(window.url + path)

    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    window.forgive("404 (NOT FOUND)")


def test_each_page_has_a_title_of_its_own(window):
    page = window.sign_in(VIEWER)
    titles = []
    for path in (*(live.path for live in LIVE), "/docs", "/nowhere"):
        page.goto(window.url + path)
        titles.append(page.title())
        expect(page.get_by_role("heading", level=1)).to_have_count(1)

    assert len(set(titles)) == len(titles) and all(title.endswith("octowait") for title in titles)
    window.forgive("404 (NOT FOUND)")


#: Each form of an admin: where it is sent, what is in it.
FORMS = [
    ("/machines/Machines-1/reserve", "note=disk+swap&until="),
    ("/machines/Machines-2/unreserve", ""),
    ("/runs/ServerTasks-4/force-release", "reason=its+server+died&confirm=1"),
    ("/runs/ServerTasks-5/priority", "priority=10&reason=hotfix"),
]

of_each_form = pytest.mark.parametrize(("path", "fields"), FORMS, ids=[path for path, _ in FORMS])


def session_of(window: Window, token: str) -> tuple[Page, str, str]:
    """A page that is signed in, its cookie, and the token that its forms carry."""
    page = window.sign_in(token, "/machines/Machines-1")
    field = page.locator("[name=form_token]")
    cookie = "; ".join(f"{one['name']}={one['value']}" for one in window.context.cookies())
    return page, cookie, str(field.first.get_attribute("value")) if field.count() else ""


@of_each_form
def test_form_needs_an_admin_of_this_session_and_this_site(
    past_board, service: Service, window, window_of, path, fields
):
    past_board.reserve("Machines-2", note="kept", by="dana")
    before = past_board.client.xlen(past_board.keys.timeline)
    _, admin, form_token = session_of(window, ADMIN)
    _, viewer, _ = session_of(window_of(), VIEWER)

    def sent(cookie: str, body: str, origin: str = service.url, **more: str) -> int:
        kind = {"Content_Type": "application/x-www-form-urlencoded"}
        return post(service.url + path, body, Cookie=cookie, Origin=origin, **kind, **more)[0]

    assert sent(admin, fields) == 403
    assert sent(admin, f"{fields}&form_token=guessed") == 403
    assert sent(admin, f"{fields}&form_token={form_token}", origin="https://evil.example") == 403
    assert sent(admin, f"{fields}&form_token={form_token}", Sec_Fetch_Site="cross-site") == 403
    assert sent(viewer, f"{fields}&form_token={form_token}") == 403
    assert sent("", f"{fields}&form_token={form_token}") == 303  # to signing in
    assert past_board.client.xlen(past_board.keys.timeline) == before

    assert sent(admin, f"{fields}&form_token={form_token}") == 303
    assert past_board.client.xlen(past_board.keys.timeline) > before


def test_form_of_an_old_session_says_what_to_do(past_board, window, tmp_path):
    page, _, _ = session_of(window, ADMIN)
    page.get_by_text("Reserve this machine").click()
    page.get_by_label("What for").fill("disk swap")
    page.locator("[name=form_token]").first.evaluate("field => { field.value = 'of an old session' }")
    page.get_by_role("button", name="Reserve", exact=True).click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Not allowed")
    expect(page.locator("main")).to_contain_text("go back, reload the page, and send it again")
    assert serious_findings(page) == []
    keep_screenshot(page, "refused", tmp_path)
    window.forgive("403 (FORBIDDEN)")


def test_form_that_was_refused_is_where_one_looks(past_board, window_of):
    window = window_of(viewport={"width": 375, "height": 740}, has_touch=True, is_mobile=True)
    page = window.sign_in(ADMIN, "/machines/Machines-1")
    page.get_by_text("Reserve this machine").click()
    page.get_by_label("What for").fill("new fan")
    page.get_by_label("How long").fill("two hours")
    page.get_by_role("button", name="Reserve", exact=True).click()

    expect(page.get_by_role("alert")).to_be_in_viewport()
    expect(page.get_by_label("What for")).to_be_focused()
    window.forgive("422")


def test_id_of_a_task_stays_on_one_line(window):
    page = window.sign_in(VIEWER, "/machines/Machines-1?span=12h")
    page.get_by_text("The same as a table").click()

    tall = "all => all.filter(link => link.checkVisibility() && link.offsetHeight > 24).map(link => link.textContent)"
    for path in ("", *(live.path for live in LIVE)):
        if path:
            page.goto(window.url + path)
        assert page.locator("a.task").evaluate_all(tall) == []


@pytest.mark.parametrize("path", [live.path for live in LIVE])
def test_viewer_sees_no_form_of_an_admin(past_board, window, path):
    reserve(past_board)
    page = window.sign_in(VIEWER, path)

    expect(page.locator("main form[method=post]")).to_have_count(0)
