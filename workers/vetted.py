"""Vetting of jobs: a worker runs only the functions of `app.jobs.JOBS`, without arguments.

Whoever can write to Redis can put any job into a queue, and RQ would import and call whatever it names, with the API
key of Octopus in the environment: its function, its callbacks, what it is to be told to by HTTP.
So of what stands in Redis about a job only its function and its times are read; all else is what `JOBS` says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from rq.exceptions import InvalidJobOperation
from rq.job import Job as RqJob
from rq.utils import import_attribute

from app.jobs import FAILURE_TTL_SECONDS, JOBS, Job

#: What is read of a job in Redis besides its ``data``. Not read are callbacks, webhooks, dependencies, retries,
#: repeats, limits, results and meta.
TIMES = ("status", "created_at", "enqueued_at", "started_at", "ended_at", "last_heartbeat", "worker_name", "origin")

#: Bytes of ``data``; ours are 60, and what is longer is not even unpacked.
MOST_DATA = 1000

#: What takes the place of the function of a job that is refused; there is none of that name.
REFUSED = "workers.refused.run"

_BY_FUNCTION = {job.function: job for job in JOBS}


class VettedJob(RqJob):
    """A job read from Redis, of which only the function and the times are taken."""

    #: Which of ours it is; None where it is refused.
    known: Job | None = None

    #: What was asked for in its place, for people.
    requested = ""

    def restore(self, raw_data: Mapping[bytes, bytes]) -> None:
        """Read it; what cannot be read is refused too."""
        raw = {(name.decode() if isinstance(name, bytes) else name): value for name, value in raw_data.items()}
        data = {"data": raw["data"][:MOST_DATA]} if "data" in raw else {}
        try:
            super().restore(data | {name: raw[name] for name in TIMES if name in raw})
        except (ValueError, TypeError):
            super().restore(data)
        self.known, self.requested = _vet(self.data)
        if self.known is None:
            self.data = json.dumps([REFUSED, None, [], {}]).encode()
        self.description = self.func_name
        self.timeout = self.known.timeout_seconds if self.known else 1
        self.result_ttl = 0
        self.failure_ttl = FAILURE_TTL_SECONDS

    @property
    def func(self) -> Callable[[], object]:
        """The function.

        Raises:
            InvalidJobOperation: it is refused.
        """
        if self.known is None:
            raise InvalidJobOperation(refusal(self))
        return import_attribute(self.known.function)


def name_of(job: RqJob) -> str:
    """``resolve``; ``refused`` for one that is none of ours."""
    return job.known.name if isinstance(job, VettedJob) and job.known else "refused"


def refusal(job: VettedJob) -> str:
    """Why it is not run, for people."""
    return f"{job.requested} is none of octowait's jobs: who, besides octowait, writes to its Redis?"


def _vet(data: bytes) -> tuple[Job | None, str]:
    try:
        call: Any = json.loads(data)
    except (ValueError, RecursionError):
        return None, "what cannot be read"
    if not isinstance(call, list) or not call or not isinstance(call[0], str):
        return None, "what names no function"
    requested = f"the function {call[0][:100]!r}"
    job = _BY_FUNCTION.get(call[0])
    if job and call[1:] != [None, [], {}]:
        # Neither a method of an object nor with arguments, which may be secrets and are not shown.
        return None, f"{requested} with an object or arguments"
    return job, requested
