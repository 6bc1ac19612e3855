"""How pages that are open follow what happens."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.conftest import TOKENS, eventually
from tests.e2e.boards import join

#: Milliseconds that the page's clock goes on with each change.
STEP = 25


@pytest.mark.parametrize("path", ["/", "/machines/Machines-1"])
def test_many_changes_are_asked_for_together(busy_board, window, path):
    page = window.sign_in(TOKENS["viewer"], path)
    window.wait_until_live()
    asked: list[Any] = []
    page.clock.install()
    page.on("request", lambda request: "fragment=" in request.url and asked.append(request))

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


def test_pages_say_how_long_they_took(window):
    page = window.sign_in(TOKENS["viewer"])
    for path in ("/", "/?fragment=1", "/ledger"):
        assert page.request.get(window.url + path).headers["server-timing"].startswith("page;dur=")
