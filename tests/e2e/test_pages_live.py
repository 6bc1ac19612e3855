"""How pages that are open follow what happens."""

from __future__ import annotations

import pytest
from playwright.sync_api import Request, expect

from tests.conftest import TOKENS, eventually
from tests.e2e.boards import join
from tests.e2e.browser import Window

#: Milliseconds that the page's clock goes on with each change.
STEP = 25

#: What a page is told of the server's time, whatever the answer says.
SAY_HOW_LONG = """
const get = Headers.prototype.get;
Headers.prototype.get = function (name) { return name === "Server-Timing" ? "page;dur=TOOK" : get.call(this, name); };
"""


def asked_of(window: Window, path: str, *, took: int) -> list[Request]:
    """What the page at *path* asks for, while only its clock goes on; each answer says that it took *took* ms.

    A page asks the less, the longer its answers take, which on a machine that is busy is anything.
    """
    asked: list[Request] = []
    window.sign_in(TOKENS["viewer"])
    window.page.clock.install()
    window.page.add_init_script(SAY_HOW_LONG.replace("TOOK", str(took)))
    window.page.on("request", lambda request: "fragment=" in request.url and asked.append(request))
    window.page.goto(window.url + path)
    window.wait_until_live()
    # Until then it goes on by itself, and it cannot be stopped in its past.
    window.page.clock.pause_at(window.page.evaluate("Date.now()") / 1000 + 30)
    return asked


@pytest.mark.parametrize("path", ["/", "/machines/Machines-1"])
def test_many_changes_are_asked_for_together(busy_board, window, path):
    page = window.page
    asked = asked_of(window, path, took=1)
    asked.clear()

    for number in range(100, 140):
        join(busy_board, number, 1)
        busy_board.release(f"ServerTasks-{number}")
        page.clock.run_for(STEP)
    join(busy_board, 200, 1)

    shown = page.locator("[data-key='ServerTasks-200']")
    steps = 40

    def is_shown() -> bool:
        nonlocal steps
        steps += 1
        page.clock.run_for(STEP)
        return bool(shown.count())

    eventually(is_shown)
    expect(page.locator("#connection")).to_have_text("Live")
    # Three at once, five a second at most.
    assert 1 <= len(asked) <= 3 + steps * STEP / 200 + 1


def test_page_goes_on_soon_after_somebody_has_looked_around(busy_board, window):
    page = window.page
    # A chart that ends now moves on by itself.
    asked = asked_of(window, "/machines/Machines-1?from_ms=0&to_ms=3600000", took=200)
    for number in range(len(asked) + 1, len(asked) + 21):
        page.evaluate("document.dispatchEvent(new CustomEvent('octowait:draw'))")
        eventually(lambda number=number: page.clock.run_for(1) or len(asked) >= number)
    answer = asked[-1].response()
    assert answer and answer.finished() is None

    join(busy_board, 200, 1)

    shown = page.locator("[data-key='ServerTasks-200']").first
    before = page.evaluate("performance.now()")
    eventually(lambda: page.clock.run_for(4 * STEP) or shown.count())
    # Each of those questions would put it off for five seconds; meanwhile the answer takes its time.
    assert page.evaluate("performance.now()") - before < 60_000


def test_pages_say_how_long_they_took(window):
    page = window.sign_in(TOKENS["viewer"])
    for path in ("/", "/?fragment=1", "/ledger"):
        assert page.request.get(window.url + path).headers["server-timing"].startswith("page;dur=")
