"""Run, ledger, timeline, health, the static file, signing in; and for all: phone, dark, accessible."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from werkzeug.wrappers import Request, Response

from app.coordination.attempts import MOST_FAILURES
from app.domain.run import RunRequest, TaskEnd
from app.followers.learner import Learner
from app.history.archive.files import ARCHIVED, Manifest
from tests.conftest import TOKENS, a_delivery
from tests.e2e.boards import join, write_past
from tests.e2e.browser import keep_screenshot, serious_findings

VIEWER, ADMIN = TOKENS["viewer"], TOKENS["admin"]

PATHS = [
    "/",
    "/machines/Machines-1?span=12h",
    "/runs/ServerTasks-3",
    "/runs/ServerTasks-5",
    "/ledger",
    "/timeline",
    "/health",
]


@pytest.fixture
def past_board(board, clock):
    write_past(board, clock)
    learner = Learner(board.client, board.keys)
    while learner.learn():
        pass
    return board


@pytest.fixture
def service(past_board, make_service):
    return make_service()


def named(path: str) -> str:
    return re.sub(r"\W+", "-", path.split("?")[0]).strip("-") or "dashboard"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PATHS)
def test_page_is_readable_and_accessible(window_of, path, scheme, tmp_path):
    window = window_of(color_scheme=scheme)
    page = window.sign_in(ADMIN)
    page.goto(window.url + path)

    assert serious_findings(page) == []
    keep_screenshot(page, f"{named(path)}-{scheme}", tmp_path)


@pytest.mark.parametrize("path", PATHS)
def test_phone_shows_the_page_without_sideways_scrolling(window_of, path, tmp_path):
    window = window_of(viewport={"width": 375, "height": 740}, has_touch=True, is_mobile=True)
    page = window.sign_in(ADMIN)
    page.goto(window.url + path)

    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    keep_screenshot(page, f"{named(path)}-phone", tmp_path)


def test_pages_forbid_scripts_and_frames_of_others(service):
    for path in ("/sign-in", "/ledger", "/timeline", "/health", "/machines/Machines-1"):
        import urllib.request

        asked = urllib.request.Request(service.url + path, headers={"Authorization": f"Bearer {VIEWER}"})
        with urllib.request.urlopen(asked, timeout=10) as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert "script-src 'self'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert answer.headers["Referrer-Policy"] == "same-origin"


def test_run_page_tells_for_whom_it_waited_in_words_and_bars(window):
    page = window.sign_in(VIEWER, "/runs/ServerTasks-3")

    expect(page.locator(".story")).to_contain_text("It waited 35 min for ServerTasks-2 (Api 1.4.0 to Production)")
    expect(page.locator(".story")).to_contain_text("an operator released it")
    expect(page.locator(".stretches li")).to_have_text(
        [re.compile(r"15 min\s*ServerTasks-1 .* held web-01"), re.compile(r"20 min\s*ServerTasks-2 .* held web-01")]
    )
    expect(page.locator(".run-chart .part")).to_have_count(2)
    expect(page.locator(".run-chart .hold")).to_have_count(1)


def test_waiting_run_explains_itself_and_when_it_is_expected(window):
    page = window.sign_in(VIEWER, "/runs/ServerTasks-5")
    why = page.locator("section", has_text="Why it waits")

    expect(why.locator(".chain li")).to_have_count(1)
    expect(why.locator(".chain li")).to_contain_text("Works ServerTasks-4 (Web 1.4.0 to Production)")
    expect(why.locator(".chain a", has_text="Octopus")).to_have_attribute("href", re.compile("^https://octopus"))
    expect(why.locator(".chain li")).to_contain_text("web-01 is free when ServerTasks-4 has ended")
    expect(why.locator(".what-if")).to_contain_text(re.compile(r"Expected to start in \d+ min"))
    expect(why.locator(".what-if")).to_contain_text("A higher priority would change nothing.")


def test_parked_run_that_octowait_cannot_resume_says_who_can(past_board, window, service):
    past_board.join(RunRequest("ServerTasks-7", parked=True), {"Machines-1"})

    page = window.sign_in(VIEWER, "/runs/ServerTasks-7")
    expect(page.locator(".story")).to_contain_text("when it is granted, answer its intervention by hand")
    status, why = service.call("GET", "/api/waits/ServerTasks-7/explain", role="viewer")
    assert status == 200 and "by hand" in why["message"] and "by hand" in why["sentences"][-1]


def test_event_shows_both_clocks(service, window):
    occurred = datetime.now(UTC) - timedelta(seconds=40)
    delivery = a_delivery("DeploymentStarted", task=4, occurred=occurred.isoformat())
    assert service.deliver(delivery)[0] == 202

    page = window.sign_in(VIEWER, "/runs/ServerTasks-4")

    row = page.locator(".timeline tr", has_text="Octopus event")
    expect(row).to_contain_text("DeploymentStarted, in Octopus at")
    expect(row.locator("time")).to_have_count(2)
    times = row.locator("time").evaluate_all("all => all.map(time => Number(time.dataset.atMs))")
    assert times[0] - times[1] >= 40_000


def test_run_that_only_an_event_has_told_of_has_a_page(service, window):
    assert service.deliver(a_delivery("DeploymentStarted", task=77))[0] == 202

    page = window.sign_in(VIEWER, "/runs/ServerTasks-77")

    expect(page.locator(".story")).to_contain_text("Its machines are not known: octowait has no API key")
    expect(page.locator(".timeline tbody tr")).to_have_count(1)


def test_admin_moves_a_waiter(past_board, window):
    join(past_board, 6, 1, project="Portal")
    page = window.sign_in(ADMIN, "/runs/ServerTasks-6")
    page.get_by_text("Change its priority").click()
    page.get_by_label("Priority").fill("10")
    page.get_by_label("Why").first.fill("hotfix")
    page.get_by_role("button", name="Move it").click()

    expect(page.locator(".notice")).to_have_text("It has place 1 now.")
    expect(page.locator(".timeline tr", has_text="Priority changed")).to_contain_text("from 0 to 10, by test: hotfix")


def test_admin_releases_by_force_and_says_why(past_board, window):
    page = window.sign_in(ADMIN, "/runs/ServerTasks-4")
    page.get_by_text("Take its machines away").click()
    page.get_by_label("Why").fill("   ")
    page.get_by_role("button", name="Release by force").click()
    expect(page.get_by_role("alert")).to_contain_text("Say why")
    window.forgive("422")

    page.get_by_label("Why").fill("its server died")
    page.get_by_role("button", name="Release by force").click()
    expect(page.locator(".notice")).to_have_text("Its machines are free.")
    expect(page.locator(".story")).to_contain_text("an operator released it")
    assert past_board.place("ServerTasks-5").is_granted


@pytest.fixture
def service_with_octopus(make_service, httpserver):
    """octowait, and an Octopus that says of each task that it still runs."""

    def answer(request: Request) -> Response:
        task = {"Id": request.path.rpartition("/")[2], "State": "Executing", "SpaceId": "Spaces-1"}
        return Response(json.dumps({"Items": [task], "TotalResults": 1, "ItemsPerPage": 30, "Links": {}, **task}))

    httpserver.expect_request(re.compile(r"/api/.*tasks.*")).respond_with_handler(answer)
    return make_service(OCTOWAIT_OCTOPUS_URL=httpserver.url_for(""), OCTOWAIT_OCTOPUS_API_KEY="API-TEST")


@pytest.fixture
def plain(window_of):
    """A window without script, where nothing renews a page; it forgives that a form is refused."""
    window = window_of(java_script_enabled=False)
    yield window
    window.forgive("409")


def fill_in_release(page: Page, url: str, task: str) -> None:
    """Go to the page of the run as an admin, and fill in the form that releases it."""
    page.goto(f"{url}/sign-in?next=/runs/{task}")
    page.get_by_label("Token").fill(ADMIN)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{url}/runs/{task}")
    page.locator("[data-key=release] summary").click()
    page.locator("[data-key=release] [name=reason]").fill("its server died")


@pytest.mark.parametrize("cause", ["step", "forced"])
def test_form_about_an_earlier_run_of_a_task_takes_nothing_from_the_next(past_board, plain, service, cause):
    page = plain.page
    fill_in_release(page, service.url, "ServerTasks-4")
    past_board.release("ServerTasks-4", cause=cause)
    past_board.release("ServerTasks-5")
    join(past_board, 4, 1)
    page.get_by_role("button", name="Release by force").click()

    expect(page.get_by_role("alert")).to_contain_text(
        "ServerTasks-4 has changed since this was decided, and is granted"
    )
    assert past_board.place("ServerTasks-4").is_granted
    page.get_by_role("button", name="Release by force").click()
    expect(page.locator(".notice")).to_have_text("Its machines are free.")


def test_form_about_a_run_that_waits_takes_nothing_from_it_once_it_is_granted(past_board, plain, service):
    page = plain.page
    fill_in_release(page, service.url, "ServerTasks-5")
    past_board.release("ServerTasks-4")
    page.get_by_role("button", name="Take it out").click()

    expect(page.get_by_role("alert")).to_contain_text(
        "ServerTasks-5 has changed since this was decided, and is granted"
    )
    expect(page.get_by_role("button", name="Release by force")).to_be_visible()
    assert past_board.place("ServerTasks-5").is_granted


def test_form_about_a_run_that_is_over_says_so(past_board, plain, service):
    page = plain.page
    fill_in_release(page, service.url, "ServerTasks-4")
    past_board.release("ServerTasks-4")
    page.get_by_role("button", name="Release by force").click()

    expect(page.get_by_role("alert")).to_contain_text("has changed since this was decided, and is released now")


def test_confirmation_is_about_the_run_that_octopus_was_asked_about(past_board, plain, service_with_octopus):
    page = plain.page
    fill_in_release(page, service_with_octopus.url, "ServerTasks-5")
    page.get_by_role("button", name="Take it out").click()
    expect(page.get_by_role("alert")).to_contain_text("Octopus says that ServerTasks-5 still runs")
    page.get_by_label("I am sure").check()
    past_board.release("ServerTasks-4")
    page.get_by_role("button", name="Take it out").click()

    expect(page.get_by_role("alert")).to_contain_text(
        "ServerTasks-5 has changed since this was decided, and is granted"
    )
    assert past_board.place("ServerTasks-5").is_granted


def test_form_of_no_page_changes_nothing(past_board, plain, service):
    page = plain.page
    fill_in_release(page, service.url, "ServerTasks-4")
    version = page.locator("[data-key=release] [name=version]")
    for wrong in ("", "x", "9" * 5000, "-7"):
        version.evaluate("(field, value) => field.value = value", wrong)
        page.get_by_role("button", name="Release by force").click()
        expect(page.get_by_role("alert")).to_contain_text("has changed since this was decided")
        assert past_board.place("ServerTasks-4").is_granted


def test_run_that_may_work_after_its_wait_is_counted_as_ended_on_its_page(past_board, plain, service_with_octopus):
    past_board.policy = replace(past_board.policy, has_key=True)
    join(past_board, 8, 1)
    page = plain.page
    fill_in_release(page, service_with_octopus.url, "ServerTasks-8")
    past_board.release("ServerTasks-8")
    assert past_board.place("ServerTasks-8").run.lingers
    page.get_by_role("button", name="Take it out").click()

    expect(page.get_by_role("alert")).to_contain_text("ServerTasks-8 has changed since this was decided, and is left")
    page.locator("[data-key=release] button").click()
    page.get_by_label("I am sure").check()
    page.locator("[data-key=release] button").click()
    expect(page.locator(".notice")).to_be_visible()
    assert not past_board.place("ServerTasks-8").run.lingers


def test_run_that_octopus_still_runs_is_released_only_when_confirmed(past_board, window_of, service_with_octopus):
    window = window_of()
    window.url = service_with_octopus.url
    page = window.sign_in(ADMIN, "/runs/ServerTasks-4")
    page.get_by_text("Take its machines away").click()
    page.get_by_label("Why").fill("its server died")
    page.get_by_role("button", name="Release by force").click()

    expect(page.get_by_role("alert")).to_contain_text("Octopus says that ServerTasks-4 still runs")
    assert past_board.place("ServerTasks-4").is_granted
    window.forgive("409")
    page.get_by_label("I am sure").check()
    page.get_by_role("button", name="Release by force").click()
    expect(page.locator(".notice")).to_have_text("Its machines are free.")


def test_ledger_adds_up_who_lost_how_long_to_whom(window, service):
    page = window.sign_in(VIEWER, "/ledger?by=blocker")
    rows = page.get_by_label("Ledger").locator("tbody tr")

    # Both projects of the past are Projects-7: 20 min + 35 min, and five of one that still waits.
    expect(rows.first).to_contain_text("Projects-7")
    expect(page.locator(".summary")).to_contain_text(re.compile(r"Lost by waiting\s*1 h"))
    expect(page.locator(".range")).to_contain_text("On record since")
    page.get_by_role("link", name="Machine", exact=True).click()
    expect(rows.first.locator("a")).to_have_text("web-01")
    page.locator(".longest details").first.locator("summary").click()
    expect(page.locator(".longest p").first).to_contain_text(
        "For 20 min ServerTasks-2 (Api 1.4.0 to Production) held web-01."
    )

    address = page.get_by_role("link", name="CSV").get_attribute("href")
    status, text = service.call("GET", str(address), role="viewer")
    assert status == 200 and text.splitlines()[1].startswith("Machines-1,web-01,3,")


def test_timeline_is_filtered_and_paged_newest_first(past_board, window):
    for number in range(110):
        past_board.reserve("Machines-2", note=f"note {number}", by="dana")
    page = window.sign_in(VIEWER, "/timeline?machine_id=Machines-2")
    rows = page.locator(".timeline tbody tr")

    expect(rows).to_have_count(100)
    expect(rows.first).to_contain_text("note 109")
    page.get_by_role("link", name="Older").click()
    expect(rows).to_have_count(10)
    expect(rows.last).to_contain_text("note 0")
    page.get_by_role("link", name="Newest").click()
    expect(rows.first).to_contain_text("note 109")

    page.goto(window.url + "/timeline")
    page.get_by_label("What").select_option("granted")
    page.get_by_role("button", name="Filter").click()
    expect(rows).to_have_count(4)
    expect(rows.first).to_contain_text("ServerTasks-4 (Web 1.4.0 to Production)")
    page.get_by_label("Environment").fill("Environments-2")
    page.get_by_role("button", name="Filter").click()
    expect(rows).to_have_count(4)
    page.get_by_label("Environment").fill("Environments-404")
    page.get_by_role("button", name="Filter").click()
    expect(rows).to_have_count(0)


@pytest.mark.parametrize("path", ["/timeline", "/ledger"])
def test_machine_is_filtered_by_its_name(window, path):
    page = window.sign_in(VIEWER, path)
    page.get_by_label("Machine", exact=True).fill("WEB-02")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#live p.none")).to_contain_text("in this time")

    page.get_by_label("Machine", exact=True).fill("web-01")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#live tbody tr").first).to_be_visible()
    expect(page.get_by_label("Machine", exact=True)).to_have_value("web-01")


@pytest.mark.parametrize("path", ["/timeline", "/ledger"])
def test_filter_that_means_nothing_shows_nothing_and_says_so(window, path):
    page = window.sign_in(VIEWER)
    page.goto(f"{window.url}{path}?machine_id=no%20such%20machine")

    expect(page.locator("#live tbody tr")).to_have_count(0)
    expect(page.locator("#live .none")).to_contain_text("no such machine")
    page.get_by_role("link", name="Show everything").click()
    expect(page.locator("#live tbody tr").first).to_be_visible()


def test_ledger_leads_to_what_kept_a_project_waiting(window):
    page = window.sign_in(VIEWER, "/ledger?by=project")
    page.get_by_label("Ledger").get_by_role("link").first.click()

    page.wait_for_url(re.compile("by=blocker"))
    assert "project_id=Projects-7" in page.url
    expect(page.get_by_label("Project", exact=True)).to_have_value("Projects-7")


def test_open_story_of_a_wait_stays_when_the_ledger_changes(past_board, window):
    page = window.sign_in(VIEWER, "/ledger")
    window.wait_until_live()
    page.locator(".longest summary").first.click()
    expect(page.locator(".longest p").first).to_be_visible()

    past_board.release("ServerTasks-4")
    join(past_board, 6, 1)
    past_board.reserve("Machines-2", note="new fan", by="dana")

    expect(page.locator(".summary")).to_contain_text(re.compile(r"Waits\s*4"))
    expect(page.locator(".longest p").first).to_be_visible()


def test_records_about_octowait_are_told_in_words(past_board, window):
    past_board.close(by="dana", reason="moving Redis")
    join(past_board, 6, 1)
    past_board.open("operator", by="dana")
    past_board.release("ServerTasks-4", cause="reconciled", ended=TaskEnd("failed", past_board.now_ms() - 60_000))

    page = window.sign_in(VIEWER, "/timeline")
    rows = page.locator(".timeline tbody tr")
    expect(rows.filter(has_text="Open again")).to_contain_text(re.compile(r"order of those who wait ServerTasks-6"))
    expect(rows.filter(has_text="moving Redis")).to_contain_text("by dana: moving Redis")
    released = rows.filter(has_text="reconciler")
    expect(released).to_contain_text(re.compile(r"failed in Octopus at [0-9-]+ [0-9:]+, noticed 1 min later"))
    assert not re.search(r"\[|\{|\d{13} ", rows.all_inner_texts()[0])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fault_is_told_where_people_look_first(past_board, window_of, scheme, tmp_path):
    offset = {"offset_least": 600_000, "offset_most": 601_000, "offset_at": past_board.now_ms()}
    past_board.client.hset(past_board.keys.counters, mapping=offset)

    window = window_of(color_scheme=scheme)
    page = window.sign_in(VIEWER)
    told = page.locator("#overview .banner")
    expect(told).to_have_count(1)
    expect(told).to_contain_text(re.compile("clock of Octopus.*Health says what to do"))
    keep_screenshot(page, f"dashboard-fault-{scheme}", tmp_path)
    assert serious_findings(page) == []
    told.get_by_role("link", name="Health").click()
    expect(page.locator(".banner").filter(has_text="clock of Octopus")).to_have_count(1)


def test_archive_that_is_elsewhere_is_told(past_board, window):
    first_ms = int(past_board.client.xrange(past_board.keys.timeline, count=1)[0][0].partition(b"-")[0])
    manifest = Manifest("2026-01-01", "1-0", f"{first_ms}-0", 1, 1, "", "")
    past_board.client.set(past_board.keys.named(ARCHIVED), json.dumps(asdict(manifest)))

    page = window.sign_in(VIEWER, "/timeline")
    expect(page.locator(".banner")).to_contain_text("are in an archive that is not here")
    page.goto(f"{window.url}/timeline?span=15m")
    expect(page.locator(".banner")).to_have_count(0)
    page.goto(f"{window.url}/health")
    expect(page.get_by_text("Archive", exact=True).locator("..")).to_contain_text("Check its files are not here")


def test_new_record_shows_on_the_timeline(past_board, window):
    page = window.sign_in(VIEWER, "/timeline")
    window.wait_until_live()

    past_board.reserve("Machines-2", note="disk swap", by="dana")

    expect(page.locator(".timeline tbody tr").first).to_contain_text("disk swap", timeout=2000)


def test_health_tells_how_late_webhooks_are_and_what_was_repaired(past_board, service, window):
    past_board.release("ServerTasks-4", cause="reconciled")
    occurred = datetime.now(UTC) - timedelta(seconds=40)
    service.deliver(a_delivery("DeploymentStarted", task=5, occurred=occurred.isoformat()))
    service.deliver({"nothing": "readable"})

    page = window.sign_in(VIEWER, "/health")

    expect(page.locator("main")).to_contain_text(re.compile(r"Last webhook\s*OK\s*\d+ s ago"))
    expect(page.locator("main")).to_contain_text(re.compile(r"Webhook lag\s*median 4\d s, worst 4\d s"))
    expect(page.locator("main")).to_contain_text(re.compile(r"Kept deliveries\s*Check\s*1 could not be applied"))
    expect(page.get_by_label("Repairs").locator("tr", has_text="reconciler")).to_contain_text("ServerTasks-4")
    expect(page.get_by_role("heading", name="Kept deliveries")).to_have_count(0)


def test_dashboard_shows_who_waits_for_whom_and_filters_by_environment(past_board, window, window_of):
    join(past_board, 7, 2, project="Portal", environment="Staging")
    page = window.sign_in(VIEWER)
    row = page.get_by_label("Runs waiting").locator("tbody tr")

    expect(row).to_have_count(1)
    expect(row).to_contain_text(re.compile(r"Api 1.4.0 to Production ServerTasks-5\s*web-01, place 1: ServerTasks-4"))
    page.get_by_label("Environment").select_option("Staging")
    expect(page.locator(".machine:visible h2")).to_have_text(["web-02"])
    expect(row).to_have_count(0)
    page.wait_for_url(re.compile("environment=Staging"))

    plain = window_of(java_script_enabled=False, extra_http_headers={"Authorization": f"Bearer {VIEWER}"}).page
    plain.goto(window.url + "/?environment=Staging")
    expect(plain.locator(".machine:visible h2")).to_have_text(["web-02"])
    expect(plain.get_by_label("Environment")).to_have_value("Staging")


def test_report_is_one_file_that_needs_nothing_else(service, window_of, tmp_path):
    file = tmp_path / "incident.html"
    done = octowait(service, "timeline", "--since", "6h", "--html", str(file))
    assert done.returncode == 0, done.stderr

    window = window_of(java_script_enabled=False)
    asked: list[str] = []
    window.page.on("request", lambda request: asked.append(request.url))
    window.page.goto(file.as_uri())
    page = window.page

    assert asked == [file.as_uri()]
    assert not re.search(r"(src|href)=", file.read_text())
    expect(page.locator(".panel h3").first).to_have_text(re.compile("web-01"))
    expect(page.locator("svg.gantt .hold")).to_have_count(4)
    expect(page.locator("main")).to_contain_text("For 20 min ServerTasks-2 (Api 1.4.0 to Production) held web-01.")
    expect(page.locator(".timeline tbody tr").first).to_contain_text("Joined the line")
    assert page.evaluate("getComputedStyle(document.querySelector('.hold rect')).fill") != "rgb(0, 0, 0)"
    keep_screenshot(page, "report", tmp_path)


def test_report_of_one_project_has_its_machines_only(past_board, service, tmp_path):
    past_board.reserve("Machines-2", note="disk swap", by="dana")
    file = tmp_path / "incident.html"
    assert octowait(service, "timeline", "--project", "Projects-7", "--html", str(file)).returncode == 0
    assert "web-01" in file.read_text() and "web-02" not in file.read_text()


def test_report_escapes_what_people_wrote(past_board, service, tmp_path):
    past_board.reserve("Machines-2", note="</style><script>alert(1)</script>", by="<b>dana</b>")
    file = tmp_path / "incident.html"
    assert octowait(service, "timeline", "--html", str(file)).returncode == 0
    assert "<script" not in file.read_text() and "<b>dana" not in file.read_text()


def test_report_that_breaks_off_leaves_no_file(service, tmp_path):
    service.stop()
    file = tmp_path / "incident.html"
    assert octowait(service, "timeline", "--html", str(file)).returncode == 3
    assert list(Path(tmp_path).glob("*incident*")) == []


def octowait(service, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**service.env, "OCTOWAIT_URL": service.url, "OCTOWAIT_TOKEN": VIEWER, "OCTOWAIT_REDIS_URL": ""}
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments], env=env, capture_output=True, text=True, timeout=60, check=False
    )


def test_sign_in_is_slowed_down_after_many_failures(window):
    page = window.page
    page.goto(window.url + "/sign-in")
    for _ in range(MOST_FAILURES):
        answer = page.request.post(window.url + "/sign-in", form={"token": "guess"}, headers={"Origin": window.url})
        assert answer.status == 403
    answer = page.request.post(window.url + "/sign-in", form={"token": VIEWER}, headers={"Origin": window.url})
    assert answer.status == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert "Too many attempts" in answer.text()
