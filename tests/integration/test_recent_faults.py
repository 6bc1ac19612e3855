"""The dashboard tells what goes wrong, and many who read it have that looked for once."""

import pytest

from app.domain.faults import Fault
from app.domain.run import RunRequest
from app.services import Services
from app.web import create_app
from app.web.pages import recent_faults
from tests.conftest import TOKENS, WEBHOOK_SECRET, services_on

LONG = Fault("held_too_long", "web-01 is held for 3 h.", "Look at it.", "ServerTasks-1")
FULL = Fault("no_space", "The disk <of> Redis is full.", "Make room.")


@pytest.fixture
def services(board, redis_url):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    return services_on(board, redis_url, webhook_secret=WEBHOOK_SECRET, tokens=f"viewer:test:{TOKENS['viewer']}")


@pytest.fixture
def found(monkeypatch):
    """What is the matter, and how often somebody has looked."""
    found, looks = [], []

    def faults(services, snapshot):
        looks.append(snapshot)
        return list(found)

    monkeypatch.setattr(Services, "faults", faults)
    return found, looks


@pytest.fixture
def dashboard(services):
    client = create_app(services).test_client()
    return lambda path="/": client.get(path, headers={"Authorization": f"Bearer {TOKENS['viewer']}"}).text


def test_the_worst_is_told_and_how_many_more_there_are(dashboard, found):
    found[0].extend([FULL, LONG, LONG])

    page = dashboard()

    assert "The disk &lt;of&gt; Redis is full." in page and "2 other things are wrong as well." in page
    assert '<a href="/health">Health</a> says what to do' in page and "Make room" not in page


def test_one_about_a_run_leads_there(dashboard, found):
    found[0].append(LONG)

    page = dashboard("/?fragment=1")

    assert 'href="/runs/ServerTasks-1"' in page and "wrong as well" not in page


def test_nothing_is_told_where_nothing_is_wrong(dashboard, found):
    assert "says what to do" not in dashboard() and len(found[1]) == 1


def test_many_readers_have_it_looked_for_once(dashboard, found, monkeypatch):
    moments = iter([100.0, 100.0, 105.0, 109.9, 110.0, 110.0, 112.0])
    monkeypatch.setattr(recent_faults, "time", type("Time", (), {"monotonic": staticmethod(lambda: next(moments))}))

    for _ in range(3):
        assert "says what to do" not in dashboard()
    found[0].append(FULL)

    assert "Redis is full" in dashboard() and "Redis is full" in dashboard("/?fragment=1")
    assert len(found[1]) == 2
