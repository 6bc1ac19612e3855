"""The loop that octowait replaces, made correct enough to finish: ask for every machine's tasks, every few seconds."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any

from tests.simulator.activitylog import Node
from tests.simulator.model import COMPLETED, number_of
from tests.simulator.record import StepRecord
from tests.simulator.run import Run
from tests.simulator.steps import Step

#: The parameters of the script that people copy. Octopus heeds skip and take alone, hence the check of State below.
QUERY = "skip=0&take=1000&name=Deploy&states=Executing%2CCancelling&spaces={space}&includeSystem=false"

#: Seconds for one call.
TIMEOUT = 30.0


def poll_wait(run: Run, step: Step, node: Node, entry: StepRecord) -> None:
    """Wait until every earlier task on this run's machines has ended. Raises: Stopped."""
    pause = run.octopus.clock.real(step.seconds)
    while blockers := _earlier(run):
        node.say(f"Waiting for {', '.join(sorted(blockers))}", "Wait")
        run.sleep(pause)


def _earlier(run: Run) -> set[str]:
    """Unfinished tasks with a smaller number on one of the machines. Two loops that looked only at what executes would
    see each other and wait for ever, or see nobody and both start; the number decides who goes first."""
    found: set[str] = set()
    for machine_id in run.task.planned:
        try:
            tasks = _ask(run, machine_id)
        except (OSError, HTTPException, ValueError) as error:
            return {f"an answer of Octopus ({error})"}
        found |= {
            task["Id"]
            for task in tasks
            if task["State"] not in COMPLETED and number_of(task["Id"]) < number_of(run.task.id)
        }
    return found


def _ask(run: Run, machine_id: str) -> list[dict[str, Any]]:
    query = QUERY.format(space=run.task.space_id)
    request = urllib.request.Request(f"{run.octopus.url}/api/{run.task.space_id}/machines/{machine_id}/tasks?{query}")
    request.add_header("X-Octopus-ApiKey", run.octopus.poller.api_key)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            items: list[dict[str, Any]] = json.load(answer)["Items"]
    except urllib.error.HTTPError as error:
        error.close()
        raise
    return items
