"""Step templates: kept as they were sent, with an id and a version that grows with each change."""

from __future__ import annotations

from typing import Any

from tests.simulator.api_documents import filtered
from tests.simulator.envelope import collection
from tests.simulator.model import Invalid, Template
from tests.simulator.routing import Answer, Call, Created, Routes

routes = Routes()


def _shown(template: Template) -> dict[str, Any]:
    own = f"/api/{template.space_id}/actiontemplates/{template.id}"
    return {"Packages": [], "Parameters": [], "Properties": {}, "Description": None, "CommunityActionTemplateId": None,
            **template.fields, "Id": template.id, "Name": template.name, "SpaceId": template.space_id,
            "Version": template.version, "Links": {"Self": own}}  # fmt: skip


@routes("GET", "actiontemplates", "ActionTemplateView")
def templates(call: Call) -> Answer:
    return collection(call, filtered(call, call.octopus.store.all("ActionTemplates")), "ActionTemplate", _shown)


@routes("GET", "actiontemplates/all", "ActionTemplateView")
def all_templates(call: Call) -> Answer:
    return [_shown(template) for template in filtered(call, call.octopus.store.all("ActionTemplates"))]


@routes("POST", "actiontemplates", "ActionTemplateCreate")
def create(call: Call) -> Answer:
    body, store = call.body, call.octopus.store
    if not body.get("Name") or not body.get("ActionType"):
        raise Invalid("Name and ActionType are required.")
    if any(t.name == body["Name"] and t.space_id == call.home.id for t in store.all("ActionTemplates")):
        raise Invalid(f"A step template named {body['Name']} already exists. Please choose a different name.")
    template = Template(id=store.new_id("ActionTemplates"), space_id=call.home.id, name=body["Name"], fields=body)
    return Created(_shown(store.put(template)))


@routes("GET", "actiontemplates/{id}", "ActionTemplateView")
def template(call: Call) -> Answer:
    return _shown(call.get("ActionTemplates", call.ids["id"]))


@routes("PUT", "actiontemplates/{id}", "ActionTemplateEdit")
def update(call: Call) -> Answer:
    found: Template = call.get("ActionTemplates", call.ids["id"])
    found.fields, found.name, found.version = call.body, call.body.get("Name") or found.name, found.version + 1
    return _shown(found)


@routes("DELETE", "actiontemplates/{id}", "ActionTemplateDelete")
def delete(call: Call) -> Answer:
    call.octopus.store.remove(call.get("ActionTemplates", call.ids["id"]))
    return {}
