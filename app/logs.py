"""Structured logs on standard error, as text or as one JSON object a line, without any secret."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar
from typing import Any

import structlog

from app.domain.neutral import visible

#: Tells more about what is being done here, for a line of the log; asked only when one is written.
about: ContextVar[Callable[[], Mapping[str, Any]]] = ContextVar("about")

#: Machines that a line names: a run can have ten thousand of them.
MOST_MACHINES = 20

#: What stands where a secret stood.
REDACTED = "[redacted]"

#: Shorter ones would be found in what is none.
_SHORTEST = 4


def configure_logs(log_format: str, *, level: str = "info", secrets: Collection[str] = ()) -> None:
    """Set up structlog and the standard library's logging.

    Args:
        log_format: ``text`` or ``json``.
        level: What is less than that is not said; what other libraries say, only from a warning on.
        secrets: What must not be said, whoever says it.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _with_facts,
        *([] if log_format == "json" else [_visible_values]),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # The other traceback of structlog shows local variables, and wraps what it shows: secrets would be cut in two.
    text = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer() if log_format == "json" else text
    exceptions = [structlog.processors.format_exc_info] if log_format == "json" else []
    renderer = _without(secrets, renderer)
    structlog.configure(
        processors=[*shared, *exceptions, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *exceptions, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def _with_facts(logger: Any, name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    tell = about.get(None)
    facts = {**tell(), **event} if tell else event
    machines = facts.get("machines")
    return {**facts, "machines": machines[:MOST_MACHINES]} if isinstance(machines, (list, tuple)) else facts


def _visible_values(logger: Any, name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Names and paths come from others: one with a line end in it would write a line of its own. JSON escapes them."""
    return {key: visible(value) if isinstance(value, str) else value for key, value in event.items()}


def _without(secrets: Collection[str], renderer: Callable[..., Any]) -> structlog.typing.Processor:
    """*renderer*, of whose lines no secret is left, as it is or as JSON writes it, and no control but line ends."""
    spellings = {spelling for secret in secrets for spelling in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1])}
    # The longest first: one can be a part of another.
    hidden = sorted((s for s in spellings if len(s) >= _SHORTEST), key=len, reverse=True)

    def render(logger: Any, name: str, event: structlog.typing.EventDict) -> Any:
        line = renderer(logger, name, event)
        for secret in hidden:
            line = line.replace(secret, REDACTED)
        # A traceback has several lines, and what its error says can have more: none may look like one of the log.
        return visible(line, but="\n").replace("\n", "\n  ")

    return render
