"""Values are made of whatever a server of another version says, or name what they cannot be made without."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.octopus.documents import DeploymentTarget, EventCategory
from app.octopus.errors import OctopusUnreadable
from app.octopus.fields import Value
from app.octopus.interruptions import Interruption
from app.octopus.previews import parse_preview
from app.octopus.processes import Project, Template, parse_process
from app.octopus.runs import Deployment, RunbookRun
from app.octopus.server import ServerNode, Space, User, parse_permissions
from app.octopus.subscriptions import Subscription
from app.octopus.tasks import Task

VALUES = [DeploymentTarget, EventCategory, Interruption, Project, Template, Deployment, RunbookRun, Space, User,
          Subscription, Task]  # fmt: skip
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(
    ["", " ", "x", "half \ud800", "nul \x00", "9" * 5_000, "Nonsense", "2025-05-06T07:00:00.000+00:00", "25-99-99"]
))  # fmt: skip
NAMES = st.sampled_from([
    "Id", "Name", "State", "IsCompleted", "Arguments", "DeploymentId", "Links", "Web", "Form", "Values", "Elements",
    "Control", "SpecificMachineIds", "SkipActions", "GitReference", "EventNotificationSubscription", "Filter",
    "EventCategories", "WebhookHeaderValue", "SensitiveValue", "PersistenceSettings", "Steps", "Actions", "Properties",
    "StepsToExecute", "Machines", "MachineNames", "Permissions", "SpacePermissions", "MaxConcurrentTasks",
    "QueueTime", "TargetTags", "half \ud800", "*", "id",
])  # fmt: skip
ANYTHING = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6))
READERS = [*(value.read for value in VALUES), ServerNode.read, parse_permissions, parse_process, parse_preview]


@given(st.dictionaries(NAMES, ANYTHING, max_size=12), st.sampled_from(READERS))
def test_any_object_is_read_or_unreadable(resource, read):
    try:
        read(resource)
    except OctopusUnreadable:
        pass


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("resource", [{}, {"Id": None}, {"Id": " "}, {"Id": 7}, {"id": "Tasks-1"}, None, [], "Tasks-1"])
def test_value_without_an_id_says_which_and_what_was_expected(value: type[Value], resource: Any):
    resource = {**resource, "State": "Queued"} if isinstance(resource, dict) else resource

    with pytest.raises(OctopusUnreadable, match=r"^[a-z ]+: Id: missing, expected a text$"):
        value.read(resource)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("others", [{}, {"half \ud800": 1}, {"Arguments": None}, {"Unknown": [1]}, {"*": 1}])
def test_id_and_state_are_enough(value: type[Value], others: dict[str, Any]):
    read: Any = value.read({"Id": " Things-1 ", "State": "Queued", **others})

    assert read.id == "Things-1"
    assert {getattr(read, each.name) for each in fields(read) if each.name.endswith("_ms")} <= {None}


@pytest.mark.parametrize("ids", ["Machines-1", {}, 7, [1], ["Machines-1", None]])
@pytest.mark.parametrize("value", [Deployment, RunbookRun])
def test_mangled_ids_are_not_taken_for_none(value: type[Value], ids: Any):
    with pytest.raises(OctopusUnreadable, match=": ExcludedMachineIds: expected a list of ids"):
        value.read({"Id": "Things-1", "ExcludedMachineIds": ids})


def test_error_says_nothing_of_what_was_in_the_resource():
    with pytest.raises(OctopusUnreadable) as caught:
        Subscription.read({"EventNotificationSubscription": {"WebhookHeaderValue": "secret-word"}})

    assert "secret-word" not in f"{caught.value!r}{caught.value.__cause__!r}{caught.value.__context__!r}"


@pytest.mark.parametrize("restrictions", [7, True, "x", None, {}, []])
def test_permission_with_mangled_restrictions_is_unrestricted(restrictions):
    (grant,) = parse_permissions({"SpacePermissions": {"TaskView": restrictions}}).grants["TaskView"]

    assert not grant.is_restricted
