"""``/healthz``, ``/readyz`` and ``/metrics``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.services import Services
from app.web.contract import Api, services
from app.web.problems import Problem

api = Api(Blueprint("health", __name__))


@api.route("GET", "/healthz", role=None, answers={200: None}, media=("application/json",))
def healthz() -> Any:
    """The process is alive."""
    return {"status": "alive"}


@api.route("GET", "/readyz", role=None, answers={200: None}, media=("application/json",))
def readyz() -> Any:
    """Redis answers, a worker has been seen, and the board grants."""
    gate = services()
    gate.board.sweep()
    if gate.board.closed_since_ms():
        raise Problem(503, "rebuilding", "Redis was empty, and nobody is granted until Octopus has said who runs where")
    if not gate.has_worker():
        raise Problem(503, "no_worker", "Redis answers, but no worker has been seen: expected 'octowait worker' to run")
    return {"status": "ready"}


@api.route("GET", "/metrics", role=None, answers={200: None}, media=("text/plain",))
def metrics() -> Any:
    """Prometheus: the board as Redis has it, so every process answers the same."""
    registry = CollectorRegistry()
    registry.register(_BoardCollector(services()))
    return Response(generate_latest(registry), content_type="text/plain; version=0.0.4; charset=utf-8")


class _BoardCollector(Collector):
    def __init__(self, gate: Services) -> None:
        self._gate = gate

    def collect(self) -> Iterator[Metric]:
        snapshot = self._gate.snapshot()
        yield GaugeMetricFamily("octowait_waiters", "Runs in line.", len(snapshot.waiting))
        holders = GaugeMetricFamily("octowait_holders", "Machines held, by kind of holder.", labels=["kind"])
        for kind in ("lease", "observed", "reservation"):
            count = sum(held.kind == kind for machine in snapshot.machines for held in machine.holders)
            holders.add_metric([kind], count)
        yield holders
        yield GaugeMetricFamily("octowait_machines", "Machines known.", len(snapshot.machines))
        unresolved = "Running tasks whose machines are not known yet."
        yield GaugeMetricFamily("octowait_unresolved_runs", unresolved, len(snapshot.unresolved))
        yield GaugeMetricFamily(
            "octowait_blocked_requests", "Requests that block in the process that answers this.", len(self._gate.wakes)
        )
