"""The blueprint of the pages with the routes of all of them."""

from __future__ import annotations

from app.web import actions, dashboard_page, health_page, ledger_page, machine_page, run_page, timeline_page
from app.web.pages import blueprint

__all__ = [
    "actions", "blueprint", "dashboard_page", "health_page", "ledger_page", "machine_page", "run_page", "timeline_page",
]  # fmt: skip
