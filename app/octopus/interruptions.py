"""Interruptions, the questions of tasks to people: what they tell, and the calls that read and answer them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from app.octopus.fields import Demanded, Flag, Milliseconds, Object, Text, TextOrEmpty, Value, at
from app.octopus.resources import OVERLAP, Resources
from app.octopus.shapes import Resource, list_of, mapping_of, text, texts

#: Titles of guided failures end with this, in versions that give interruptions no type.
_GUIDED_FAILURE_TITLE = " requires failure guidance"


@dataclass(frozen=True)
class Interruption(Value):
    """A question of a task to a person. A linked one is answered by answering the one of a child deployment."""

    id: Demanded
    title: TextOrEmpty = ""
    declared_type: Annotated[Text, at("Type")] = None
    is_pending: Flag = False
    created_ms: Annotated[Milliseconds, at("Created")] = None
    task_id: Text = None
    space_id: Text = None
    responsible_user_id: Text = None
    can_take_responsibility: Flag = False
    has_responsibility: Flag = False
    is_linked: Annotated[Flag, at("IsLinkedToOtherInterruption")] = False
    form: Object = field(default_factory=dict, hash=False)

    @property
    def type(self) -> str:
        """``ManualIntervention`` or ``GuidedFailure``, also in versions that do not say."""
        is_guided = self.title.endswith(_GUIDED_FAILURE_TITLE) or "guidance" in self._elements
        return self.declared_type or ("GuidedFailure" if is_guided else "ManualIntervention")

    @property
    def text(self) -> str:
        """Its title and every text in its form, a line each."""
        return "\n".join(filter(None, [self.title, *texts(self.form)]))

    @property
    def instructions(self) -> str:
        """Those of its step, filled in."""
        return text(mapping_of(self._elements.get("instructions", {}).get("Control")), "Text") or ""

    @property
    def result(self) -> str | None:
        """What was answered, where Octopus says so."""
        values = mapping_of(self.form.get("Values"))
        return text(values, "Result") or text(values, "Guidance")

    @property
    def _elements(self) -> dict[str, Resource]:
        elements = list_of(self.form.get("Elements"))
        return {str(each.get("Name")).lower(): each for each in elements if isinstance(each, dict)}


def submission(interruption: Interruption, result: str, notes: str) -> Resource:
    """What answers a manual intervention: newer servers read these fields, older ones the values of its form."""
    space = {"SpaceId": interruption.space_id} if interruption.space_id else {}
    return {"Id": interruption.id, **space, "Instructions": None, "Result": result, "Notes": notes}


class Interruptions(Resources):
    """Calls about interruptions."""

    def interruptions(
        self, task_id: str, *, pending_only: bool = True, space: str | None = None
    ) -> tuple[Interruption, ...]:
        """What the task asks people."""
        query = {"regarding": task_id, "pendingOnly": str(pending_only).lower()}
        interruptions = Interruption.read_all(self._items(space, "interruptions", query=query))
        return tuple(
            each
            for each in interruptions
            if (each.task_id is None or each.task_id.lower() == task_id.lower())
            and (each.is_pending or not pending_only)
        )

    def pending_interruptions(self, *, space: str | None = None) -> tuple[Interruption, ...]:
        """What all tasks of the space wait for, newest first."""
        items = self._items(space, "interruptions", query={"pendingOnly": "true"}, overlap=OVERLAP)
        return tuple(each for each in Interruption.read_all(items) if each.is_pending)

    def interruption(self, interruption_id: str, *, space: str | None = None) -> Interruption:
        """The question as it stands."""
        return Interruption.read(self._get(space, "interruptions", interruption_id))

    def take_responsibility(self, interruption: Interruption) -> None:
        """Become the one who may answer it; harmless when we are already.

        Raises:
            OctopusDenied: we are in none of its responsible teams, among others.
        """
        self._write("PUT", interruption.space_id, "interruptions", interruption.id, "responsible")

    def submit(self, interruption: Interruption, result: Literal["Proceed", "Abort"], *, notes: str = "") -> None:
        """Answer a manual intervention; only who has responsibility may."""
        body = submission(interruption, result, notes)
        self._write("POST", interruption.space_id, "interruptions", interruption.id, "submit", body=body)
