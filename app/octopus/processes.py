"""Projects, their processes, and step templates: what they are, and the calls that read and write them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import PlainValidator

from app.octopus.errors import OctopusMissing
from app.octopus.fields import WHOLE, Demanded, Flag, Name, Number, Text, TextOrEmpty, Value, Whole, at, is_word
from app.octopus.resources import Resources, demanded_list
from app.octopus.shapes import Resource, list_of, mapping_of, text, text_of, word_of


def _branch(project: Resource) -> str | None:
    persistence = mapping_of(project.get("PersistenceSettings"))
    is_in_git = persistence.get("Type") == "VersionControlled" or project.get("IsVersionControlled") is True
    return (text(persistence, "DefaultBranch") or "main") if is_in_git else None


@dataclass(frozen=True)
class Project(Value):
    """A project; the deployment process of one with a *branch* is kept in Git."""

    id: Demanded
    name: Name
    is_disabled: Flag = False
    process_id: Annotated[Text, at("DeploymentProcessId")] = None
    branch: Annotated[str | None, PlainValidator(_branch), WHOLE] = None


#: What keeps an action from running everywhere.
_SCOPES = (
    "Environments", "ExcludedEnvironments", "Channels", "TenantTags",
    "EnvironmentsVariable", "ExcludedEnvironmentsVariable", "ChannelsVariable", "TenantTagsVariable",
)  # fmt: skip


def _is_conditional(condition: object) -> bool:
    return word_of(condition) not in ("", "success", "always")


def _is_scoped(action: Resource) -> bool:
    return any(action.get(name) for name in _SCOPES) or _is_conditional(action.get("Condition"))


def _has_packages(action: Resource) -> bool:
    package = text(mapping_of(action.get("Properties")), "Octopus.Action.Package.PackageId")
    return bool(list_of(action.get("Packages")) or package)


def _names(properties: object) -> frozenset[str]:
    return frozenset(mapping_of(properties))


def _property(name: str) -> Any:
    """A property of a step or an action: text, or an object where it is sensitive."""
    return at("Properties", f"Octopus.Action.{name}")


@dataclass(frozen=True)
class Action(Value):
    """What a step does. *runs_on_server*: on the server or a worker; *packages*: it fetches some.

    *instructions* are what a manual intervention shows; *parameters* the names of its properties. *is_scoped*: it runs
    in some environments, channels or tenants only, or on a condition.
    """

    name: TextOrEmpty = ""
    type: Annotated[TextOrEmpty, at("ActionType")] = ""
    is_disabled: Flag = False
    script: Annotated[TextOrEmpty, _property("Script.ScriptBody")] = ""
    template_id: Annotated[Text, _property("Template.Id")] = None
    runs_on_server: Annotated[bool, is_word("true"), _property("RunOnServer")] = False
    packages: Annotated[bool, PlainValidator(_has_packages), WHOLE] = False
    instructions: Annotated[TextOrEmpty, _property("Manual.Instructions")] = ""
    id: Text = None
    parameters: Annotated[frozenset[str], PlainValidator(_names), at("Properties")] = frozenset()
    is_scoped: Annotated[bool, PlainValidator(_is_scoped), WHOLE] = False


def _packages_first(requirement: object) -> bool | None:
    return {"afterpackageacquisition": True, "beforepackageacquisition": False}.get(word_of(requirement))


def _roles(value: object) -> tuple[str, ...]:
    return tuple(filter(None, (role.strip() for role in (text_of(value) or "").split(","))))


def _actions(value: object) -> tuple[Action, ...]:
    return Action.read_all(each for each in list_of(value) if isinstance(each, dict))


@dataclass(frozen=True)
class Step(Value):
    """A step of a process. *roles* empty: on no targets of its own; *packages_first*: behind package acquisition.

    *packages_first* is None where Octopus decides. *starts_beside*: together with the step before it; *is_conditional*:
    it runs on an expression, or only after a failure.
    """

    name: TextOrEmpty = ""
    roles: Annotated[tuple[str, ...], PlainValidator(_roles), _property("TargetRoles")] = ()
    runs_always: Annotated[bool, is_word("always"), at("Condition")] = False
    packages_first: Annotated[bool | None, PlainValidator(_packages_first), at("PackageRequirement")] = None
    actions: Annotated[tuple[Action, ...], PlainValidator(_actions)] = ()
    starts_beside: Annotated[bool, is_word("startwithprevious"), at("StartTrigger")] = False
    is_conditional: Annotated[bool, PlainValidator(_is_conditional), at("Condition")] = False


@dataclass(frozen=True)
class Template(Value):
    """A step template. *resource* is all of it, as Octopus wrote it."""

    id: Demanded
    name: TextOrEmpty = ""
    version: Number = None
    resource: Whole = field(default_factory=dict, repr=False)


def template_body(template: Resource, existing: Template | None = None) -> Resource:
    """*template*, an exported one, as a new template or in place of *existing*, whose other fields stay."""
    own = ("Name", "Description", "ActionType", "Properties", "Parameters", "Packages", "GitDependencies")
    fields = existing.resource if existing else {}
    return {**fields, **{name: template[name] for name in own if name in template}}


def parse_process(resource: Resource) -> tuple[Step, ...]:
    """The steps of a deployment process, in order."""
    return Step.read_all(demanded_list(resource, "Steps", "deployment process"))


class Processes(Resources):
    """Calls about projects, processes and step templates."""

    def projects(self, *, space: str | None = None) -> tuple[Project, ...]:
        """The projects of the space."""
        return Project.read_all(self._items(space, "projects"))

    def process(self, project: Project, *, space: str | None = None) -> tuple[Step, ...]:
        """The steps of the project's deployment process, in order; of its default branch where it is kept in Git."""
        if project.branch:
            branch = project.branch if project.branch.startswith("refs/") else f"refs/heads/{project.branch}"
            resource = self._get(space, "projects", project.id, branch, "deploymentprocesses")
        elif project.process_id:
            resource = self._get(space, "deploymentprocesses", project.process_id)
        else:
            raise OctopusMissing(f"{project.id}: it names no deployment process")
        return parse_process(resource)

    def templates(self, *, space: str | None = None) -> tuple[Template, ...]:
        """The step templates of the space."""
        return Template.read_all(self._items(space, "actiontemplates"))

    def create_template(self, exported: Resource, *, space: str | None = None) -> Template:
        """A new step template. *exported* is one as Octopus exports it, e.g. from ``steps/``."""
        body = template_body(exported)
        return Template.read(self._write("POST", space, "actiontemplates", body=body))

    def update_template(self, existing: Template, exported: Resource, *, space: str | None = None) -> Template:
        """*existing* with the content of *exported*; Octopus gives it the next version."""
        body = template_body(exported, existing)
        return Template.read(self._write("PUT", space, "actiontemplates", existing.id, body=body))
