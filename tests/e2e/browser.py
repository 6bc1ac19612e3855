"""Debian's Chromium under playwright, and pages that remember what the browser complained about."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"

ROOT = Path(__file__).parent.parent.parent

ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip

#: What a browser complains of when a server is killed, perhaps in the middle of an answer.
CUT = (
    "ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE", "ERR_INCOMPLETE_CHUNKED_ENCODING",
    "ERR_CONTENT_LENGTH_MISMATCH", "ERR_SOCKET_NOT_CONNECTED", "ERR_CONNECTION_CLOSED",
)  # fmt: skip


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser; absent, it skips on a laptop and fails in CI."""
    if not Path(CHROMIUM).exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no {CHROMIUM}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


class Window:
    """A page with cookies of its own. *complaints*: console errors, exceptions, violations of the CSP."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context = context
        self.url = url
        self.page = context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda message: message.type == "error" and self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def sign_in(self, token: str, path: str = "/") -> Page:
        """The page at *path*, signed in with *token*."""
        self.page.goto(f"{self.url}/sign-in?next={path}#token={token}")
        self.page.wait_for_url(self.url + path)
        return self.page

    def wait_until_live(self) -> None:
        self.page.wait_for_selector("#connection[data-state=live]")

    def forgive(self, *texts: str) -> None:
        """Drop the complaints that have one of *texts*: the test caused them."""
        self.complaints = [c for c in self.complaints if not any(text in c for text in texts)]


def open_window(browser: Browser, url: str, **how: Any) -> Window:
    """A window with cookies of its own; *how* goes to playwright's ``new_context``."""
    return Window(
        browser.new_context(**{"viewport": {"width": 1280, "height": 800}, "timezone_id": "Asia/Tokyo", **how}), url
    )


def keep_screenshot(page: Page, name: str, otherwise: Path, *, full_page: bool = True) -> None:
    """A picture where CI keeps it, in ``CI_OUTPUT`` or ``.ci-output/``; on a laptop in *otherwise*."""
    kept = os.environ.get("CI_OUTPUT") or (ROOT / ".ci-output" if os.environ.get("CI") else None)
    directory = Path(kept) / "screenshots" if kept else otherwise
    directory.mkdir(parents=True, exist_ok=True)
    keep_picture(page, directory / f"{name}.png", full_page=full_page)


def keep_picture(page: Page, path: Path, *, full_page: bool = True) -> None:
    """A picture of the page, at *path*."""
    size = page.viewport_size
    if full_page and size:
        # What lies below the window is not drawn before somebody scrolls there.
        page.set_viewport_size({**size, "height": page.evaluate("document.documentElement.scrollHeight")})
    page.screenshot(path=path, full_page=full_page)
    if size:
        page.set_viewport_size(size)


def serious_findings(page: Page) -> list[str]:
    """What axe finds on the page that keeps somebody from using it: the rule, and where."""
    # Not added to the page as a script: its policy would refuse that, and rightly so.
    found = Axe().run(page).response["violations"]
    return [
        f"{finding['id']}: {node['target']} {node['failureSummary']}"
        for finding in found
        if finding["impact"] in ("serious", "critical")
        for node in finding["nodes"]
    ]
