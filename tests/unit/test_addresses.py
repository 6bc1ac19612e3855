"""What signs somebody in does not stand in what is shown."""

import pytest

from app.domain.addresses import without_passwords
from app.settings import BadSettings, load_settings
from app.store.connection import connect
from app.store.errors import BadStoreAddress


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://ann:secret@octopus.example.com/a", "https://***@octopus.example.com/a"),
        (
            "GET /x: no answer from 'http://ann:se/cr@et@host': refused",
            "GET /x: no answer from 'http://***@host': refused",
        ),
        ("redis://:secret@host:1, rediss://u:p@other", "redis://***@host:1, rediss://***@other"),
        ("https://octopus.example.com/app#/Spaces-1", "https://octopus.example.com/app#/Spaces-1"),
    ],
)
def test_address_is_shown_without_user_and_password(text, shown):
    assert without_passwords(text) == shown


@pytest.mark.parametrize("name", ["OCTOPUS_URL", "PUBLIC_URL", "CATCH_UP_SECONDS", "BIND"])
def test_complaint_about_a_setting_shows_no_password(name):
    with pytest.raises(BadSettings) as caught:
        load_settings({f"OCTOWAIT_{name}": "ftp://ann:hidden-word@octopus.example.com"})

    assert "hidden-word" not in str(caught.value) and f"OCTOWAIT_{name}" in str(caught.value)


def test_public_url_takes_no_password():
    with pytest.raises(BadSettings, match="without user and password"):
        load_settings({"OCTOWAIT_PUBLIC_URL": "https://ann:hidden-word@octowait.example.com"})


def test_password_of_the_address_of_octopus_is_hidden_in_logs():
    assert "hidden-word" in load_settings({"OCTOWAIT_OCTOPUS_URL": "https://ann:hidden-word@octopus"}).secrets


@pytest.mark.parametrize(
    "url", ["http://:hidden-word@host", "redis://h:99999999/x?password=hidden-word&socket_timeout=x"]
)
def test_complaint_about_the_address_of_redis_shows_no_password(url):
    with pytest.raises(BadStoreAddress) as caught:
        connect(url)

    assert "hidden-word" not in str(caught.value)
