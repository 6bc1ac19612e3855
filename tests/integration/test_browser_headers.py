"""What browsers are told of cookies and of keeping answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from app.services import make_services
from app.settings import Settings
from app.settings.values import Token
from app.web import create_app

ADMIN = Token("admin", "test", "a-token-for-tests-of-browsers")


@pytest.fixture
def visit(redis_url: str, namespace: str) -> Iterator[Callable[..., Any]]:
    """Browsers of an octowait at an address."""
    made: list[Any] = []

    def make(address: str) -> Any:
        services = make_services(
            Settings(
                redis_url=redis_url,
                namespace=namespace,
                tokens=(ADMIN,),
                public_url=address,
                webhook_secret=SecretStr("s" * 24),
            )
        )
        made.append(services)
        return create_app(services).test_client()

    yield make
    for services in made:
        services.close()


def sign_in(browser: Any, address: str) -> Any:
    return browser.post("/sign-in", base_url=address, data={"token": ADMIN.secret}, headers={"Origin": address})


@pytest.mark.parametrize("address", ["http://localhost", "https://localhost"])
def test_cookie_of_a_session_is_for_this_site_and_no_script(visit, address):
    answer = sign_in(visit(address), address)

    assert answer.status_code == 303, answer.text
    [cookie] = answer.headers.getlist("Set-Cookie")
    name, *attributes = cookie.split("; ")
    assert name.startswith("octowait=")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(attributes)
    assert ("Secure" in attributes) == address.startswith("https")


def test_what_is_answered_is_cached_by_nobody(visit):
    browser = visit("http://localhost")
    sign_in(browser, "http://localhost")

    for path in ("/", "/health", "/api/machines", "/api/waits", "/api/nothing"):
        assert browser.get(path, base_url="http://localhost").headers["Cache-Control"] == "no-store", path
