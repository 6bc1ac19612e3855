"""Upload of the step templates into the spaces of an Octopus Server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.octopus.client import OctopusClient
from app.octopus.server import Space
from app.provision.step_templates import plan_upload


@dataclass(frozen=True)
class Uploaded:
    """What became of one template of one space: ``create``, ``update`` or ``unchanged``."""

    space_id: str
    name: str
    action: str


def upload(
    client: OctopusClient, space: Space, built: Sequence[Mapping[str, Any]], *, dry_run: bool = False
) -> list[Uploaded]:
    """Create or update *built* in *space*; templates of other names are left alone.

    Args:
        built: From `app.provision.step_templates.build_templates`.
        dry_run: Change nothing, and say what would be.

    Raises:
        OctopusError: Octopus did not do it; what was done before stays done, and a second run goes on.
    """
    existing = {template.id: template for template in client.templates(space=space.id)}
    plan = plan_upload([template.resource for template in existing.values()], built)
    for step in plan:
        if step.action == "create" and not dry_run:
            client.create_template(step.body, space=space.id)
        elif step.action == "update" and not dry_run:
            client.update_template(existing[step.body["Id"]], step.body, space=space.id)
    return [Uploaded(space.id, str(step.body["Name"]), step.action) for step in plan]
