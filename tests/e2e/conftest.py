"""Fixtures of the page tests: a real browser, and a board with something on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from app.coordination.board import Board
from tests.conftest import Service
from tests.e2e.boards import join, name_machine
from tests.e2e.browser import Window, chromium, open_window


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def window_of(browser: Browser, service: Service) -> Iterator[Callable[..., Window]]:
    """Windows on the service: ``window_of(color_scheme="dark")``. A complaint of the browser fails the test."""
    windows: list[Window] = []

    def make(**how: Any) -> Window:
        windows.append(open_window(browser, service.url, **how))
        return windows[-1]

    yield make
    for window in windows:
        window.context.close()
        assert window.complaints == []


@pytest.fixture
def window(window_of: Callable[..., Window]) -> Window:
    return window_of()


@pytest.fixture
def busy_board(board: Board) -> Board:
    """web-01 held by ServerTasks-1 with a line of two, web-02 idle."""
    name_machine(board, 1, "web-01")
    name_machine(board, 2, "web-02")
    join(board, 1, 1)
    join(board, 2, 1, project="Api")
    join(board, 3, 1, project="Portal", priority=10)
    return board
