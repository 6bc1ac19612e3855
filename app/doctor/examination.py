"""The whole examination, in an order in which the first thing that is wrong explains the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from app.client.api import CannotReach, Gate, Refused
from app.coordination.audit import Audit
from app.coordination.budget import Budget
from app.doctor import on_data, on_octopus, on_octowait, on_projects, on_replicas, on_subscription, on_tasks, on_witness
from app.doctor.context import DoctorContext
from app.doctor.findings import Finding, unknown, warning
from app.domain.phrases import sentence
from app.octopus.ask import make_client, probe
from app.octopus.errors import OctopusError
from app.settings import Settings
from app.store.connection import connect
from app.store.embedded import EmbeddedServer
from app.store.errors import StoreError
from app.store.keys import Keys
from app.store.persistence import Condition, read_condition
from app.store.replication import priority_of_replica
from app.store.scripts import Scripts

Check = Callable[[DoctorContext], Iterator[Finding]]

REDIS: Sequence[Check] = (
    on_octowait.redis_refusals,
    on_octowait.redis_version,
    on_octowait.redis_persistence,
    on_octowait.redis_eviction,
    on_replicas.copies,
    on_witness.server,
    on_data.agreement,
)

#: Of what octowait knows.
BOARD: Sequence[Check] = (
    on_octowait.faults,
    on_octowait.longest_wait,
    on_octowait.unresolved_runs,
    on_octowait.unseen_runs,
    on_octowait.old_steps,
    on_octowait.polls,
    on_octowait.kept_deliveries,
    on_octowait.refused_calls,
    on_octowait.weak_secrets,
    on_witness.steps,
    on_octowait.failed_jobs,
    on_octowait.octopus_answers,
)

#: Of what Octopus knows alone.
OCTOPUS: Sequence[Check] = (
    on_octopus.api_key,
    on_octopus.spaces,
    on_octopus.queues,
    on_subscription.present,
    on_subscription.fresh,
    on_projects.coverage,
)

#: Of what both must agree on.
BOTH: Sequence[Check] = (
    on_octopus.clocks,
    on_octopus.task_cap,
    on_tasks.holders,
    on_tasks.interventions,
    on_subscription.arriving,
)

#: Seconds that a request to Octopus may wait for its turn: the budget is that of the workers, who go on meanwhile.
PATIENCE = 70.0

ASK_AGAIN = "Mend what is said above, and run the doctor again."


def examine(context: DoctorContext) -> Iterator[Finding]:
    """Everything that can be looked at; what cannot is a finding too."""
    if context.condition:
        yield from _each(REDIS, context)
    answers = yield from _first(on_octowait.reachable, context, "octowait_unreachable")
    if answers:
        yield from _each(BOARD, context)
    if context.octopus is None:
        yield warning(
            "octopus_not_set",
            "Octopus was not looked at: this command has no API key. Where octowait itself has none, runs without the "
            "wait step hold no machines, and what a lost webhook would have told is never known.",
            "Set OCTOWAIT_OCTOPUS_URL and OCTOWAIT_OCTOPUS_API_KEY, here as where octowait runs.",
        )
        return
    octopus_answers = yield from _first(on_octopus.reachable, context, "octopus_unreachable")
    if octopus_answers:
        yield from _each(OCTOPUS, context)
        if answers:
            yield from _each(BOTH, context)


def _first(check: Check, context: DoctorContext, fatal: str) -> Iterator[Finding] | Any:
    """The findings of *check*; whether none of them is *fatal*."""
    is_fatal = False
    for finding in check(context):
        is_fatal |= finding.code == fatal
        yield finding
    return not is_fatal


def _each(checks: Sequence[Check], context: DoctorContext) -> Iterator[Finding]:
    for check in checks:
        try:
            yield from check(context)
        except (OctopusError, CannotReach, Refused, StoreError) as problem:
            what = (check.__doc__ or check.__name__).splitlines()[0].rstrip(".")
            yield unknown(check.__name__, f"Not looked at: {what}. {sentence(problem)}", ASK_AGAIN)


@contextmanager
def open_context(settings: Settings, gate: Gate, *, is_here: bool) -> Iterator[DoctorContext]:
    """What the checks look at, of the octowait behind *gate*.

    Args:
        is_here: Whether it is the one of this directory, whose embedded server can be looked at.

    Raises:
        BadStoreAddress: the URL is not one of Redis.
    """
    with ExitStack() as stack:
        url = settings.redis_url or (_embedded_url(settings) if is_here else None)
        client = connect(url) if url else None
        if client:
            stack.callback(client.close)
        keys = Keys(settings.namespace)
        budget = Budget(client, keys, settings.octopus_rpm) if client else None
        octopus = make_client(settings, budget, attempts=2, patience=PATIENCE)
        if octopus:
            stack.callback(octopus.close)

        def condition() -> Condition:
            assert client and url
            return read_condition(client, on_octowait.process_of(url), settings.namespace)

        def replica_priority(host: str, port: int) -> int | None:
            return priority_of_replica(client, host, port) if client else None

        def dead_letters() -> Any:
            return gate.call("GET", "/api/dead-letters")["dead_letters"]

        yield DoctorContext(
            settings,
            gate,
            octopus,
            condition if client else None,
            dead_letters,
            partial(probe, settings, budget),
            replica_priority,
            Audit(Scripts(client, keys), client, keys).look if client else list,
        )


def _embedded_url(settings: Settings) -> str | None:
    directory = settings.data_dir / "redis"
    if not directory.exists():
        return None
    server = EmbeddedServer(directory)
    return server.url if server.is_alive() else None
