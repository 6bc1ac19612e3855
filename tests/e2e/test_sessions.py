"""What the cookie of a signed-in browser opens: what pages read. A page of another port of this host cannot use it."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import pytest
from playwright.sync_api import Page
from pytest_httpserver import HTTPServer

from app.coordination.board import Board
from tests.conftest import TOKENS, Service
from tests.e2e.browser import Window
from tests.e2e.test_pages import _Stay

WRITES = [
    ("POST", "/api/waits/ServerTasks-1/force-release", {"reason": "x", "confirm": True}),
    ("POST", "/api/waits/ServerTasks-2/priority", {"reason": "x", "priority": 5}),
    ("PUT", "/api/waits/ServerTasks-9", {"machines": ["Machines-1"]}),
    ("DELETE", "/api/waits/ServerTasks-1", None),
    ("PUT", "/api/machines/Machines-2/reservation", {"note": "x", "create": True}),
    ("DELETE", "/api/machines/Machines-1/reservation", None),
    ("POST", "/api/catch-up", None),
    ("POST", "/api/rebuild", {"reason": "x", "open": False}),
    ("POST", "/api/archive", {"begin_anew": True}),
    ("DELETE", "/api/kept/1-1", None),
    ("DELETE", "/api/dead-letters/1-1", None),
]

#: Signs of life of somebody else, and what no viewer may read.
NOT_FOR_PAGES = ["/api/waits/ServerTasks-2", "/api/waits/ServerTasks-2?block_seconds=1", "/api/kept",
                 "/api/dead-letters"]  # fmt: skip

READS = ["/api/waits", "/api/machines", "/api/machines/Machines-1", "/api/runs/ServerTasks-1", "/api/timeline",
         "/api/timeline?format=csv", "/api/timeline?format=ndjson", "/api/ledger?format=csv", "/api/report", "/metrics",
         "/docs"]  # fmt: skip


def cookie_of(service: Service, token: str) -> str:
    """The cookie of a session that was opened with *token*."""
    form = urllib.parse.urlencode({"token": token}).encode()
    opener = urllib.request.build_opener(_Stay)
    with pytest.raises(urllib.error.HTTPError) as signed_in:
        opener.open(urllib.request.Request(f"{service.url}/sign-in", form), timeout=20)
    signed_in.value.close()
    return str(signed_in.value.headers["Set-Cookie"]).partition(";")[0]


def asked(service: Service, method: str, path: str, cookie: str, body: Any = None) -> tuple[int, str]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(service.url + path, data, method=method, headers={"Cookie": cookie})
    if data:
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def changes(board: Board) -> int:
    return int(board.client.xlen(board.keys.timeline))


def test_a_copied_cookie_is_worth_nothing_after_sign_out(board, service):
    cookie = cookie_of(service, TOKENS["admin"])
    assert asked(service, "GET", "/api/machines", cookie)[0] == 200
    assert board.client.keys(f"octowait:{{{board.keys.namespace}}}:session:*")

    opener = urllib.request.build_opener(_Stay)
    with pytest.raises(urllib.error.HTTPError) as signed_out:
        opener.open(urllib.request.Request(f"{service.url}/sign-out", b"", {"Cookie": cookie}), timeout=20)
    signed_out.value.close()

    assert signed_out.value.code == 303
    assert asked(service, "GET", "/api/machines", cookie)[0] == 401
    assert not board.client.keys(f"octowait:{{{board.keys.namespace}}}:session:*")


def test_a_session_lasts_twelve_hours_whatever_is_done_in_it(board, service):
    cookie = cookie_of(service, TOKENS["admin"])
    [key] = board.client.keys(f"octowait:{{{board.keys.namespace}}}:session:*")
    assert 11.9 * 3600 < board.client.ttl(key) <= 12 * 3600
    board.client.pexpire(key, 60_000)

    asked(service, "GET", "/machines/Machines-1", cookie)
    asked(service, "GET", "/", cookie)

    assert board.client.pttl(key) <= 60_000
    assert cookie.partition("=")[2].encode() not in key, "who reads Redis is nobody"


def test_a_session_ends_with_its_token(make_service):
    before = make_service()
    cookie = cookie_of(before, TOKENS["admin"])

    after = make_service(OCTOWAIT_TOKENS=f"viewer:test:{TOKENS['viewer']},admin:test:another-token-for-tests")

    assert asked(before, "GET", "/api/machines", cookie)[0] == 200
    assert asked(after, "GET", "/api/machines", cookie)[0] == 401


def test_who_signs_in_gets_an_id_that_nobody_chose(service):
    """Else whoever can set a cookie in a browser would know the session that its owner opens then."""
    own, form = cookie_of(service, TOKENS["viewer"]), urllib.parse.urlencode({"token": TOKENS["admin"]}).encode()

    for chosen in (own, "octowait=chosen-by-somebody"):
        opener = urllib.request.build_opener(_Stay)
        with pytest.raises(urllib.error.HTTPError) as signed_in:
            opener.open(urllib.request.Request(f"{service.url}/sign-in", form, {"Cookie": chosen}), timeout=20)
        signed_in.value.close()
        assert str(signed_in.value.headers["Set-Cookie"]).partition(";")[0] != chosen
        assert asked(service, "GET", "/api/machines", chosen)[0] == 401


def test_nothing_is_kept_for_a_browser_that_nobody_has_signed_in_with(board, service):
    for path in ("/sign-in", "/", "/nothing"):
        asked(service, "GET", path, "octowait=anything")
    form = urllib.parse.urlencode({"token": "wrong"}).encode()
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(f"{service.url}/sign-in", form), timeout=20)
    refused.value.close()

    assert refused.value.headers["Set-Cookie"] is None
    assert not board.client.keys(f"octowait:{{{board.keys.namespace}}}:session:*")


def test_a_code_signs_in_once_and_stands_in_no_history(board, service, window):
    status, answer = service.call("POST", "/api/sign-in-code", role="admin")
    [key] = board.client.keys(f"octowait:{{{board.keys.namespace}}}:sign-in-code:*")
    assert status == 201 and 590 < board.client.ttl(key) <= 600
    link = f"{service.url}/sign-in#code={answer['code']}"

    window.page.goto(link)
    window.page.wait_for_url(f"{service.url}/")
    assert answer["code"] not in window.page.evaluate("performance.getEntriesByType('navigation')[0].name")
    assert window.page.get_by_text("test, admin").is_visible()

    window.context.clear_cookies()
    window.page.goto("about:blank")
    window.page.goto(link)
    window.page.get_by_text("That link has been used").wait_for()
    window.forgive("403 (FORBIDDEN)")


def test_a_session_makes_no_codes(service):
    assert asked(service, "POST", "/api/sign-in-code", cookie_of(service, TOKENS["admin"]), {})[0] == 401


def test_a_session_changes_nothing_through_the_api(busy_board, service):
    cookie, before = cookie_of(service, TOKENS["admin"]), changes(busy_board)

    answers = {(method, path): asked(service, method, path, cookie, body) for method, path, body in WRITES}

    assert {call: status for call, (status, _) in answers.items() if status != 401} == {}
    assert all(json.loads(text)["code"] == "unauthorized" for _, text in answers.values())
    assert changes(busy_board) == before


def test_a_session_is_nobodys_sign_of_life(busy_board, service):
    cookie = cookie_of(service, TOKENS["admin"])
    busy_board.release("ServerTasks-1")
    seen = busy_board.client.hgetall(busy_board.keys.runs)

    statuses = [asked(service, method, path, cookie)[0] for path in NOT_FOR_PAGES for method in ("GET", "HEAD")]

    assert set(statuses) <= {401, 405}
    assert busy_board.client.hgetall(busy_board.keys.runs) == seen


@pytest.mark.parametrize("role", ["viewer", "admin"])
def test_a_session_reads_what_a_viewer_may(busy_board, service, role):
    cookie = cookie_of(service, TOKENS[role])

    statuses = {(method, path): asked(service, method, path, cookie)[0] for path in READS for method in ("GET", "HEAD")}

    assert set(statuses.values()) == {200}, statuses
    request = urllib.request.Request(service.url + "/api/stream", headers={"Cookie": cookie})
    with urllib.request.urlopen(request, timeout=20) as stream:
        assert next(iter(stream)).startswith(b": connected")


def test_a_token_of_the_header_counts_and_no_session_beside_it(busy_board, service):
    cookie = cookie_of(service, TOKENS["admin"])

    wrong = service.call("GET", "/api/machines", role=None, headers={"Cookie": cookie, "Authorization": "Bearer x"})
    right = service.call("POST", "/api/waits/ServerTasks-2/force-release", {"reason": "x"}, headers={"Cookie": cookie})

    assert (wrong[0], right[0]) == (401, 200)


#: What a page can send to another origin without asking it first: these kinds of content, and forms.
ATTACKS = """
async ([url, calls]) => {
  const sent = [];
  for (const [method, path, body] of calls) {
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "application/json"]) {
      for (const mode of ["no-cors", "cors"]) {
        const how = { method, mode, credentials: "include", headers: { "Content-Type": type } };
        if (body) how.body = JSON.stringify(body);
        sent.push(await fetch(url + path, how).then((answer) => answer.type, (error) => "refused"));
      }
    }
    navigator.sendBeacon(url + path, new Blob([JSON.stringify(body)], { type: "text/plain" }));
    if (!body) continue;
    const form = document.createElement("form");
    form.method = "post";
    form.enctype = "text/plain";
    form.action = url + path;
    form.target = "frame";
    const field = document.createElement("input");
    // Together with the sign between name and value it is JSON.
    field.name = JSON.stringify(body).slice(0, -1) + ',"note":"';
    field.value = '"}';
    form.append(field);
    document.body.append(form);
    const loaded = new Promise((resolve) => { document.querySelector("iframe").onload = resolve; });
    form.submit();
    await loaded;
  }
  return sent;
}
"""

READING = """
async (url) => {
  const read = async (path, mode) => (await fetch(url + path, { mode, credentials: "include" })).text();
  const script = (path) => new Promise((resolve) => {
    const element = document.createElement("script");
    element.onload = () => resolve("loaded");
    element.onerror = () => resolve("");
    element.src = url + path;
    document.head.append(element);
  });
  const texts = [];
  for (const path of ["/api/machines", "/api/timeline?format=csv", "/api/timeline?format=ndjson", "/"]) {
    for (const mode of ["cors", "no-cors"]) texts.push(await read(path, mode).catch(() => ""));
    texts.push(await script(path));
  }
  return texts;
}
"""


def test_what_a_browser_sends_for_a_page_of_another_port_changes_nothing(busy_board, service):
    """The same as below, where there is no browser: what one adds to such requests."""
    before = changes(busy_board)
    headers = {
        "Cookie": cookie_of(service, TOKENS["admin"]), "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors",
        "Origin": f"http://127.0.0.1:{service.port + 1}",
    }  # fmt: skip

    statuses = set()
    for method, path, body in WRITES:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/json"):
            data, declared = json.dumps(body).encode(), {**headers, "Content-Type": kind}
            request = urllib.request.Request(service.url + path, data, declared, method=method)
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, timeout=20)
            refused.value.close()
            statuses.add(refused.value.code)

    assert statuses == {401}
    assert changes(busy_board) == before


@pytest.fixture
def other_page(httpserver: HTTPServer, window: Window, service: Service) -> Page:
    """A page of another port, in a browser that an admin has signed in with."""
    httpserver.expect_request("/").respond_with_data("<iframe name=frame></iframe>", content_type="text/html")
    window.sign_in(TOKENS["admin"])
    page = window.context.new_page()
    page.goto(f"http://127.0.0.1:{httpserver.port}/")
    return page


def test_a_page_of_another_port_changes_nothing(busy_board, service, other_page):
    before = changes(busy_board)

    other_page.evaluate(ATTACKS, [service.url, WRITES])

    assert changes(busy_board) == before
    place = busy_board.place("ServerTasks-1")
    assert place and place.is_granted


def test_a_page_of_another_port_reads_nothing(busy_board, service, other_page):
    assert set(other_page.evaluate(READING, service.url)) == {""}


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json", "", None],
)
def test_a_body_says_that_it_is_json(board, service, kind):
    data = json.dumps({"machines": ["Machines-1"]}).encode()
    headers = {"Authorization": f"Bearer {TOKENS['admin']}"} | ({} if kind is None else {"Content-Type": kind})

    def put(path: str, method: str, body: bytes | None) -> tuple[int, Any]:
        # urllib would call it a form where nothing else is said.
        request = urllib.request.Request(service.url + path, body, method=method, headers=headers)
        if kind is None:
            request.add_unredirected_header("Content-Type", "")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    status, problem = put("/api/waits/ServerTasks-1", "PUT", data)
    assert (status, problem["code"]) == (415, "not_declared_json")
    assert "Content-Type: application/json" in problem["detail"]
    assert put("/api/catch-up", "POST", b"x=1")[0] == 415
    assert put("/api/waits/ServerTasks-1", "DELETE", data)[0] == 415
    status, answer = put("/api/waits/ServerTasks-1", "DELETE", None)
    assert (status, answer["outcome"]) == (200, "nothing")
    assert changes(board) == 0


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
def test_json_that_says_so_is_taken(board, service, kind):
    body = {"machines": ["Machines-1"]}

    assert service.call("PUT", "/api/waits/ServerTasks-1", body, headers={"Content-Type": kind})[0] == 201


def test_a_head_collects_no_grant(busy_board, service):
    busy_board.release("ServerTasks-1")
    before = busy_board.client.hgetall(busy_board.keys.runs)

    request = urllib.request.Request(f"{service.url}/api/waits/ServerTasks-3", method="HEAD")
    request.add_header("Authorization", f"Bearer {TOKENS['step']}")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=20)
    refused.value.close()

    assert (refused.value.code, refused.value.headers["Allow"]) == (405, "GET, PUT, DELETE")
    assert busy_board.client.hgetall(busy_board.keys.runs) == before


def test_no_other_origin_is_allowed_anything(service):
    request = urllib.request.Request(
        service.url + "/api/machines", method="OPTIONS",
        headers={"Origin": "http://127.0.0.1:9", "Access-Control-Request-Method": "PUT"},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]
