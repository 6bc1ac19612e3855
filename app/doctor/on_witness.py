"""Checks of the witness: whether a Redis that has come back older would be noticed (rule 24)."""

from __future__ import annotations

from collections.abc import Iterator

from app.doctor.context import DoctorContext
from app.doctor.findings import Finding, ok, warning


def server(context: DoctorContext) -> Iterator[Finding]:
    """Redis says which server it is, so that another one is seen to have taken its place."""
    assert context.condition
    if context.condition().hides_run_id:
        yield warning(
            "redis_run_id",
            "Redis does not say which server it is (run_id): where an older one takes its place, a process that has "
            "seen less can be granted something before one that knows better has spoken.",
            "Ask who runs it for 'INFO server' with its run_id, or set OCTOWAIT_REDIS_REPLICAS.",
        )
    else:
        yield ok("redis_run_id", "Redis says which server it is: where that changes, all who serve are asked first.")


def steps(context: DoctorContext) -> Iterator[Finding]:
    """Steps say what they have seen, in a word that octowait has signed."""
    settings = context.settings
    if settings.witness_key or settings.is_loopback:
        yield ok("witness_key", "Steps say what they have seen of octowait's past.")
    else:
        yield warning(
            "witness_key",
            "OCTOWAIT_WITNESS_KEY is not set: steps are no witnesses where Redis comes back older and all processes "
            "have started anew.",
            "Set it to the same 20 characters or more on all hosts, and do not keep it in Redis.",
        )
