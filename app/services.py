"""The composition root: makes the connections and the objects that use them; everything else is handed what it needs.

Requests is imported where it is called for: a web process that never asks for it is smaller.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from app.coordination.attempts import Attempts
from app.coordination.batches import Batches
from app.coordination.board import Board, Policy, Swept
from app.coordination.budget import Budget
from app.coordination.catch_up import CatchUpProgress
from app.coordination.certificate import TOLD_BEFORE, Certificate
from app.coordination.claims import Claims, UnresolvedRuns
from app.coordination.dead_letters import DeliveryLog, JobLog
from app.coordination.leader import LeaderLock
from app.coordination.old_steps import OldSteps
from app.coordination.reach import Reach
from app.coordination.refusals import Refusals
from app.coordination.registry import Registry
from app.coordination.sessions import Sessions
from app.coordination.snapshot import Counts, SharedSnapshot, Snapshot, count
from app.coordination.tracked import TrackedRuns
from app.coordination.unseen import Unseen
from app.coordination.wakes import Wakes
from app.domain.faults import Fault, certificate_ends, held_too_long, no_space, shortcomings, turned_away_lately
from app.domain.status import RunStatus
from app.domain.wording import OPENED_UNASKED
from app.followers.learner import Learner
from app.followers.metric_values import MetricBuffer, MetricValues
from app.followers.outbox import Outbox
from app.history.archive.files import Archive
from app.history.archive.retention import Retention
from app.history.estimates import Estimates
from app.history.feed import Feed
from app.history.intervals import Past
from app.history.timeline import Timeline
from app.jobs import CATCH_UP, REBUILD, RESUME, Job, enqueue, workers_seen
from app.settings import Settings
from app.store.connection import Client, connect
from app.store.disk import full
from app.store.errors import StoreError
from app.store.fairness import in_turns
from app.store.greeting import Greeting
from app.store.keys import Keys
from app.store.persistence import is_synced, read_condition
from app.store.replication import make_replicas
from app.store.seal import Seal
from app.store.witness import Witness

if TYPE_CHECKING:
    from app.octopus.ask import Objection

log = structlog.get_logger()


@dataclass(frozen=True)
class Services:
    """What a process works with. Connects when first used."""

    settings: Settings
    #: For RQ, and for locks; nobody else talks to Redis past the objects below.
    client: Client
    keys: Keys
    board: Board
    #: The board as the readers of this process share it.
    shared_snapshot: SharedSnapshot
    #: What people call runs and machines.
    registry: Registry
    timeline: Timeline
    #: The timeline without the archive: what is in Redis.
    recent: Timeline
    wakes: Wakes
    feed: Feed
    past: Past
    estimates: Estimates
    #: What is done once in a while, whoever tries.
    claims: Claims
    #: Observed runs whose machines or names are not known yet.
    unresolved: UnresolvedRuns
    #: Runs that have not ended, and whose turn it is to be asked about.
    tracked: TrackedRuns
    batches: Batches
    #: Runs and spaces that Octopus will not let be looked after.
    unseen: Unseen
    #: Projects whose step scripts are old.
    old_steps: OldSteps
    #: How far events were read that no webhook brought.
    catch_up: CatchUpProgress
    #: Deliveries that could not be applied.
    dead_deliveries: DeliveryLog
    #: Jobs that failed.
    dead_jobs: JobLog
    #: Failed attempts to sign in.
    attempts: Attempts
    #: Sessions of people.
    sessions: Sessions
    #: Calls that were refused.
    refusals: Refusals
    #: The certificate of PUBLIC_URL.
    certificate: Certificate
    #: What Octopus may be asked, shared with the other processes.
    budget: Budget
    #: Whether Octopus answers, known to all processes.
    reach: Reach
    #: The files of what the timeline has no longer.
    archive: Archive
    #: Moves what is old into the archive.
    retention: Retention
    metric_values: MetricValues
    #: What this process counts.
    metric_buffer: MetricBuffer
    outbox: Outbox
    learner: Learner
    #: Signs what steps have seen; None without WITNESS_KEY: then they are no witnesses.
    seal: Seal | None = None
    #: A webhook was refused because it could not be stored.
    has_missed: threading.Event = field(default_factory=threading.Event)

    def close(self) -> None:
        """Let everybody who blocks in this process go; their clients ask again, of another process."""
        self.feed.close()
        self.wakes.close()

    def snapshot(self) -> Snapshot:
        """Everything at this moment."""
        return self.shared_snapshot.now()

    def counts(self) -> Counts:
        """How much of everything there is at this moment."""
        return count(self.client, self.keys)

    @property
    def knows_octopus(self) -> bool:
        """Whether Octopus can be asked."""
        return bool(self.settings.octopus_url and self.settings.octopus_api_key)

    def request(self, job: Job) -> bool:
        """Have a worker do *job*: whether it was not on its way already. What there is to do stays marked if nobody can
        be asked for it.
        """
        if self.knows_octopus or not job.needs_octopus:
            try:
                return enqueue(self.client, self.settings, job)
            except StoreError as error:
                # The scheduler asks for the same every few seconds.
                log.warning("a job was not enqueued", job=job.name, error=str(error))
        return False

    def react_to_sweep(self, swept: Swept) -> None:
        """Have done what a sweep found to be done.

        Raises:
            StoreError: Redis does not answer.
        """
        if swept.closed_cause == "roll_call":
            self.board.end_roll_call(swept, is_synced=lambda: is_synced(self.client))
        elif swept.is_closed and not self.knows_octopus:
            if self.board.open_unasked(swept):
                log.warning(OPENED_UNASKED, lost=swept.lost)
        elif swept.is_closed:
            self.request(REBUILD)
        if swept.resumes:
            self.request(RESUME)
        if swept.had_outage or self.has_missed.is_set():
            self.has_missed.clear()
            self.request(CATCH_UP)

    def faults(self, snapshot: Snapshot | None = None) -> list[Fault]:
        """What goes wrong without anybody having asked, the worst first.

        Raises:
            StoreError: Redis does not answer.
        """
        snapshot = snapshot or self.snapshot()
        # With one command for all of them rather than one each.
        self.estimates.kinds.of({held.task_id for m in snapshot.machines for held in m.holders if held.task_id})
        return [
            *self.store_faults(),
            *disk_faults(self.settings),
            *self.board.octopus_offset().faults(self.board.policy.clock_tolerance),
            *certificate_ends(self.certificate.ends_ms(), snapshot.now_ms, TOLD_BEFORE),
            *turned_away_lately(self.refusals.recent(), snapshot.now_ms),
            *held_too_long(in_turns(snapshot.machines, 20), snapshot.now_ms, self.estimates.longest_before),
        ]

    def store_faults(self) -> list[Fault]:
        """What is the matter with a Redis that answers, as web and scheduler see it. Raises: StoreError."""
        return shortcomings(read_condition(self.client, "web", self.settings.namespace), **self.settings.durability)

    def has_worker(self) -> bool:
        """Whether a worker has reported lately."""
        return workers_seen(self.client, self.settings)

    def objection_to_release(self, place: RunStatus) -> Objection | None:
        """Why the run should not be ended by force without `confirm`; None if there is no reason, or no API key."""
        if not self.knows_octopus:
            return None
        from app.octopus.ask import objection_to_release

        return objection_to_release(self.settings, self.budget, place.task_id, place.run.info.space, reach=self.reach)

    def lock(self, name: str, ttl: timedelta) -> LeaderLock:
        """A lock for the one process that does *name*, a key of `app.store.keys`; it expires *ttl* after its death."""
        return LeaderLock(self.client, self.keys, name, ttl)


def disk_faults(settings: Settings) -> list[Fault]:
    """Where no space is left of what this process, and the embedded Redis, write to."""
    directories = full({settings.data_dir: None, settings.archive_directory: None})
    what = "Redis and the archive cannot keep what happens"
    return [no_space(str(path.absolute()), f"{free // 1024:,} KiB", what) for path, free in directories.items()]


def policy_of(settings: Settings) -> Policy:
    """The gate's policy as the settings say."""
    return Policy(
        waiter_ttl=settings.waiter_ttl,
        max_hold=timedelta(seconds=settings.max_hold_seconds) if settings.max_hold_seconds else None,
        # Where Octopus can be asked, it is asked whether the pause is still one before anything is given back.
        paused_holds=settings.paused_holds or bool(settings.octopus_url and settings.octopus_api_key),
        clock_tolerance=timedelta(seconds=settings.clock_tolerance_seconds),
        # A run is remembered until all its records are in the archive, which takes whole days.
        retention=timedelta(days=settings.timeline_retention_days + 2),
        task_cap=settings.task_cap,
        task_cap_reserve=settings.task_cap_reserve,
        abandoned_grace=timedelta(seconds=settings.abandoned_grace_seconds),
        has_key=bool(settings.octopus_url and settings.octopus_api_key),
        provisional=timedelta(seconds=settings.provisional_seconds),
        expect_step=timedelta(seconds=settings.expect_step_seconds),
        replicas=settings.redis_replicas,
    )


