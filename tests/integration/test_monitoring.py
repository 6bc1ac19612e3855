"""The example dashboard and alert rules speak of metrics and labels that there are."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from app.web import create_app
from tests.conftest import ROOT, TOKENS, WEBHOOK_SECRET, a_delivery, services_on

DIRECTORY = ROOT / "docs" / "monitoring"

#: What Prometheus adds to everything it scrapes, and to histograms.
PROMETHEUS = {"job", "instance"}


@pytest.fixture
def metrics(board, redis_url):
    """The labels and the values that they have, of each metric by name."""
    tokens = ",".join(f"{role}:test:{token}" for role, token in TOKENS.items())
    services = services_on(board, redis_url, webhook_secret=WEBHOOK_SECRET, tokens=tokens)
    client = create_app(services).test_client()
    services.budget.take(kind="tasks")
    client.post("/webhooks/octopus", json=a_delivery(), headers={"X-Octowait-Secret": WEBHOOK_SECRET})
    text = client.get("/metrics", headers={"Authorization": f"Bearer {TOKENS['viewer']}"}).text
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    return found


def dashboard():
    return json.loads((DIRECTORY / "grafana-dashboard.json").read_text())


def rules():
    groups = yaml.safe_load((DIRECTORY / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries():
    panels = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]
    return [target["expr"] for panel in panels for target in panel["targets"]] + [rule["expr"] for rule in rules()]


@pytest.mark.parametrize("query", queries())
def test_query_uses_metrics_and_labels_that_there_are(metrics, query):
    named = re.findall(r"(octowait_\w+)(?:\{([^}]*)\})?", query)
    assert named
    for name, selectors in named:
        assert name in metrics
        for label, operator, value in re.findall(r'(\w+)(=~|=)"([^"]*)"', selectors):
            if label not in PROMETHEUS:
                known = metrics[name][label]
                assert all(part in known for part in (value.split("|") if operator == "=~" else [value]))
    for labels in re.findall(r"by \(([^)]*)\)", query):
        allowed = set.union(*(set(metrics[name]) for name, _ in named))
        assert {label.strip() for label in labels.split(",")} <= allowed


@pytest.mark.parametrize("query", queries())
def test_query_has_its_brackets_closed_and_counts_no_process_twice(query):
    assert all(query.count(opened) == query.count(closed) for opened, closed in ("()", "[]", "{}"))
    # Every process tells the same: a sum would count each of them, but a quantile does not mind.
    assert "sum" not in query or "histogram_quantile" in query


def test_panels_have_ids_of_their_own_and_do_not_lie_on_one_another():
    panels = dashboard()["panels"]
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len({panel["id"] for panel in panels}) == len(panels) > 20
    assert len(set(cells)) == len(cells)


def test_every_metric_is_on_the_dashboard_or_in_a_rule(metrics):
    asked = " ".join(queries())
    families = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in metrics}

    assert {name for name in families if name not in asked} <= {"octowait_machines"}


def test_rules_say_what_is_wrong_and_how_bad():
    assert len({rule["alert"] for rule in rules()}) == len(rules())
    for rule in rules():
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
