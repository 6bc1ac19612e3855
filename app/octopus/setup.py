"""How Octopus is set up: the server, the key's user, subscriptions, projects and their processes, step templates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from app.octopus import answers
from app.octopus.errors import OctopusError, OctopusMissing, OctopusRejected
from app.octopus.header_value import without
from app.octopus.parse_setup import (
    parse_permissions,
    parse_process,
    parse_project,
    parse_server,
    parse_server_node,
    parse_space,
    parse_subscription,
    parse_template,
    parse_user,
    subscription_body,
    template_body,
)
from app.octopus.resources import ALL_SPACES, Resources
from app.octopus.transport import Call
from app.octopus.values import (
    Permissions,
    Project,
    Resource,
    Server,
    ServerNode,
    Space,
    Step,
    Subscription,
    SubscriptionSpec,
    Template,
    User,
)


class Setup(Resources):
    """Calls about how Octopus is set up."""

    def server(self) -> Server:
        """What answers there, and the time it gave; needs no valid key."""
        call = Call("GET", "/api", "server")
        answer = self._transport.send(call, self._manner)
        return parse_server(answers.resource(answer, str(call)), answer.headers.get("Date"))

    def server_nodes(self) -> tuple[ServerNode, ...]:
        """The nodes with their task caps; Octopus Cloud and most keys do not show them."""
        return tuple(parse_server_node(item) for item in self._items(None, "octopusservernodes"))

    def spaces(self) -> tuple[Space, ...]:
        """The spaces that the key may see."""
        return tuple(parse_space(item) for item in self._items(None, "spaces"))

    def me(self) -> User:
        """Who the API key belongs to."""
        return parse_user(self._get(None, "users", "me"))

    def permissions(self, user_id: str) -> Permissions:
        """What the user may do, in all spaces and in the system."""
        query = {"includeSystem": "true", "spaces": ALL_SPACES}
        return parse_permissions(self._get(None, "users", user_id, "permissions", query=query))

    def subscriptions(self, *, space: str | None = None) -> tuple[Subscription, ...]:
        """The subscriptions of the space."""
        return tuple(parse_subscription(item) for item in self._items(space, "subscriptions"))

    def subscription(self, subscription_id: str, *, space: str | None = None) -> Subscription:
        """The subscription as it stands."""
        return parse_subscription(self._get(space, "subscriptions", subscription_id))

    def create_subscription(self, spec: SubscriptionSpec, *, space: str, as_object: bool = True) -> Subscription:
        """A new subscription of the space.

        Args:
            as_object: Write the secret as a sensitive value first, rather than as a text; a server that does not take
                the one is given the other. No error that is raised has the secret in it.
        """
        return self._give_secret(spec, space, None, as_object)

    def update_subscription(
        self, existing: Subscription, spec: SubscriptionSpec, *, space: str, as_object: bool | None = None
    ) -> Subscription:
        """*existing* made what *spec* says, its secret included; its fields that *spec* does not name stay.

        Args:
            as_object: As of `create_subscription`; by default as *existing* shows.
        """
        shown = existing.header_value.is_object is not False
        return self._give_secret(spec, space, existing, shown if as_object is None else as_object)

    def _give_secret(
        self, spec: SubscriptionSpec, space: str, existing: Subscription | None, as_object: bool
    ) -> Subscription:
        with _hiding(spec.secret):
            try:
                after = self._write_subscription(spec, space, existing, as_object)
            except OctopusRejected as error:
                if not error.is_about_body:
                    raise
                return self._write_subscription(spec, space, existing, not as_object)
            # A text need not be shown; what is shown as an object says whether it has a value.
            if (
                after.has_secret
                or not after.header_value.is_told
                or (not as_object and not after.header_value.is_object)
            ):
                return after
            with suppress(OctopusRejected):
                return self._write_subscription(spec, space, existing or after, not as_object)
            return after

    def _write_subscription(
        self, spec: SubscriptionSpec, space: str, existing: Subscription | None, as_object: bool
    ) -> Subscription:
        body = subscription_body(spec, space, existing, as_object=as_object)
        if existing is None:
            return parse_subscription(self._write("POST", space, "subscriptions", body=body))
        return parse_subscription(self._write("PUT", space, "subscriptions", existing.id, body=body))

    def delete_subscription(self, subscription_id: str, *, space: str | None = None) -> bool:
        """Whether there was one to delete."""
        return self._delete(space, "subscriptions", subscription_id)

    def projects(self, *, space: str | None = None) -> tuple[Project, ...]:
        """The projects of the space."""
        return tuple(parse_project(item) for item in self._items(space, "projects"))

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
        return tuple(parse_template(item) for item in self._items(space, "actiontemplates"))

    def create_template(self, exported: Resource, *, space: str | None = None) -> Template:
        """A new step template. *exported* is one as Octopus exports it, e.g. from ``steps/``."""
        body = template_body(exported)
        return parse_template(self._write("POST", space, "actiontemplates", body=body))

    def update_template(self, existing: Template, exported: Resource, *, space: str | None = None) -> Template:
        """*existing* with the content of *exported*; Octopus gives it the next version."""
        body = template_body(exported, existing)
        return parse_template(self._write("PUT", space, "actiontemplates", existing.id, body=body))

    def _delete(self, space: str | None, *path: str) -> bool:
        try:
            self._write("DELETE", space, *path)
        except OctopusMissing:
            # Also when our first attempt got through and only its answer did not.
            return False
        return True


@contextmanager
def _hiding(secret: str) -> Iterator[None]:
    """Errors of Octopus without *secret*: a server that cannot read a value quotes it."""
    try:
        yield
    except OctopusError as error:
        error.args = (without(secret, str(error)),)
        raise
