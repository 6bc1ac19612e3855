"""The blueprint of the pages with the routes of all of them."""

from __future__ import annotations

from app.web.pages import actions
from app.web.pages import dashboard as dashboard_page
from app.web.pages import health as health_page
from app.web.pages import ledger as ledger_page
from app.web.pages import machine as machine_page
from app.web.pages import oidc as oidc_page
from app.web.pages import run as run_page
from app.web.pages import timeline as timeline_page
from app.web.pages.base import blueprint

__all__ = [
    "actions", "blueprint", "dashboard_page", "health_page", "ledger_page", "machine_page", "oidc_page", "run_page",
    "timeline_page",
]  # fmt: skip
