"""What a peer says of where it is, and where we are, is neither believed nor repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr

from app.services import make_services
from app.settings import Settings, Token
from app.web import create_app

TOKEN = Token("admin", "test", "a-token-for-tests-of-hosts")


@pytest.fixture
def make_client(redis_url: str, namespace: str) -> Iterator[Callable[..., FlaskClient]]:
    made = []

    def make(**settings: object) -> FlaskClient:
        given = Settings(redis_url=redis_url, namespace=namespace, tokens=(TOKEN,), webhook_secret=SecretStr("s" * 24),
                         **settings)  # fmt: skip
        made.append(make_services(given))
        return create_app(made[-1]).test_client()

    yield make
    for services in made:
        services.close()


PAGES = ["/", "/docs", "/openapi.json", "/ledger", "/timeline", "/health", "/sign-in", "/machines/Machines-1"]


@pytest.mark.parametrize("public_url", [None, "https://octowait.example.com"])
def test_nothing_that_is_answered_repeats_the_host_of_a_request(make_client, public_url):
    client = make_client(public_url=public_url)
    headers = {"Host": "elsewhere.example.org", "Authorization": f"Bearer {TOKEN.secret}",
               "X-Forwarded-Host": "elsewhere.example.org", "X-Forwarded-Proto": "ftp"}  # fmt: skip

    for path in [*PAGES, "/nothing"]:
        answer = client.get(path, headers=headers)
        assert "elsewhere.example.org" not in answer.text + str(answer.headers), path


@pytest.mark.parametrize(
    ("settings", "host"),
    [
        ({"public_url": "https://octowait.example.com"}, "octowait.example.com"),
        ({"public_url": "https://octowait.example.com"}, "elsewhere.example.org"),
        ({}, "127.0.0.1:8080"),
        ({}, "elsewhere.example.org:8080"),
        ({"bind": "0.0.0.0:8080"}, "octowait.internal:8080"),
    ],
)
def test_form_counts_under_a_name_of_octowait_only(make_client, settings, host):
    """A name that leads to us may be anybody's: a page of that name is of the same origin as ours under that name."""
    client = make_client(**settings)
    scheme = "https" if "public_url" in settings else "http"

    answer = client.post("/sign-in", data={"token": "wrong"}, headers={"Host": host, "Origin": f"{scheme}://{host}"})

    assert answer.status_code == 403
    assert ("sent by another site" in answer.text) == host.startswith("elsewhere")


def test_document_of_the_api_is_made_once(make_client):
    client = make_client()
    first = client.get("/openapi.json")

    assert client.get("/openapi.json").data == first.data
    client.get("/docs", headers={"Authorization": f"Bearer {TOKEN.secret}"})

    assert first.json["servers"] == [{"url": "/"}]
    assert client.application.extensions["octowait.document"].cache_info().misses == 1
