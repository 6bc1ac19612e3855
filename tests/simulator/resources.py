"""Documents as the API shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.simulator.clock import Clock, iso
from tests.simulator.interruptions import ANSWERS
from tests.simulator.model import (
    ACTIVE,
    Deployment,
    Environment,
    Interruption,
    Machine,
    Project,
    Release,
    Runbook,
    Space,
    Task,
    Team,
    Tenant,
    User,
)
from tests.simulator.steps import Step

Resource = dict[str, Any]

#: LastUpdatedTime of a running task moves at least this often.
UPDATE_MS = 60_000


def link(document: Any, kind: str) -> str:
    return f"/api/{document.space_id}/{kind}/{document.id}"


def space(document: Space) -> Resource:
    return {
        "Id": document.id, "Name": document.name, "Slug": document.slug, "Description": "",
        "IsDefault": document.is_default, "IsPrivate": False, "TaskQueueStopped": False, "SpaceManagersTeams": [],
        "SpaceManagersTeamMembers": [],
        "Links": {"Self": f"/api/spaces/{document.id}", "SpaceHome": f"/api/{document.id}", "Web": "/app#/spaces"},
    }  # fmt: skip


def user(document: User) -> Resource:
    own = f"/api/users/{document.id}"
    return {
        "Id": document.id, "Username": document.name, "DisplayName": document.name, "IsActive": True,
        "IsService": document.is_service, "EmailAddress": None, "CanPasswordBeEdited": False, "IsRequestor": False,
        "Identities": [],
        "Links": {"Self": own, "Permissions": f"{own}/permissions", "ApiKeys": f"{own}/apikeys{{/id}}{{?skip,take}}"},
    }  # fmt: skip


def team(document: Team) -> Resource:
    return {"Id": document.id, "Name": document.name, "SpaceId": None, "MemberUserIds": [],
            "Links": {"Self": f"/api/teams/{document.id}"}}  # fmt: skip


def environment(document: Environment) -> Resource:
    return {
        "Id": document.id, "Name": document.name, "Slug": document.name.lower().replace(" ", "-"), "Description": "",
        "SpaceId": document.space_id, "SortOrder": 0, "UseGuidedFailure": False, "AllowDynamicInfrastructure": True,
        "ExtensionSettings": [], "Type": "Static", "EnvironmentTags": [],
        "Links": {"Self": link(document, "environments"), "Machines": link(document, "environments") + "/machines"},
    }  # fmt: skip


def tenant(document: Tenant) -> Resource:
    return {"Id": document.id, "Name": document.name, "SpaceId": document.space_id, "TenantTags": [],
            "ProjectEnvironments": {}, "Description": None, "ClonedFromTenantId": None, "IsDisabled": False,
            "Links": {"Self": link(document, "tenants")}}  # fmt: skip


def machine(document: Machine, environment_ids: list[str]) -> Resource:
    own = link(document, "machines")
    return {
        "Id": document.id, "SpaceId": document.space_id, "Name": document.name, "Slug": document.name,
        "EnvironmentIds": environment_ids, "Roles": list(document.roles), "TenantIds": list(document.tenant_ids or ()),
        "TenantTags": [], **({} if document.tags is None else {"TargetTagIds": list(document.tags)}),
        "TenantedDeploymentParticipation": "TenantedOrUntenanted" if document.tenant_ids is None else "Tenanted",
        "IsDisabled": document.is_disabled,
        "HealthStatus": "Healthy", "HasLatestCalamari": True, "StatusSummary": "Octopus was able to connect.",
        "IsInProcess": False, "MachinePolicyId": "MachinePolicies-1", "Thumbprint": None, "Uri": None,
        "OperatingSystem": "Linux", "ShellName": "Bash", "ShellVersion": "5.2", "Architecture": "x86_64",
        "Endpoint": {"Id": None, "CommunicationStyle": document.style, "Links": {}},
        "Links": {"Self": own, "TasksTemplate": own + "/tasks{?skip,take,type}", "Connection": own + "/connection"},
    }  # fmt: skip


def project(document: Project) -> Resource:
    own = link(document, "projects")
    return {
        "Id": document.id, "SpaceId": document.space_id, "Name": document.name, "Slug": document.slug,
        "Description": "", "IsDisabled": False, "ProjectGroupId": "ProjectGroups-1", "LifecycleId": "Lifecycles-1",
        "DeploymentProcessId": process_id(document), "VariableSetId": f"variableset-{document.id}",
        "IncludedLibraryVariableSetIds": [], "IsVersionControlled": document.is_in_git, "AutoCreateRelease": False,
        "TenantedDeploymentMode": "TenantedOrUntenanted", "DefaultGuidedFailureMode": "EnvironmentDefault",
        "DefaultToSkipIfAlreadyInstalled": False, "DiscreteChannelRelease": False, "ClonedFromProjectId": None,
        "ReleaseNotesTemplate": None, "Templates": [], "ExtensionSettings": [],
        "VersioningStrategy": {"Template": "#{Octopus.Version.LastMajor}.#{Octopus.Version.NextMinor}",
                               "DonorPackage": None, "DonorPackageStepId": None},
        "ReleaseCreationStrategy": {"ChannelId": None, "ReleaseCreationPackage": None},
        "ProjectConnectivityPolicy": {"AllowDeploymentsToNoTargets": True, "ExcludeUnhealthyTargets": False,
                                      "SkipMachineBehavior": "None", "TargetRoles": []},
        "PersistenceSettings": {"Type": "VersionControlled", "DefaultBranch": "refs/heads/main", "BasePath": ".octopus",
                                "ConversionState": {"VariablesAreInGit": False, "RunbooksAreInGit": True}}
        if document.is_in_git else {"Type": "Database"},
        "Links": {"Self": own, "Web": f"/app#/{document.space_id}/projects/{document.slug}",
                  "Releases": own + "/releases{/version}{?skip,take,searchByVersion}", "Channels": own + "/channels",
                  "DeploymentProcess": own + "/deploymentprocesses", "Runbooks": own + "/runbooks{?skip,take}"},
    }  # fmt: skip


def process_id(document: Project) -> str:
    return f"deploymentprocess-{document.id}"


def channel(document: Project) -> Resource:
    return {
        "Id": document.channel_id, "SpaceId": document.space_id, "ProjectId": document.id, "Name": "Default",
        "Description": None, "IsDefault": True, "LifecycleId": None, "Rules": [], "TenantTags": [],
        "Links": {"Self": f"/api/{document.space_id}/channels/{document.channel_id}"},
    }  # fmt: skip


def release(document: Release) -> Resource:
    own = link(document, "releases")
    return {
        "Id": document.id, "SpaceId": document.space_id, "ProjectId": document.project.id,
        "ChannelId": document.project.channel_id, "Version": document.version, "ReleaseNotes": document.notes,
        "Assembled": iso(document.assembled_ms), "IgnoreChannelRules": False, "BuildInformation": [],
        "CustomFields": {}, "LibraryVariableSetSnapshotIds": [], "SelectedPackages": [], "SelectedGitResources": [],
        "ProjectDeploymentProcessSnapshotId": f"{process_id(document.project)}-s-1",
        "ProjectVariableSetSnapshotId": f"variableset-{document.project.id}-s-1", "VersionControlReference": None,
        "Links": {"Self": own, "Project": link(document.project, "projects"),
                  "Deployments": own + "/deployments{?skip,take}",
                  "DeploymentPreview": own + "/deployments/preview/{environment}{?includeDisabledSteps}",
                  "DeploymentTemplate": own + "/deployments/template", "Progression": own + "/progression"},
    }  # fmt: skip


def runbook(document: Runbook) -> Resource:
    return {
        "Id": document.shown_id, "SpaceId": document.space_id, "ProjectId": document.project.id,
        "Name": document.name, "Slug": document.slug, "Description": "", "EnvironmentScope": "All",
        "Environments": [], "RunbookProcessId": f"RunbookProcess-{document.id}", "MultiTenancyMode": "Untenanted",
        "PublishedRunbookSnapshotId": None if document.is_in_git else document.current,
        "DefaultGuidedFailureMode": "EnvironmentDefault",
        "ConnectivityPolicy": {"AllowDeploymentsToNoTargets": True, "ExcludeUnhealthyTargets": False,
                               "SkipMachineBehavior": "None", "TargetRoles": []},
        "RunRetentionPolicy": {"QuantityToKeep": 100, "ShouldKeepForever": False, "Unit": "Items"},
        "Links": {"Self": link(document, "runbooks")},
    }  # fmt: skip


def deployment(document: Deployment, task: Task) -> Resource:
    """A deployment or a runbook run."""
    is_runbook = document.runbook is not None
    kind = "runbookRuns" if is_runbook else "deployments"
    common: Resource = {
        "Id": document.id, "SpaceId": document.space_id, "ProjectId": document.project.id,
        "EnvironmentId": document.environment.id, "TenantId": document.tenant.id if document.tenant else None,
        "TaskId": document.task_id, "Name": document.name, "Comments": document.comments,
        "Created": iso(document.created_ms), "QueueTime": iso(task.queue_ms), "QueueTimeExpiry": iso(task.expires_ms),
        "SkipActions": [action_id(document.process.id, document.steps, name) for name in document.skipped],
        "SpecificMachineIds": list(document.specific), "ExcludedMachineIds": list(document.excluded),
        "SpecificTargetTagIds": list(document.specific_tags), "ExcludedTargetTagIds": list(document.excluded_tags),
        "DeployedToMachineIds": list(document.deployed_to),
        "FailureEncountered": document.failure_encountered, "UseGuidedFailure": document.use_guided_failure,
        "ForcePackageDownload": False, "FormValues": {}, "FailTargetDiscovery": False, "DebugMode": False,
        "ExecutionPlanLogContext": {"Steps": []}, "ManifestVariableSetId": f"variableset-{document.id}",
        "TentacleRetentionPeriod": None, "Priority": "LifecycleDefault", "ChangeRequestSettings": None,
        "Links": {"Self": link(document, kind), "Task": link(task, "tasks"),
                  "Project": link(document.project, "projects"),
                  "Environment": link(document.environment, "environments"),
                  "Interruptions": f"/api/{document.space_id}/interruptions?regarding={document.id}"},
    }  # fmt: skip
    if document.runbook:
        runbook = document.runbook
        git = {"GitReference": {"GitRef": document.reference, "GitCommit": "0" * 40}} if runbook.is_in_git else {}
        snapshot = runbook.snapshot_id if runbook.is_in_git else document.reference
        return {**common, **git, "RunbookId": runbook.shown_id, "RunbookSnapshotId": snapshot,
                "FrozenRunbookProcessId": document.process_id, "RunByUserId": document.created_by.id,
                "RunBy": document.created_by.name}  # fmt: skip
    assert document.release
    return {**common, "ReleaseId": document.release.id, "ChannelId": document.project.channel_id,
            "DeploymentProcessId": document.process_id, "Changes": [], "ChangesMarkdown": "",
            "DeployedBy": document.created_by.name, "DeployedById": document.created_by.id,
            "DeployedToMachineIds": list(document.deployed_to), "ForcePackageRedeployment": False,
            "Links": {**common["Links"], "Release": link(document.release, "releases")}}  # fmt: skip


def action_id(owner_id: str, steps: Sequence[Step], step_name: str) -> str:
    """Stable within a process: where the step stands in it."""
    names = [step.name for step in steps]
    return f"{owner_id}-action-{names.index(step_name) + 1}" if step_name in names else step_name


def task(document: Task, *, has_flag: bool = True, has_types: bool = True) -> Resource:
    """A task; *has_flag* and *has_types*: what of it says that it waits for a person is up to date."""
    own = link(document, "tasks")
    now = Clock.now_ms()
    updated = document.updated_ms
    if document.state in ACTIVE:
        updated = max(updated, now - (now - (document.start_ms or now)) % UPDATE_MS)
    seconds = ((document.completed_ms or now) - (document.start_ms or document.completed_ms or now)) // 1000
    pending = document.pending
    return {
        "Id": document.id, "SpaceId": None if document.is_system else document.space_id, "Name": document.name,
        "Description": document.description, "Arguments": dict(document.arguments),
        "State": document.state, "Completed": _shown(document),
        "QueueTime": iso(document.queue_ms), "QueueTimeExpiry": iso(document.expires_ms),
        "StartTime": iso(document.start_ms), "LastUpdatedTime": iso(updated),
        "CompletedTime": iso(document.completed_ms), "ServerNode": document.node,
        "Duration": f"{seconds} second{'' if seconds == 1 else 's'}", "ErrorMessage": document.error,
        "HasBeenPickedUpByProcessor": document.node is not None, "IsCompleted": document.is_completed,
        "FinishedSuccessfully": document.state == "Success", "HasPendingInterruptions": has_flag and bool(pending),
        "PendingInterruptionTypes": sorted({i.type for i in pending}) if has_types else [],
        "HasPendingPreconditions": document.awaits_approval,
        "PendingPreconditionTypes": ["Approval"] if document.awaits_approval else [],
        "CanRerun": document.is_completed and document.deployment is not None,
        "HasWarningsOrErrors": document.has_warnings or bool(document.error),
        "ProjectId": document.deployment.project.id if document.deployment else None,
        "EstimatedRemainingQueueDurationSeconds": 0,
        "Links": {"Self": own, "Web": f"/app#/{document.space_id}/tasks/{document.id}", "Raw": own + "/raw",
                  "Rerun": f"/api/{document.space_id}/tasks/rerun/{document.id}", "Cancel": own + "/cancel",
                  "State": own + "/state", "QueuedBehind": own + "/queued-behind{?skip,take}",
                  "Details": own + "/details{?verbose,tail}", "Artifacts": "/api/artifacts?regarding=" + document.id,
                  "Interruptions": f"/api/{document.space_id}/interruptions?regarding={document.id}"},
    }  # fmt: skip


def _shown(document: Task) -> str:
    if document.state == "Queued":
        return "Waiting for manual intervention" if document.pending else "Queued..."
    return f"{document.state}..." if document.completed_ms is None else iso(document.completed_ms) or ""


def interruption(document: Interruption, asking: User, may_take: bool) -> Resource:
    own = link(document, "interruptions")
    field, allowed = ANSWERS.get(document.type, ("Result", ()))
    elements: list[Resource] = [] if not allowed else [
        {"Name": "Instructions", "IsValueRequired": False,
         "Control": {"Type": "Paragraph", "Text": document.instructions, "ResolveLinks": False}},
        {"Name": "Notes", "IsValueRequired": False, "Control": {"Type": "TextArea", "Label": "Notes"}},
        {"Name": field, "IsValueRequired": True,
         "Control": {"Type": "SubmitButtonGroup", "Buttons": [
             {"Text": answer, "Value": answer, "RequiresConfirmation": answer == "Abort"} for answer in allowed]}},
    ]  # fmt: skip
    values = {"Instructions": None, "Notes": None, field: None, **document.answer}
    deployment_ids = [document.task.deployment.id] if document.task.deployment else []
    return {
        "Id": document.id, "SpaceId": document.space_id, "Title": document.title, "Type": document.type,
        "Created": iso(document.created_ms), "IsPending": document.is_pending, "TaskId": document.task.id,
        "CorrelationId": f"{document.task.id}_{document.id}", "Form": {"Elements": elements, "Values": values},
        "RelatedDocumentIds": [document.task.id, *deployment_ids], "ResponsibleTeamIds": list(document.teams),
        "ResponsibleUserId": document.responsible.id if document.responsible else None,
        "CanTakeResponsibility": document.is_pending and may_take and document.responsible is not asking,
        "HasResponsibility": document.responsible is asking, "IsLinkedToOtherInterruption": False,
        "Links": {"Self": own, "Submit": own + "/submit", "Responsible": own + "/responsible"},
    }  # fmt: skip
