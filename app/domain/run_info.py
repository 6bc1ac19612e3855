"""Information about a run: its project, release, environment and so on, as people are shown it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.domain.ids import space_id_of
from app.domain.shortening import shortened


@dataclass(frozen=True)
class Document:
    """A project, environment, release or tenant, as far as it is known; the name of a release is its version."""

    id: str | None = None
    name: str | None = None

    @property
    def label(self) -> str | None:
        """The name, or else the id."""
        return self.name or self.id


@dataclass(frozen=True)
class RunInfo:
    """What people are shown of a run, as its step, its events or Octopus gave it."""

    project: Document | None = None
    release: Document | None = None
    environment: Document | None = None
    tenant: Document | None = None
    #: Of a runbook run.
    runbook: Document | None = None
    #: As it was given; `space` is checked.
    space_id: str | None = None
    deployment_id: str | None = None
    runbook_run_id: str | None = None
    #: Of the task in Octopus.
    url: str | None = None
    #: What Octopus does not tell of its machines, so that more of them are busy than perhaps need be.
    machines_note: str | None = None
    #: As its step gave it; what counts is `RunState.on_behalf_of`.
    on_behalf_of: str | None = None

    @property
    def space(self) -> str | None:
        """The id of its space; None where what was given is none, since it becomes part of addresses."""
        return space_id_of(self.space_id)

    @property
    def label(self) -> str:
        """``Api 2.0.1 to Production``, of a runbook run ``Api Restart IIS to Production``; as much as is known."""
        environment = self.environment_name
        what = self.release or self.runbook
        parts = [self.project_name, what.label if what else None]
        named = [*parts, *(["to", environment] if environment else [])]
        return " ".join(shortened(part) for part in named if part)

    @property
    def project_name(self) -> str | None:
        """The name of the project, or else its id."""
        return self.project.label if self.project else None

    @property
    def environment_name(self) -> str | None:
        """The name of the environment, or else its id."""
        return self.environment.label if self.environment else None

    @property
    def release_version(self) -> str | None:
        """The version of the release, not its id."""
        return self.release.name if self.release else None

    def of(self, task_id: str) -> str:
        """``ServerTasks-4700 (Api 2.0.1 to Production)``, or the id alone where nothing is known."""
        return f"{task_id} ({self.label})" if self.label else task_id

    @classmethod
    def from_json(cls, document: object) -> RunInfo:
        """From what `as_json` gives, or a step; what is not of that form is left out."""
        known = document if isinstance(document, Mapping) else {}

        def text(name: str) -> str | None:
            value = known.get(name)
            return value if isinstance(value, str) else None

        return cls(
            project=_document(known.get("project")),
            release=_document(known.get("release"), "version"),
            environment=_document(known.get("environment")),
            tenant=_document(known.get("tenant")),
            runbook=_document(known.get("runbook")),
            space_id=text("space_id"),
            deployment_id=text("deployment_id"),
            runbook_run_id=text("runbook_run_id"),
            url=text("url"),
            machines_note=text("machines_note"),
            on_behalf_of=text("on_behalf_of"),
        )

    def as_json(self) -> dict[str, Any]:
        """What is known: documents as ``{"id", "name"}``, the release as ``{"id", "version"}``, the rest as text."""
        fields: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, Document):
                texts = {"id": value.id, "version" if name == "release" else "name": value.name}
                fields[name] = {key: text for key, text in texts.items() if text is not None}
            elif value is not None:
                fields[name] = value
        return fields


def _document(value: object, name: str = "name") -> Document | None:
    return Document(value.get("id"), value.get(name)) if isinstance(value, Mapping) and value else None
