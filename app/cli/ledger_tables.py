"""Tables and lines that ``ledger``, ``explain`` and ``eta-report`` print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from app.cli.printing import escape
from app.cli.tables import moment, table_of
from app.domain.durations import format_duration

if TYPE_CHECKING:
    from rich.table import Table

Json = Mapping[str, Any]


def ledger_table(answer: Json) -> Table:
    table = table_of(str(answer["by"]).capitalize(), "Waits", "Lost", "Median", "p90", "Worst", "Of lead time")
    for row in [*answer["rows"], {**answer["total"], "name": "all"}]:
        table.add_row(
            escape(_name(row)), str(row["waits"]), format_duration(row["lost_ms"]), format_duration(row["median_ms"]),
            format_duration(row["p90_ms"]), format_duration(row["worst_ms"]), _percent(row["share"]),
        )  # fmt: skip
    return table


def ledger_lines(answer: Json) -> list[str]:
    """The longest waits, each with its narrative, and the begin of the history if it is later than asked for."""
    known = answer["known_from_ms"]
    lines = ["", f"On record since {moment(known)} UTC."] if known and known > answer["from_ms"] else []
    lines += ["", "The longest waits:"] if answer["longest"] else []
    for wait in answer["longest"]:
        lines.append(f"  {format_duration(wait['waited_ms'])}  {wait['label']}")
        lines += [f"    {sentence}" for sentence in wait["story"]]
    return lines


def explain_lines(answer: Json) -> list[str]:
    lines = list(answer["sentences"])
    links = [answer, *answer["chain"]]
    lines += [f"{link['task_id']}: {link['url']}" for link in links if link["url"]]
    return lines


def accuracy_table(answer: Json) -> Table:
    table = table_of("Week", "Waits", "Within p50", "Within p90", "Off by, on average", "Without ETA")
    for row in [*answer["weeks"], {**answer, "week": "all"}]:
        error = row["mean_error_ms"]
        table.add_row(
            row["week"], str(row["waits"]), _percent(row["share_within_p50"]), _percent(row["share_within_p90"]),
            "" if error is None else format_duration(error), str(row["without_eta"]),
        )  # fmt: skip
    return table


def _name(row: Json) -> str:
    name, key = row["name"], row["key"]
    return f"{name} ({key})" if name and key and name != key else str(name or key or "unknown")


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"
