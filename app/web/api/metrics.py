"""``/metrics``: the board as Redis has it, and what was measured, so every process answers the same."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from flask import Blueprint, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from app.domain.records import order_of
from app.followers.metrics import METRICS, MetricDefinition
from app.services import Services
from app.settings.values import Token
from app.web.api.routing import Api, current_services

api = Api(Blueprint("metrics", __name__))


@api.route("GET", "/metrics", role="viewer", answers={200: None}, media=("text/plain",))
def metrics(caller: Token) -> Any:
    """Prometheus."""
    services = current_services()
    services.metric_buffer.flush(blocked=len(services.wakes))
    registry = CollectorRegistry()
    registry.register(_Collector(services))
    return Response(generate_latest(registry), content_type="text/plain; version=0.0.4; charset=utf-8")


class _Collector(Collector):
    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        values = self._services.metric_values.values()
        yield from self._board()
        yield from self._processes()
        yield from self._octopus()
        for measure in METRICS:
            yield family_of(measure, values)

    def _board(self) -> Iterator[Metric]:
        counts = self._services.counts()
        yield GaugeMetricFamily("octowait_waiters", "Runs in line.", counts.waiting)
        holders = GaugeMetricFamily("octowait_holders", "Machines held, by kind of holder.", labels=["kind"])
        for kind in ("lease", "observed", "provisional", "reservation"):
            holders.add_metric([kind], counts.held.get(kind, 0))
        yield holders
        yield GaugeMetricFamily("octowait_machines", "Machines known.", counts.machines)
        unresolved = "Running tasks whose machines are not known yet."
        yield GaugeMetricFamily("octowait_unresolved_runs", unresolved, counts.unresolved)
        yield GaugeMetricFamily(
            "octowait_board_open", "1 while machines are granted, 0 while nobody is.", counts.is_open
        )

    def _processes(self) -> Iterator[Metric]:
        services = self._services
        blocked = "Requests that block, in all web processes."
        yield GaugeMetricFamily("octowait_blocked_requests", blocked, services.metric_values.blocked())
        yield GaugeMetricFamily("octowait_worker_seen", "1 when a worker has reported lately.", services.has_worker())
        yield GaugeMetricFamily("octowait_dead_letters", "Jobs that failed and are kept.", services.dead_jobs.count())
        deliveries = services.dead_deliveries.count()
        yield GaugeMetricFamily("octowait_kept_deliveries", "Webhooks that are kept for a person.", deliveries)
        lag = "How much later the newest record is than the last that was counted here."
        yield GaugeMetricFamily("octowait_measure_lag_seconds", lag, self._lag())

    def _lag(self) -> float:
        newest, counted = order_of(self._services.timeline.last_id())[0], self._services.metric_values.counted_to()
        counted_ms = order_of(counted)[0] if counted else self._services.timeline.first_ms()
        return max(0, newest - counted_ms) / 1000

    def _octopus(self) -> Iterator[Metric]:
        heard_at_ms = self._services.metric_values.last_webhook_ms()
        age = GaugeMetricFamily(
            "octowait_last_webhook_age_seconds", "Since the last webhook; nothing before the first."
        )
        if heard_at_ms:
            age.add_metric([], (self._services.board.now_ms() - heard_at_ms) / 1000)
        yield age
        budget = self._services.budget
        left = "Requests that Octopus may still be asked now, of OCTOWAIT_OCTOPUS_RPM."
        yield GaugeMetricFamily("octowait_octopus_budget_left", left, budget.left())
        calls = CounterMetricFamily("octowait_octopus_requests", "Requests to Octopus, by kind.", labels=["kind"])
        requests = {f"{calls.name}\0{kind}": count for kind, count in budget.calls().items()}
        for name, count in sorted(self._services.metric_values.monotonic(requests).items()):
            if name.startswith(f"{calls.name}\0"):
                calls.add_metric([name.partition("\0")[2]], count)
        yield calls


def family_of(measure: MetricDefinition, values: Mapping[str, int]) -> Metric:
    """A measure with what the store has of it; what it has nothing of is 0."""
    names = list(measure.labels)
    family: CounterMetricFamily | HistogramMetricFamily
    if not measure.buckets:
        family = CounterMetricFamily(measure.name, measure.help, labels=names)
        for labels in _labels(measure):
            family.add_metric(labels, values.get("\0".join((measure.name, *labels, "n")), 0))
        return family
    family = HistogramMetricFamily(measure.name, measure.help, labels=names)
    bounds = [*map(str, measure.buckets), "+Inf"]
    for labels in _labels(measure):
        prefix = "\0".join((measure.name, *labels, ""))
        counts = itertools.accumulate(values.get(f"{prefix}{at}", 0) for at in range(len(bounds)))
        family.add_metric(labels, list(zip(bounds, counts, strict=True)), values.get(f"{prefix}ms", 0) / 1000)
    return family


def _labels(measure: MetricDefinition) -> Iterator[tuple[str, ...]]:
    """Every set of label values there can be."""
    return itertools.product(*((*known, "other") for known in measure.labels.values()))
