"""What a person does with octopus-deploy-swagger-client, the client generated from Octopus's own API description.

It checks the types and the allowed values of all that it reads. OCTOPUS_URL and OCTOPUS_API_KEY say where the server
is; its only project pauses for a person. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

import octopus_deploy_swagger_client as octopus
from octopus_deploy_swagger_client import octopus_deploy_client as apis

SPACE = "Spaces-1"

configuration = octopus.Configuration()
configuration.host = os.environ["OCTOPUS_URL"]
configuration.api_key["X-Octopus-ApiKey"] = os.environ["OCTOPUS_API_KEY"]
client = octopus.ApiClient(configuration)


def call(api: type[Any], ending: str, *arguments: Any, **named: Any) -> Any:
    """Call the one method whose name, often longer than a line, ends so."""
    bound = api(client)
    [method] = [name for name in dir(bound) if name.endswith(ending)]
    return getattr(bound, method)(*arguments, **named)


def post(path: str, body: Any, response_type: str) -> Any:
    """For the calls of which the description forgot the body, so that the generated methods cannot send one."""
    return client.call_api(
        f"/api/{SPACE}/{path}", "POST", body=body, header_params={"Content-Type": "application/json"},
        response_type=response_type, auth_settings=["APIKeyHeader"], _return_http_data_only=True,
    )  # fmt: skip


def once(look: Callable[[], Any]) -> Any:
    """What *look* returns as soon as it is true."""
    ends_at = time.monotonic() + 20
    while not (found := look()):
        assert time.monotonic() < ends_at, "it did not happen"
        time.sleep(0.05)  # between two looks at a fact
    return found


def documents() -> dict[str, Any]:
    """What stands still."""
    [space] = call(apis.SpacesApi, "index_response_descriptor_spaces_space_space_resource").items
    [node] = call(apis.OctopusServerNodesApi, "list_all_response_descriptor_clustering_octopus_server_node_octopus_server_node_resource")  # noqa: E501  # fmt: skip
    [project] = call(apis.ProjectsApi, "list_all_response_descriptor_projects_project_project_resource_spaces", SPACE)
    [environment] = call(apis.EnvironmentsApi, "list_all_response_descriptor_environments_deployment_environment_environment_resource_spaces", SPACE)  # noqa: E501  # fmt: skip
    [machine] = call(apis.MachinesApi, "list_all_response_descriptor_machines_deployment_targets_deployment_target_deployment_target_resource_spaces", SPACE)  # noqa: E501  # fmt: skip
    process = call(apis.DeploymentProcessesApi, "load_response_descriptor_projects_deployment_process_deployment_process_resource_spaces", SPACE, project.deployment_process_id)  # noqa: E501  # fmt: skip
    permissions = call(apis.UserPermissionsApi, "_get_permissions_action", "Users-1").space_permissions
    return {
        "version": call(apis.HomeApi, "_home_responder").version,
        "space": space.name,
        "task_cap": node.max_concurrent_tasks,
        "names": [project.name, environment.name, machine.name, *(step.name for step in process.steps)],
        "may_view_tasks": bool(permissions.task_view),
        "ids": (project.id, environment.id, machine.id),
    }


def deploy(project_id: str, environment_id: str) -> Any:
    """A finished deployment, its intervention answered on the way."""
    new = octopus.ReleaseResource(project_id=project_id, version="2.0.0")
    release = call(apis.ReleasesApi, "create_response_descriptor_projects_release_release_resource_spaces", SPACE, release_resource=new)  # noqa: E501  # fmt: skip
    wanted = octopus.DeploymentResource(release_id=release.id, environment_id=environment_id)
    deployment = post("deployments", wanted, "DeploymentResource")
    interruption = once(lambda: call(apis.InterruptionsApi, "_list_interruptions_responder_spaces", SPACE).items)[0]
    taken = call(apis.InterruptionsApi, "_interruption_responsibility_responder_spaces_0", SPACE, interruption.id)
    assert taken.username == "admin" and interruption.task_id == deployment.task_id
    answer = {"Id": interruption.id, "SpaceId": SPACE, "Result": "Proceed", "Notes": "fine"}
    assert not post(f"interruptions/{interruption.id}/submit", answer, "InterruptionResource").is_pending
    once(lambda: task_of(deployment).is_completed)
    return deployment


def task_of(deployment: Any) -> Any:
    return call(apis.TasksApi, "load_response_descriptor_server_tasks_server_task_task_resource_spaces", SPACE, deployment.task_id)  # noqa: E501  # fmt: skip


def subscription() -> dict[str, Any]:
    """Created, read, changed."""
    settings = octopus.EventNotificationSubscription(
        webhook_uri="http://127.0.0.1:9/none", webhook_timeout="00:00:30", webhook_header_key="X-Secret",
        webhook_header_value="the-secret",
        filter=octopus.EventNotificationSubscriptionFilter(event_categories=["DeploymentStarted"]),
    )  # fmt: skip
    new = octopus.SubscriptionResource(name="gate", event_notification_subscription=settings, space_id=SPACE)
    made = call(apis.SubscriptionApi, "create_response_descriptor_subscriptions_subscription_subscription_resource_spaces", SPACE, subscription_resource=new)  # noqa: E501  # fmt: skip
    made.is_disabled = True
    call(apis.SubscriptionApi, "modify_response_descriptor_subscriptions_subscription_subscription_resource_spaces", SPACE, made.id, subscription_resource=made)  # noqa: E501  # fmt: skip
    [kept] = call(apis.SubscriptionApi, "list_all_response_descriptor_subscriptions_subscription_subscription_resource_spaces", SPACE)  # noqa: E501  # fmt: skip
    found = kept.event_notification_subscription
    return {"name": kept.name, "is_disabled": kept.is_disabled, "secret": found.webhook_header_value}


def main() -> None:
    said = documents()
    project_id, environment_id, machine_id = said["ids"]
    deployment = deploy(project_id, environment_id)
    details = call(apis.TasksApi, "_task_details_responder_spaces", SPACE, deployment.task_id)
    page = call(apis.TasksApi, "_list_tasks_responder_spaces", SPACE)
    on_machine = call(apis.MachinesApi, "_machine_task_responder_spaces", SPACE, machine_id)
    again = call(apis.TasksApi, "_task_rerun_responder_spaces", SPACE, deployment.task_id)
    once(lambda: task_of(deployment).has_pending_interruptions)
    canceled = call(apis.TasksApi, "_task_cancel_responder_spaces", SPACE, deployment.task_id)
    categories = call(apis.EventsApi, "_list_event_categories_responder_spaces", SPACE)
    event = call(apis.EventsApi, "load_response_descriptor_events_event_event_resource_spaces", SPACE, "Events-1000")
    said |= {
        "state": details.task.state, "logs": details.activity_logs[0].name, "tasks": page.total_results,
        "on_machine": [task.id for task in on_machine.items], "rerun": again.id == deployment.task_id,
        "canceled": canceled.state, "categories": [category.id for category in categories], "event": event.category,
        "occurred": str(event.occurred.tzinfo), "subscription": subscription(),
    }  # fmt: skip
    print(json.dumps(said))


main()
