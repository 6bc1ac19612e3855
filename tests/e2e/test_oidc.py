"""People sign in through a real OpenID Connect provider, in a real browser; and those who may not, do not."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.conftest import ROOT, Service, eventually
from tests.e2e.boards import name_machine
from tests.e2e.browser import Window, open_window

PROVIDER = Path(__file__).parent / "provider" / "provider.mjs"
PACKAGE = "oidc-provider@9.13.3"
SECRET = "secret-of-the-client-of-octowait"

#: What the provider's own pages, and their way to ours, have a browser complain of.
FOREIGN = (
    "fonts.googleapis.com",
    "favicon.ico",
    "403 (FORBIDDEN)",
    "404 (Not Found)",
    "Content Security Policy",
    "ERR_",
)


@pytest.fixture(scope="session")
def modules() -> Path:
    """Where the provider's package is; absent, it skips on a laptop and fails in CI."""
    directory, draft = ROOT / ".venv" / "provider", ROOT / ".venv" / "provider.new"
    with open(ROOT / ".venv" / "provider.lock", "w") as lock:
        # Another process of the tests may install it as well: neither is to see half of it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "node_modules" / "oidc-provider").exists():
            for each in (directory, draft):
                shutil.rmtree(each, ignore_errors=True)
            _install(draft)
            draft.rename(directory)
    return directory


def _install(directory: Path) -> None:
    npm = shutil.which("npm")
    directory.mkdir(parents=True)
    command = [npm or "npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--prefix", str(directory)]
    done = npm and subprocess.run([*command, PACKAGE], capture_output=True, text=True, timeout=110, check=False)
    if not done or done.returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            f"npm cannot install {PACKAGE}: {done and done.stderr}"
        )  # fmt: skip


@pytest.fixture
def provide(modules: Path, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Starts a provider that sends browsers back to that address: its own address."""
    started: list[subprocess.Popen[str]] = []

    def start(redirect: str) -> str:
        with open(tmp_path / "provider.log", "w") as log:
            started.append(subprocess.Popen(
                ["node", str(PROVIDER), str(modules), redirect], stdout=subprocess.PIPE, stderr=log, text=True
            ))  # fmt: skip
        assert started[-1].stdout
        address = started[-1].stdout.readline().strip()
        assert address, (tmp_path / "provider.log").read_text()
        return address

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def service(redis_url: str, namespace: str, tmp_path: Path, provide: Callable[[str], str]) -> Iterator[Service]:
    found = Service(
        redis_url, namespace, tmp_path, forked=True,
        OCTOWAIT_OIDC_CLIENT_ID="octowait", OCTOWAIT_OIDC_CLIENT_SECRET=SECRET,
        OCTOWAIT_OIDC_ADMIN_GROUPS="operators", OCTOWAIT_OIDC_VIEWER_GROUPS="readers, guests",
    )  # fmt: skip
    found.env["OCTOWAIT_OIDC_ISSUER"] = provide(f"{found.url}/sign-in/callback")
    found.start()
    yield found
    found.stop()


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    window: Window = open_window(browser, service.url)
    yield window.page
    window.context.close()
    window.forgive(*FOREIGN)
    assert window.complaints == []


def sign_in(page: Page, service: Service, who: str, path: str = "/") -> str:
    """Go the whole way as *who*; the address of octowait."""
    url = service.url
    page.goto(f"{url}/sign-in?next={path}")
    page.get_by_role("link", name="Sign in with your organisation").click()
    page.locator("input[name=login]").fill(who)
    page.locator("input[name=password]").fill("any")
    page.locator("button[type=submit]").click()
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url(f"{url}/**")
    return url


def test_person_of_a_group_is_an_admin_by_name_in_the_timeline(board, service, page):
    name_machine(board, 7, "web-07")
    sign_in(page, service, "dana", "/machines/Machines-7")
    page.wait_for_url("**/machines/Machines-7")
    assert page.get_by_text("dana@example.com, admin").is_visible()

    page.get_by_text("Reserve this machine").click()
    page.locator("form[action$='/reserve'] [name=note]").fill("disk swap")
    page.get_by_role("button", name="Reserve", exact=True).click()

    eventually(lambda: board.client.hlen(board.keys.reservations) == 1)
    assert b'"dana@example.com"' in board.client.hget(board.keys.reservations, "machines-7")
    [cookie] = [each for each in page.context.cookies() if each["name"] == "octowait"]
    assert cookie["httpOnly"] and cookie["sameSite"] == "Lax"
    keys = board.client.keys(f"octowait:{{{board.keys.namespace}}}:session:*")
    assert len(keys) == 1 and board.client.ttl(keys[0]) > 11 * 3600


def test_person_of_another_group_reads_only(service, page):
    sign_in(page, service, "vera")

    assert page.get_by_text("vera@example.com, viewer").is_visible()


def test_person_of_no_group_is_not_let_in(board, service, page):
    url = sign_in(page, service, "mallory")

    assert page.get_by_text("mallory@example.com is in no group").is_visible()
    page.goto(url)
    assert page.url.startswith(f"{url}/sign-in")
    refused = eventually(lambda: service.call("GET", "/api/refusals")[1]["refusals"])
    assert any("mallory@example.com is in no group" in each["why"] for each in refused)


def test_code_of_another_browser_signs_nobody_in(service, browser, page):
    """An answer of the provider counts in the browser that asked, and once."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    url = sign_in(page, service, "dana")
    [callback] = [address for address in asked if "/sign-in/callback?" in address]
    assert page.get_by_text("dana@example.com, admin").is_visible()

    other = open_window(browser, url)
    answers = [other.page.goto(callback), page.goto(callback), page.goto(f"{url}/sign-in/callback?code=x&state=y")]
    other.page.goto(url)

    assert [answer and answer.status for answer in answers] == [403, 403, 403]
    assert other.page.url.startswith(f"{url}/sign-in")
    other.context.close()


def test_provider_that_is_away_or_another_leaves_tokens(make_service, provide):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    issuer = provide("http://127.0.0.1:1/sign-in/callback")
    for given, status in ((nobody, 503), (issuer.replace("127.0.0.1", "localhost"), 403)):
        service = make_service(OCTOWAIT_OIDC_ISSUER=given, OCTOWAIT_OIDC_CLIENT_ID="octowait")
        with pytest.raises(urllib.error.HTTPError) as failed:
            urllib.request.urlopen(f"{service.url}/sign-in/oidc", timeout=30)
        failed.value.close()
        assert failed.value.code == status
        assert service.call("GET", "/api/waits")[0] == 200


def test_word_of_a_trusted_proxy_makes_a_viewer(make_service):
    service = make_service(OCTOWAIT_TRUSTED_PROXIES="127.0.0.1", OCTOWAIT_TRUSTED_USER_HEADER="X-Forwarded-User")
    said = {"X-Forwarded-User": "dana", "X-Forwarded-For": "192.0.2.7"}

    assert "dana, viewer" in service.call("GET", "/", role=None, headers=said)[1]
    assert service.call("GET", "/api/machines", role=None, headers=said)[0] == 200
    assert service.call("GET", "/api/kept", role=None, headers=said)[0] == 401
    assert service.call("POST", "/machines/Machines-7/reserve", b"note=x", role=None, headers=said)[0] == 403


def test_word_of_nobody_else_does(make_service):
    service = make_service(OCTOWAIT_TRUSTED_PROXIES="192.0.2.1", OCTOWAIT_TRUSTED_USER_HEADER="X-Forwarded-User")

    assert service.call("GET", "/api/machines", role=None, headers={"X-Forwarded-User": "dana"})[0] == 401
