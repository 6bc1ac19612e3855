"""How Octopus is set up: the server, the key's user, subscriptions, projects and their processes, step templates."""

from __future__ import annotations

from app.octopus import answers, parse
from app.octopus.errors import OctopusMissing
from app.octopus.resources import ALL_SPACES, Resources
from app.octopus.transport import Call


class Setup(Resources):
    """Calls about how Octopus is set up."""

    def server(self) -> parse.Server:
        """What answers there, and the time it gave; needs no valid key."""
        call = Call("GET", "/api", "server")
        answer = self._transport.send(call, self._manner)
        return parse.parse_server(answers.resource(answer, str(call)), answer.headers.get("Date"))

    def server_nodes(self) -> tuple[parse.ServerNode, ...]:
        """The nodes with their task caps; Octopus Cloud and most keys do not show them."""
        return tuple(parse.parse_server_node(item) for item in self._items(None, "octopusservernodes"))

    def spaces(self) -> tuple[parse.Space, ...]:
        """The spaces that the key may see."""
        return tuple(parse.parse_space(item) for item in self._items(None, "spaces"))

    def me(self) -> parse.User:
        """Who the API key belongs to."""
        return parse.parse_user(self._get(None, "users", "me"))

    def permissions(self, user_id: str) -> parse.Permissions:
        """What the user may do, in all spaces and in the system."""
        query = {"includeSystem": "true", "spaces": ALL_SPACES}
        return parse.parse_permissions(self._get(None, "users", user_id, "permissions", query=query))

    def subscriptions(self, *, space: str | None = None) -> tuple[parse.Subscription, ...]:
        """The subscriptions of the space."""
        return tuple(parse.parse_subscription(item) for item in self._items(space, "subscriptions"))

    def subscription(self, subscription_id: str, *, space: str | None = None) -> parse.Subscription:
        """The subscription as it stands."""
        return parse.parse_subscription(self._get(space, "subscriptions", subscription_id))

    def create_subscription(self, spec: parse.SubscriptionSpec, *, space: str) -> parse.Subscription:
        """A new subscription of the space."""
        body = parse.subscription_body(spec, space)
        return parse.parse_subscription(self._write("POST", space, "subscriptions", body=body))

    def update_subscription(
        self, existing: parse.Subscription, spec: parse.SubscriptionSpec, *, space: str
    ) -> parse.Subscription:
        """*existing* made what *spec* says, its secret included; its fields that *spec* does not name stay."""
        body = parse.subscription_body(spec, space, existing)
        return parse.parse_subscription(self._write("PUT", space, "subscriptions", existing.id, body=body))

    def delete_subscription(self, subscription_id: str, *, space: str | None = None) -> bool:
        """Whether there was one to delete."""
        return self._delete(space, "subscriptions", subscription_id)

    def projects(self, *, space: str | None = None) -> tuple[parse.Project, ...]:
        """The projects of the space."""
        return tuple(parse.parse_project(item) for item in self._items(space, "projects"))

    def process(self, project: parse.Project, *, space: str | None = None) -> tuple[parse.Step, ...]:
        """The steps of the project's deployment process, in order; of its default branch where it is kept in Git."""
        if project.branch:
            branch = project.branch if project.branch.startswith("refs/") else f"refs/heads/{project.branch}"
            resource = self._get(space, "projects", project.id, branch, "deploymentprocesses")
        elif project.process_id:
            resource = self._get(space, "deploymentprocesses", project.process_id)
        else:
            raise OctopusMissing(f"{project.id}: it names no deployment process")
        return parse.parse_process(resource)

    def templates(self, *, space: str | None = None) -> tuple[parse.Template, ...]:
        """The step templates of the space."""
        return tuple(parse.parse_template(item) for item in self._items(space, "actiontemplates"))

    def create_template(self, exported: parse.Resource, *, space: str | None = None) -> parse.Template:
        """A new step template. *exported* is one as Octopus exports it, e.g. from ``steps/``."""
        body = parse.template_body(exported)
        return parse.parse_template(self._write("POST", space, "actiontemplates", body=body))

    def update_template(
        self, existing: parse.Template, exported: parse.Resource, *, space: str | None = None
    ) -> parse.Template:
        """*existing* with the content of *exported*; Octopus gives it the next version."""
        body = parse.template_body(exported, existing)
        return parse.parse_template(self._write("PUT", space, "actiontemplates", existing.id, body=body))

    def _delete(self, space: str | None, *path: str) -> bool:
        try:
            self._write("DELETE", space, *path)
        except OctopusMissing:
            # Also when our first attempt got through and only its answer did not.
            return False
        return True
