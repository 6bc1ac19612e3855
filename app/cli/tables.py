"""Tables and lines that the reading commands print."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from app.cli.printing import escape
from app.domain.durations import format_duration, format_moment, format_ms
from app.domain.phrases import several
from app.domain.run_info import RunInfo
from app.domain.wording import closed_words

if TYPE_CHECKING:
    from rich.table import Table

Json = Mapping[str, Any]


def status_lines(machines: Json, waits: Json, deliveries: Json) -> list[str]:
    """The board in a few lines."""
    counts = {status: 0 for status in ("busy", "reserved", "in_demand", "idle")}
    for machine in machines["machines"]:
        counts["in_demand" if machine["status"] == "idle" and machine["line"] else machine["status"]] += 1
    in_demand = f"{counts['in_demand']} free and in demand, " if counts["in_demand"] else ""
    lines = [
        f"{several(len(machines['machines']), 'machine')}: {counts['busy']} busy, {counts['reserved']} reserved, "
        f"{in_demand}{counts['idle']} idle; {len(waits['waits'])} waiting"
    ]
    reserved = [m["name"] for m in machines["machines"] if m["reservation"] and m["status"] == "busy"]
    if reserved:
        lines.append(f"busy and reserved for afterwards: {', '.join(reserved)}")
    if waits["waits"]:
        longest = max(waits["waits"], key=lambda wait: wait["waited_ms"])
        lines.append(
            f"longest wait: {longest['task_id']}, {format_duration(longest['waited_ms'])}. {longest['message']}"
        )
    if machines["unresolved"]:
        lines.append(f"running on machines that are not known: {', '.join(machines['unresolved'])}")
    for run in machines.get("unseen", [])[:10]:
        lines.append(f"{run['task_id']} cannot be looked after: {run['why']}")
    lines += [f"{fault['message']} {fault['do']}" for fault in machines.get("faults", [])[:10]]
    if machines["closed_since_ms"]:
        closed = format_duration(machines["now_ms"] - machines["closed_since_ms"])
        why = machines.get("closed_why") or closed_words(None)
        lines.insert(
            0, f"CLOSED for {closed}: {why}; nobody is granted until it is known what runs where. "
            "'octowait rebuild --open' grants at once",
        )  # fmt: skip
    if silence := machines.get("octopus_unreachable"):
        lasted = format_duration(machines["now_ms"] - silence["since_ms"])
        lines.insert(
            0, f"OCTOPUS HAS NOT ANSWERED for {lasted} ({silence['why']}): nothing is ended for that; ends that "
            "neither a step nor a webhook tells are seen when it answers",
        )  # fmt: skip
    if deliveries["kept"]:
        number = several(len(deliveries["kept"]), "delivery", "deliveries")
        lines.append(f"{number} could not be applied: 'octowait kept' lists what was kept")
    return lines


def dead_letters_table(answer: Json) -> Table:
    table = table_of("Id", "Time (UTC)", "Job", "Error")
    for letter in answer["dead_letters"]:
        table.add_row(letter["id"], moment(letter["at_ms"]), letter["job"], escape(letter["error"]))
    return table


def machines_table(answer: Json) -> Table:
    table = table_of("Machine", "Status", "Holder", "For", "Waiting", "Next")
    for machine in answer["machines"]:
        holders = machine["holders"]
        table.add_row(
            _name(machine),
            machine["status"],
            "\n".join(escape(_holder(held)) for held in holders),
            "\n".join(format_duration(answer["now_ms"] - held["since_ms"]) for held in holders),
            str(len(machine["line"]) or ""),
            escape(_run(machine["line"][0])) if machine["line"] else "",
        )
    return table


def machine_lines(machine: Json, now_ms: int) -> list[str]:
    lines = [f"{_title(machine)}: {machine['status']}"]
    lines += [f"  {_holding(held)}, for {format_duration(now_ms - held['since_ms'])}" for held in machine["holders"]]
    lines += [
        f"  {waiter['place']}. {_run(waiter)}, waiting for {format_duration(now_ms - waiter['requested_at_ms'])}"
        for waiter in machine["line"]
    ]
    lines += ["Last runs:"] if machine["last_runs"] else []
    lines += [
        f"  {RunInfo.from_json(run['info']).of(run['task_id'])}: {run['message']}" for run in machine["last_runs"]
    ]
    return lines


def waits_table(answer: Json) -> Table:
    table = table_of("Task", "Place", "Waited", "Message")
    for wait in answer["waits"]:
        table.add_row(wait["task_id"], str(wait["place"]), format_duration(wait["waited_ms"]), escape(wait["message"]))
    return table


def run_lines(run: Json) -> list[str]:
    lines = [f"{run['task_id']}, run {run['run']}: {run['state']}", run["message"]]
    if run["waited_ms"] is not None:
        lines.append(f"waited {format_duration(run['waited_ms'])}")
    if run["held_ms"] is not None:
        lines.append(f"held its machines for {format_duration(run['held_ms'])}")
    return lines


def timeline_table(records: list[Json], names: Mapping[str, str]) -> Table:
    """*names*: of machines, by their ids in lower case; one that has none stands there with its id."""
    table = table_of("Time (UTC)", "What", "Task", "Machines", "Cause", "Detail")
    for record in records:
        table.add_row(
            f"{moment(record['at_ms'])}.{record['at_ms'] % 1000:03d}",
            record["kind"],
            record["task_id"] or "",
            escape(", ".join(names.get(machine.lower(), machine) for machine in record["machines"])),
            record["cause"] or "",
            escape(", ".join(_detail(name, value) for name, value in sorted(record["detail"].items()))),
        )
    return table


def kept_table(answer: Json) -> Table:
    table = table_of("Time (UTC)", "Reason", "Body")
    for entry in answer["kept"]:
        table.add_row(moment(entry["at_ms"]), escape(entry["reason"]), escape(entry["body"][:120]))
    return table


def moment(at_ms: int) -> str:
    return format_moment(at_ms)


def table_of(*columns: str) -> Table:
    """An empty table with these headings."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _name(machine: Json) -> str:
    return escape(_title(machine))


def _title(machine: Json) -> str:
    return str(machine["name"]) if machine["name"] == machine["id"] else f"{machine['name']} ({machine['id']})"


def _holding(held: Json) -> str:
    return _holder(held) if held["kind"] == "reservation" else f"held by {_holder(held)}"


def _holder(held: Json) -> str:
    if held["kind"] == "reservation":
        return f"reserved by {held['by']}: {held['note']}"
    kind = f", {held['kind']}" if held["kind"] in ("observed", "provisional") else ""
    return f"{_run(held)}{kind}{', paused' if held['paused'] else ''}"


def _run(run: Json) -> str:
    about = [run["project"], run["release"], f"to {run['environment']}" if run["environment"] else None]
    text = " ".join(part for part in about if part)
    return f"{run['task_id']} ({text})" if text else str(run["task_id"])


def _detail(name: str, value: object) -> str:
    """A detail of a record; nobody reads milliseconds."""
    if name.endswith("_ms") and isinstance(value, int):
        return f"{name.removesuffix('_ms')}={format_ms(value)}"
    return f"{name}={_plain(value)}"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
