"""``octowait subscription`` against an HTTP server that keeps subscriptions as Octopus does."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from app.octopus.client import OctopusClient
from app.octopus.documents import EventCategory
from app.provision.subscription_wording import fact_lines, facts_of_all, outcome_lines
from app.provision.subscriptions import HIDDEN, NoRunCategories, ensure_all, make_spec, remove_all
from app.settings import BadSettings, Settings
from tests.conftest import ROOT

SECRET = "webhook-secret-for-tests"
URL = "https://octowait.example.com/webhooks/octopus"
CATEGORIES = ["DeploymentQueued", "DeploymentStarted", "DeploymentResumed", "DeploymentSucceeded", "DeploymentFailed",
              "RunbookRunStarted", "TaskCanceled", "ManualInterventionInterruptionRaised", "MachineAdded", "Created",
              "LoginSucceeded"]  # fmt: skip
WANTED = {name for name in CATEGORIES if name not in ("MachineAdded", "Created", "LoginSucceeded")}


#: What servers show in place of a header value, given it or None.
SHAPES: dict[str, Callable[[Any], Any]] = {
    "text": lambda secret: secret,
    "sensitive": lambda secret: {"HasValue": secret is not None, "NewValue": None, "Hint": None},
    "property": lambda secret: {
        "IsSensitive": True, "SensitiveValue": {"HasValue": secret is not None, "NewValue": None, "Hint": None},
        "Value": None,
    },
    "property without members": lambda secret: {"SensitiveValue": {"HasValue": secret is not None}},
    "property that is not sensitive": lambda secret: {"IsSensitive": False, "SensitiveValue": None, "Value": secret},
}  # fmt: skip


class Octopus:
    """Spaces with subscriptions. *sensitive*: the header value is kept to itself, as newer servers do."""

    def __init__(self, server: HTTPServer, *, sensitive: bool = True, spaces: int = 1) -> None:
        self.server = server
        self.spaces = [{"Id": f"Spaces-{n}", "Name": f"Space {n}"} for n in range(1, spaces + 1)]
        self.subscriptions: dict[str, dict[str, Any]] = {}
        self.secrets: dict[str, Any] = {}
        self.categories = list(CATEGORIES)
        self.denied: set[str] = set()
        self.writes: list[str] = []
        self.version: str | None = "2026.3"
        #: How the header value is shown; one of `SHAPES`.
        self.shape = "sensitive" if sensitive else "text"
        #: What a header value may not be written as.
        self.refused: tuple[type, ...] = ()
        #: What was written as header values.
        self.values: list[Any] = []
        server.expect_request(re.compile("^/api")).respond_with_handler(self._answer)

    def add(self, number: int = 9, *, space: str = "Spaces-1", **fields: Any) -> dict[str, Any]:
        webhook = {
            "Filter": {"EventCategories": [], "DocumentTypes": []}, "WebhookURI": "https://elsewhere.example.com/",
            "WebhookTeams": [], "WebhookTimeout": "00:00:10", "WebhookHeaderKey": None, "WebhookHeaderValue": None,
            "WebhookLastProcessed": "2025-05-06T07:00:00.000+00:00",
        }  # fmt: skip
        self.subscriptions[f"Subscriptions-{number}"] = {
            "Id": f"Subscriptions-{number}", "Name": "octowait", "SpaceId": space, "IsDisabled": False,
            "EventNotificationSubscription": webhook, **fields,
        }  # fmt: skip
        return self.subscriptions[f"Subscriptions-{number}"]

    @property
    def only(self) -> dict[str, Any]:
        (subscription,) = self.subscriptions.values()
        return subscription

    def _answer(self, request: Request) -> Response:
        parts = request.path.removeprefix("/api").strip("/").split("/")
        if parts == [""]:
            return self._json({"Version": self.version})
        if parts == ["spaces"]:
            return self._json({"Items": self.spaces, "Links": {}})
        if parts == ["events", "categories"]:
            return self._json([{"Id": name, "Name": name} for name in self.categories])
        space, kind, *rest = parts
        assert kind == "subscriptions", request.path
        if space in self.denied:
            return self._json({"ErrorMessage": "Missing permission: SubscriptionView"}, 403)
        return self._subscriptions(request, space, rest)

    def _subscriptions(self, request: Request, space: str, rest: list[str]) -> Response:
        if request.method == "GET":
            inside = [self._shown(each) for each in self.subscriptions.values() if each["SpaceId"] == space]
            return self._json({"Items": inside, "Links": {}})
        self.writes.append(request.method)
        if request.method == "DELETE":
            del self.subscriptions[rest[0]]
            return Response(status=204)
        body = json.loads(request.data)
        value = body["EventNotificationSubscription"]["WebhookHeaderValue"]
        self.values.append(value)
        if isinstance(value, self.refused):
            # What Json.NET says; Octopus cuts it off nowhere, octowait does.
            said = f"Error converting value {json.dumps(value)} to type 'X'. Path 'WebhookHeaderValue'. " + "." * 150
            return self._json({"ErrorMessage": f"{'.' * 60}{said}{json.dumps(value)}"}, 400)
        if request.method == "POST":
            body["Id"] = f"Subscriptions-{len(self.subscriptions) + 1}"
        else:
            assert body["Id"] == rest[0]
        self.subscriptions[body["Id"]] = body
        inner = value.get("SensitiveValue", value) if isinstance(value, dict) else {}
        if isinstance(value, str) or inner.get("NewValue"):
            self.secrets[body["Id"]] = value if isinstance(value, str) else inner["NewValue"]
        return self._json(self._shown(body), 201 if request.method == "POST" else 200)

    def _shown(self, subscription: dict[str, Any]) -> dict[str, Any]:
        shown = copy.deepcopy(subscription)
        value = SHAPES[self.shape](self.secrets.get(subscription["Id"]))
        shown["EventNotificationSubscription"]["WebhookHeaderValue"] = value
        return shown

    @staticmethod
    def _json(body: Any, status: int = 200) -> Response:
        return Response(json.dumps(body), status=status, content_type="application/json")


@pytest.fixture
def octopus(httpserver: HTTPServer) -> Octopus:
    return Octopus(httpserver)


@pytest.fixture
def client(httpserver: HTTPServer) -> Iterator[OctopusClient]:
    client = OctopusClient(httpserver.url_for("/"), "API-KEY", sleep=lambda seconds: None)
    yield client
    client.close()


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(public_url="https://octowait.example.com", webhook_secret=SECRET, data_dir=tmp_path)


@pytest.fixture
def ensure(client: OctopusClient, settings: Settings) -> Callable[..., Any]:
    def run(**options: Any) -> Any:
        (outcome,) = ensure_all(client, settings, **options)
        return outcome

    return run


def test_missing_subscription_is_created_once(octopus, ensure):
    assert ensure().outcome == "created"
    assert ensure().outcome == "unchanged"

    webhook = octopus.only["EventNotificationSubscription"]
    assert octopus.only["Name"] == "octowait" and not octopus.only["IsDisabled"]
    assert set(webhook["Filter"]["EventCategories"]) == WANTED
    assert webhook["WebhookURI"] == URL and webhook["WebhookTimeout"] == "00:00:30"
    assert octopus.secrets == {"Subscriptions-1": SECRET}
    assert octopus.writes == ["POST"]


def test_categories_are_those_of_the_server(octopus, ensure):
    octopus.categories = ["DeploymentStarted", "DeploymentAbandoned", "DocumentChanged"]

    ensure()

    filters = octopus.only["EventNotificationSubscription"]["Filter"]
    assert filters["EventCategories"] == ["DeploymentAbandoned", "DeploymentStarted"]


def test_server_without_categories_of_runs_gets_no_subscription(octopus, ensure):
    octopus.categories = ["Created"]

    with pytest.raises(NoRunCategories, match="none of the 1"):
        ensure()
    assert octopus.writes == []


def test_dry_run_writes_nothing_and_says_everything(octopus, ensure):
    outcome = ensure(dry_run=True)

    assert outcome.outcome == "would_create" and octopus.writes == []
    text = "\n".join(outcome_lines("octowait", outcome))
    assert f"+ url: {URL}" in text and "+ categories: DeploymentFailed" in text
    assert "+ header value: the webhook secret" in text and SECRET not in text


@pytest.mark.parametrize(
    ("what", "drift"),
    [
        ("enabled", lambda s: s.update(IsDisabled=True)),
        ("url", lambda s: s["EventNotificationSubscription"].update(WebhookURI="https://old.example.com/")),
        ("header", lambda s: s["EventNotificationSubscription"].update(WebhookHeaderKey="X-Old")),
        ("time-out", lambda s: s["EventNotificationSubscription"].update(WebhookTimeout="00:00:10")),
        ("categories", lambda s: s["EventNotificationSubscription"]["Filter"]["EventCategories"].pop()),
        ("other filters", lambda s: s["EventNotificationSubscription"]["Filter"].update(DocumentTypes=["Machines"])),
        ("teams", lambda s: s["EventNotificationSubscription"].update(WebhookTeams=["teams-1"])),
    ],
)
def test_drift_is_seen_and_corrected_with_the_secret(octopus, ensure, what, drift):
    ensure()
    good = copy.deepcopy(octopus.only["EventNotificationSubscription"])
    good.pop("WebhookHeaderValue")
    drift(octopus.only)
    octopus.secrets["Subscriptions-1"] = "somebody else's"

    seen = ensure(dry_run=True)
    assert (seen.outcome, [change.what for change in seen.changes]) == ("would_correct", [what])

    assert ensure().outcome == "corrected"
    after = dict(octopus.only["EventNotificationSubscription"])
    after.pop("WebhookHeaderValue")
    assert after == good and not octopus.only["IsDisabled"]
    assert octopus.secrets["Subscriptions-1"] == SECRET
    assert ensure().outcome == "unchanged"


def test_header_in_another_letter_case_is_the_same(octopus, ensure):
    ensure()
    octopus.only["EventNotificationSubscription"]["WebhookHeaderKey"] = "x-octowait-SECRET"

    assert ensure().outcome == "unchanged"


def test_fields_of_other_kinds_survive(octopus, ensure):
    subscription = octopus.add(9)
    subscription["EventNotificationSubscription"]["SlackChannelIds"] = ["C1"]
    subscription["Later"] = {"version": 1}

    assert ensure().outcome == "corrected"

    assert octopus.only["EventNotificationSubscription"]["SlackChannelIds"] == ["C1"]
    assert octopus.only["Later"] == {"version": 1}


def test_hidden_secret_is_said_to_be_unknown_and_rotated_on_demand(octopus, ensure):
    ensure()
    octopus.secrets["Subscriptions-1"] = "another"

    assert HIDDEN in ensure().notes
    assert octopus.secrets["Subscriptions-1"] == "another"

    outcome = ensure(rotate=True)
    assert outcome.outcome == "corrected" and octopus.secrets["Subscriptions-1"] == SECRET
    assert [change.what for change in outcome.changes] == ["header value"] and HIDDEN not in outcome.notes


def test_shown_secret_is_compared_and_never_told(httpserver, ensure):
    octopus = Octopus(httpserver, sensitive=False)
    ensure()
    octopus.secrets["Subscriptions-1"] = "another-secret"

    outcome = ensure()

    assert outcome.outcome == "corrected" and octopus.secrets["Subscriptions-1"] == SECRET
    told = json.dumps(outcome.as_json()) + "\n".join(outcome_lines("octowait", outcome))
    assert "another-secret" not in told and SECRET not in told
    assert ensure().outcome == "unchanged" and ensure().notes == ()


@pytest.mark.parametrize("shape", SHAPES)
def test_secret_is_written_and_kept_whatever_shape_it_is_shown_in(octopus, ensure, shape):
    octopus.shape = shape

    assert ensure().outcome == "created"
    assert (octopus.secrets, ensure().outcome) == ({"Subscriptions-1": SECRET}, "unchanged")
    octopus.only["IsDisabled"], octopus.only["Later"] = True, {"version": 1}
    octopus.only["EventNotificationSubscription"]["SlackChannelIds"] = ["C1"]
    octopus.secrets["Subscriptions-1"] = "another-secret"
    outcome = ensure()

    assert outcome.outcome == "corrected" and octopus.secrets == {"Subscriptions-1": SECRET}
    assert "Octopus did not take header value." not in outcome.notes
    assert octopus.only["Later"] == {"version": 1}
    assert octopus.only["EventNotificationSubscription"]["SlackChannelIds"] == ["C1"]
    assert octopus.values[0]["SensitiveValue"]["NewValue"] == SECRET, "a new one is sensitive"
    told = json.dumps(outcome.as_json()) + "\n".join(outcome_lines("octowait", outcome))
    assert "another-secret" not in told and SECRET not in told


@pytest.mark.parametrize(
    ("version", "shape", "first"),
    [("2025.4.1893", "text", str), ("2026.3", "property", dict), (None, "property", dict), (None, "text", dict)],
)
@pytest.mark.parametrize("other", [None, "text", "property"])
def test_new_secret_is_written_as_the_server_writes_others_else_as_its_version_does(
    octopus, ensure, version, shape, first, other
):
    octopus.version, octopus.shape = version, other or shape
    if other:
        octopus.add(21, Name="gate")
        octopus.secrets["Subscriptions-21"] = "of somebody else"
        first = {"text": str, "property": dict}[other]

    ensure()

    assert isinstance(octopus.values[0], first)
    assert octopus.secrets["Subscriptions-2" if other else "Subscriptions-1"] == SECRET


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(("refused", "version", "shape"), [(dict, None, "text"), (str, "2025.4", "property")])
def test_server_that_does_not_take_the_one_form_is_given_the_other(octopus, ensure, refused, version, shape, method):
    octopus.version, octopus.shape, octopus.refused = version, shape, (refused,)
    if method == "PUT":
        octopus.add(9)

    outcome = ensure()

    assert outcome.outcome == ("created" if method == "POST" else "corrected")
    assert list(octopus.secrets.values()) == [SECRET]
    assert len(octopus.subscriptions) == 1


@pytest.mark.parametrize("exists", [False, True])
def test_complaint_of_the_server_does_not_tell_the_secret(octopus, ensure, exists):
    """It quotes what it could not read, and the end of that is cut off."""
    octopus.refused = (dict, str)
    if exists:
        octopus.add(9)

    outcome = ensure()

    assert outcome.outcome == "failed" and "Error converting value" in outcome.notes[0]
    told = json.dumps(outcome.as_json()) + "\n".join(outcome_lines("octowait", outcome))
    assert SECRET[:6] not in told


def test_secret_that_a_server_swallows_is_given_to_it_in_the_other_form(octopus, ensure):
    """An older server that takes an object for nothing, and says neither."""
    octopus.version, octopus.shape = None, "text"
    shown, stored = octopus._shown, octopus.secrets

    def swallows(subscription: Any) -> Any:
        if isinstance(octopus.values[-1], dict):
            stored.pop(subscription["Id"], None)
        return shown(subscription)

    octopus._shown = swallows

    assert ensure().outcome == "created"
    assert octopus.secrets == {"Subscriptions-1": SECRET}
    assert octopus.writes == ["POST", "PUT"]


def test_missing_secret_is_written(octopus, ensure):
    ensure()
    octopus.secrets.clear()

    assert [change.what for change in ensure().changes] == ["header value"]
    assert octopus.secrets["Subscriptions-1"] == SECRET


def test_subscription_of_somebody_else_is_left_alone_but_named(octopus, ensure):
    other = octopus.add(21, Name="gate")
    other["EventNotificationSubscription"]["WebhookURI"] = URL
    before = copy.deepcopy(other)

    outcome = ensure()

    assert outcome.outcome == "created" and octopus.subscriptions["Subscriptions-21"] == before
    assert any("Subscriptions-21 (gate) posts to the same address" in note for note in outcome.notes)


def test_server_that_keeps_something_is_told_about(octopus, ensure, httpserver):
    ensure()
    octopus.only["IsDisabled"] = True
    shown = octopus._shown
    octopus._shown = lambda subscription: {**shown(subscription), "IsDisabled": True}

    assert "Octopus did not take enabled." in ensure().notes


def test_each_space_gets_its_own_and_one_failure_stops_no_other(httpserver, client, settings):
    octopus = Octopus(httpserver, spaces=3)
    octopus.denied = {"Spaces-2"}

    outcomes = ensure_all(client, settings)

    assert [outcome.outcome for outcome in outcomes] == ["created", "failed", "created"]
    assert "SubscriptionView" in outcomes[1].notes[0]
    assert {each["SpaceId"] for each in octopus.subscriptions.values()} == {"Spaces-1", "Spaces-3"}


@pytest.mark.parametrize("wanted", ["Spaces-2", "spaces-2", "Space 2"])
def test_space_is_chosen_by_id_or_name(httpserver, client, settings, wanted):
    Octopus(httpserver, spaces=3)

    assert [outcome.space_id for outcome in ensure_all(client, settings, space=wanted)] == ["Spaces-2"]


def test_spaces_of_the_settings_are_the_default(httpserver, client, settings):
    Octopus(httpserver, spaces=3)
    settings = settings.model_copy(update={"octopus_spaces": ("Spaces-3", "Spaces-1")})

    assert [outcome.space_id for outcome in ensure_all(client, settings)] == ["Spaces-3", "Spaces-1"]


def test_namespaces_have_subscriptions_of_their_own(octopus, client, settings):
    ensure_all(client, settings)
    ensure_all(client, settings.model_copy(update={"namespace": "blue"}))

    assert {each["Name"] for each in octopus.subscriptions.values()} == {"octowait", "octowait-blue"}


def test_only_our_own_is_removed(octopus, client, settings):
    octopus.add(21, Name="gate")
    ensure_all(client, settings)

    (would,) = remove_all(client, settings, dry_run=True)
    assert would.outcome == "would_remove" and len(octopus.subscriptions) == 2

    (removed,) = remove_all(client, settings)
    assert removed.outcome == "removed" and [*octopus.subscriptions] == ["Subscriptions-21"]

    (nothing,) = remove_all(client, settings)
    assert nothing.outcome == "nothing"


def test_facts_are_shown_without_the_secret(httpserver, client, settings):
    octopus = Octopus(httpserver, sensitive=False)
    assert facts_of_all(client, settings, None)[0]["subscription_id"] is None
    ensure_all(client, settings)
    octopus.only["EventNotificationSubscription"]["WebhookLastProcessed"] = "2025-05-06T07:00:00.000+00:00"

    (facts,) = facts_of_all(client, settings, None)

    assert facts["enabled"] and facts["has_header_value"] and facts["lag_ms"] > 0
    text = json.dumps(facts) + "\n".join(fact_lines(facts, "octowait"))
    assert SECRET not in text and "last processed: 2025-05-06T07:00:00+00:00" in text


CATEGORY = [EventCategory("DeploymentStarted", "Deployment started")]


@pytest.mark.parametrize(
    ("update", "options", "said"),
    [
        ({"public_url": None}, {}, "OCTOWAIT_PUBLIC_URL"),
        ({"webhook_secret": None}, {}, "OCTOWAIT_WEBHOOK_SECRET"),
        ({}, {"webhook_url": "octowait.example.com"}, "--webhook-url"),
    ],
)
def test_what_is_missing_is_named(settings, update, options, said):
    with pytest.raises(BadSettings, match=said):
        make_spec(settings.model_copy(update=update), CATEGORY, **options)


def test_address_of_the_command_line_is_taken(settings):
    spec = make_spec(settings.model_copy(update={"public_url": None}), CATEGORY, webhook_url="http://127.0.0.1:8080/w")

    assert spec.url == "http://127.0.0.1:8080/w"


@pytest.fixture
def command(httpserver: HTTPServer, tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith("OCTOWAIT_")} | {
            "OCTOWAIT_OCTOPUS_URL": httpserver.url_for("/"), "OCTOWAIT_OCTOPUS_API_KEY": "API-KEY",
            "OCTOWAIT_PUBLIC_URL": "https://octowait.example.com", "OCTOWAIT_WEBHOOK_SECRET": SECRET,
            "PYTHONPATH": str(ROOT), **more,
        }  # fmt: skip
        return subprocess.run(
            [sys.executable, "-m", "app", "subscription", *arguments],
            env={k: v for k, v in env.items() if v}, cwd=tmp_path, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    return run


def test_command_tells_by_its_status_whether_something_is_to_change(octopus, command):
    assert command("ensure", "--dry-run").returncode == 1
    made = command("ensure")
    assert (made.returncode, made.stderr) == (0, "")
    assert "subscription octowait (Subscriptions-1) was created" in made.stdout
    assert command("ensure", "--dry-run").returncode == 0
    assert json.loads(command("show", "--json").stdout)[0]["subscription_id"] == "Subscriptions-1"
    assert json.loads(command("remove", "--json").stdout)[0]["outcome"] == "removed"


def test_command_that_fails_in_a_space_says_so_by_its_status(octopus, command):
    octopus.denied = {"Spaces-1"}

    result = command("ensure")

    assert result.returncode == 1 and "could not be looked after" in result.stdout


def test_command_says_that_no_category_is_about_a_run(octopus, command):
    octopus.categories = ["Created"]

    result = command("ensure")

    assert result.returncode == 1 and "is about a run (no_categories)" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "env", "status", "said"),
    [
        (["ensure"], {"OCTOWAIT_OCTOPUS_API_KEY": ""}, 2, "OCTOWAIT_OCTOPUS_API_KEY"),
        (["ensure"], {"OCTOWAIT_OCTOPUS_URL": "http://127.0.0.1:1"}, 3, "no answer"),
        (["ensure", "--space", "Spaces-9"], {}, 1, "Spaces-1 (Space 1) (no_space)"),
    ],
)
def test_command_says_in_one_line_what_is_wrong(octopus, command, arguments, env, status, said):
    result = command(*arguments, **env)

    assert result.returncode == status and said in result.stderr and "Traceback" not in result.stderr
