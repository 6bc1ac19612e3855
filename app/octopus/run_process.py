"""The process that a run was made with: the steps as they were frozen, which nothing has been filled into."""

from __future__ import annotations

from app.octopus.errors import OctopusMissing
from app.octopus.fields import required, text
from app.octopus.parse_setup import parse_process
from app.octopus.resources import Resources
from app.octopus.values import Resource, Step, Task


class RunProcesses(Resources):
    """Calls about the processes of runs."""

    def run_process(self, task: Task) -> tuple[Step, ...]:
        """The steps of the task's deployment or runbook run, as they were when that was made.

        Raises:
            OctopusMissing: the task is neither, its process is not there, or it is that of another project.
            OctopusUnreadable: the process has no list of steps.

        Source: ``Deployment.DeploymentProcessId`` and ``RunbookRun.FrozenRunbookProcessId`` of the REST API reference.
        """
        space = task.space_id
        if task.deployment_id:
            made = self._get(space, "deployments", task.deployment_id)
            return _steps(made, self._get(space, "deploymentprocesses", _process_id(made, "DeploymentProcessId")))
        if task.runbook_run_id:
            made = self._get(space, "runbookRuns", task.runbook_run_id)
            return _steps(made, self._runbook_process(made, space))
        raise OctopusMissing(f"{task.id} is neither a deployment nor a runbook run: it has no process")

    def _runbook_process(self, made: Resource, space: str | None) -> Resource:
        process_id = _process_id(made, "FrozenRunbookProcessId")
        try:
            return self._get(space, "runbookProcesses", process_id)
        except OctopusMissing:
            project_id = text(made, "ProjectId")
            if project_id is None:
                raise
            # Where runbooks can be in Git their processes have moved.
            return self._get(space, "projects", project_id, "runbookProcesses", process_id)


def _process_id(made: Resource, name: str) -> str:
    process_id = text(made, name)
    if process_id is None:
        raise OctopusMissing(f"{required(made, 'Id', 'run')} does not name the process that it was made with")
    return process_id


def _steps(made: Resource, process: Resource) -> tuple[Step, ...]:
    of, expected = text(process, "ProjectId"), text(made, "ProjectId")
    if of and expected and of.lower() != expected.lower():
        raise OctopusMissing(f"the process of {required(made, 'Id', 'run')} is that of {of}: expected {expected}")
    return parse_process(process)