def make_services(settings: Settings, *, board: Board | None = None) -> Services:
    """The services of one process on ``settings.redis_url``.

    Args:
        board: Used instead of one made of *settings*; tests move its clock.

    Raises:
        BadStoreAddress: the URL is not one of Redis.
    """
    # Few connections whatever the number of waiters: commands share five, wakes and followers have one each.
    greeting = Greeting()
    client = connect(settings.redis_url, max_connections=5, greet=greeting)
    blocking = connect(settings.redis_url, blocking=True)
    keys, with_files = Keys(settings.namespace), settings.min_fsync != "none"
    board = board or Board(
        client, namespace=settings.namespace, policy=policy_of(settings), blocking=blocking,
        replicas=make_replicas(settings.redis_url, settings.redis_replicas, with_files=with_files, greet=greeting),
        witness=Witness(settings.data_dir / f"witness-{settings.namespace}"),
    )  # fmt: skip
    greeting.speak_for(board.script)
    archive = Archive(settings.archive_directory)
    timeline = Timeline(client, keys, archive)
    metric_values, claims, registry = MetricValues(client, keys), Claims(client, keys), Registry(client, keys)
    return Services(
        settings=settings,
        client=client,
        keys=keys,
        board=board,
        shared_snapshot=SharedSnapshot(client, keys, lambda: board.script.offset_ms),
        registry=registry,
        timeline=timeline,
        recent=Timeline(client, keys),
        wakes=Wakes(blocking, keys),
        feed=Feed(timeline, blocking),
        past=Past(client, keys, archive),
        estimates=Estimates(client, keys, board.place, registry.runs),
        claims=claims,
        unresolved=UnresolvedRuns(client, keys, claims),
        tracked=TrackedRuns(client, keys),
        batches=Batches(client, keys),
        unseen=Unseen(client, keys),
        old_steps=OldSteps(client, keys),
        catch_up=CatchUpProgress(client, keys),
        dead_deliveries=DeliveryLog(client, keys),
        dead_jobs=JobLog(client, keys),
        attempts=Attempts(client, keys),
        sessions=Sessions(client, keys),
        refusals=Refusals(client, keys),
        certificate=Certificate(client, keys, settings.public_url),
        budget=Budget(client, keys, settings.octopus_rpm),
        reach=Reach(board.script, client, keys),
        archive=archive,
        retention=Retention(client, keys, archive, timedelta(days=settings.timeline_retention_days)),
        metric_values=metric_values,
        metric_buffer=MetricBuffer(metric_values),
        outbox=Outbox(client, keys),
        learner=Learner(client, keys),
        seal=Seal(settings.witness_key.get_secret_value(), settings.namespace) if settings.witness_key else None,
    )
