"""Event categories and groups, as the server lists them for whoever wants to subscribe."""

from __future__ import annotations

#: Category id -> display name.
CATEGORIES = {
    "Created": "Document created",
    "Modified": "Document modified",
    "Deleted": "Document deleted",
    "DeploymentQueued": "Deployment queued",
    "DeploymentStarted": "Deployment started",
    "DeploymentResumed": "Deployment resumed",
    "DeploymentSucceeded": "Deployment succeeded",
    "DeploymentFailed": "Deployment failed",
    "RunbookRunQueued": "Runbook run queued",
    "RunbookRunStarted": "Runbook run started",
    "RunbookRunResumed": "Runbook run resumed",
    "RunbookRunSucceeded": "Runbook run succeeded",
    "RunbookRunFailed": "Runbook run failed",
    "TaskCanceled": "Task canceled",
    "ManualInterventionInterruptionRaised": "Manual intervention interruption raised",
    "GuidedFailureInterruptionRaised": "Guided failure interruption raised",
    "InterruptionSubmitted": "Interruption submitted",
    "CompliancePolicyEvaluatedNonCompliantBlocked": "Compliance policy evaluated: non-compliant, blocked",
    "MachineAdded": "Machine added",
    "MachineDeleted": "Machine deleted",
    "MachineEnabled": "Machine enabled",
    "MachineDisabled": "Machine disabled",
}

#: Group id -> the categories in it.
GROUPS = {
    "Created": ("Created", "MachineAdded"),
    "Modified": ("Modified",),
    "Deleted": ("Deleted", "MachineDeleted"),
    "Deployment": ("DeploymentQueued", "DeploymentStarted", "DeploymentResumed", "DeploymentSucceeded",
                   "DeploymentFailed"),
    "RunbookRun": ("RunbookRunQueued", "RunbookRunStarted", "RunbookRunResumed", "RunbookRunSucceeded",
                   "RunbookRunFailed"),
    "Interruption": ("ManualInterventionInterruptionRaised", "GuidedFailureInterruptionRaised",
                     "InterruptionSubmitted"),
    "MachineAvailableForDeployment": ("MachineAdded", "MachineEnabled"),
    "MachineUnavailableForDeployment": ("MachineDeleted", "MachineDisabled"),
}  # fmt: skip

#: What ``includeInternalEvents=false`` hides.
INTERNAL = frozenset({"MachineAdded", "MachineDeleted", "MachineDeploymentRelatedPropertyWasUpdated"})
