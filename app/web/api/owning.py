"""What a step may do: its calls on the board, within the limits of its token and for the runs that are its own.

What it may not do is answered as its script knows it: an error would end the deployment, or let it go on without its
machines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog
from flask import g

from app.domain.access.identity import Identity, Verdict, signed_parts, verdict_on
from app.domain.errors import AnotherOwner, HoldsOthers, QuotaReached, TooManyWaiting
from app.domain.run import RunRequest, RunState, State
from app.domain.run_info import RunInfo
from app.domain.status import RunStatus
from app.jobs import CHECK
from app.services import Services
from app.settings.values import Token
from app.web.auth import credential_of
from app.web.tokens import Tokens

log = structlog.get_logger()

#: How far apart are checks that somebody waits for.
CHECK_APART = timedelta(seconds=3)


@dataclass(frozen=True)
class StepCalls:
    """The calls of one step, made with *token*.

    Args:
        claim: The id of the execution of the step, if it has one.
        tokens: All that are valid.
    """

    services: Services
    token: Token
    claim: str | None
    tokens: Tokens

    @property
    def identity(self) -> Identity:
        return self.token.identity

    def join(self, request: RunRequest, machines: Sequence[str]) -> RunStatus:
        """As `Board.join`, within the limits of the token; a status that waits without a place where there is none now.

        Raises:
            GateError: as `Board.join`, of a run of its own.
        """
        if objection := self._objection_to(request):
            return self._refused(request.task_id, objection)
        request = self._within_limits(request)
        try:
            place = self.services.board.join(request, machines)
            if request.on_behalf_of and place.is_waiting and place.run.unchecked:
                # Its parent may share its machines with it once it is checked.
                self._have_checked()
            return place
        except TooManyWaiting as error:
            limit = f"{error}, as many as may (max_waiting of the token {self.token.name})"
            return self._turned_away(request.task_id, limit)
        except QuotaReached as error:
            return self._refused(request.task_id, str(error))
        except AnotherOwner as error:
            return self._join_anothers(error, request, machines)

    def is_plain(self, request: RunRequest) -> bool:
        """Whether nothing is lowered, refused or checked for a run that asks for a place."""
        is_lowered = self.identity.lowered(request.priority) < request.priority
        return not (is_lowered or request.on_behalf_of or self._objection_to(request))

    def join_plainly(self, request: RunRequest, machines: Sequence[str]) -> RunStatus:
        """As `join`, of a run that `is_plain`.

        Raises:
            GateError: it did not join, and `join` may have more to say.
        """
        return self.services.board.join(self._within_limits(request), machines)

    def poll(self, task_id: str, *, blocks: bool) -> RunStatus | None:
        """As `Board.poll`; None also where the step has to ask for a place first."""
        board = self.services.board
        try:
            return board.poll(task_id, claim=self.claim, blocks=blocks, owner=self.identity.owner)
        except AnotherOwner as error:
            verdict = self._verdict_on(error.run)
            if verdict is Verdict.TAKE:
                return board.poll(task_id, claim=self.claim, blocks=blocks)
            return self._refused(task_id, self._objection(error.run)) if verdict is Verdict.REFUSE else None

    def release(self, task_id: str, *, reason: str | None) -> str:
        """As `Board.release`; ``nothing`` also of a run of somebody else."""

        def release(owner: str | None) -> str:
            return self.services.board.release(
                task_id, by=self.token.name, reason=reason, claim=self.claim, owner=owner
            )

        try:
            return release(self.identity.owner)
        except AnotherOwner as error:
            if self._verdict_on(error.run) is Verdict.TAKE:
                return release(None)
            self._note_refusal(task_id, self._objection(error.run))
            return "nothing"

    def _objection_to(self, request: RunRequest) -> str | None:
        limits = self.identity.limits
        if not limits.spaces and not limits.projects:
            return None
        info = RunInfo.from_json(request.info)
        return self.identity.objection(info.space_id, info.project.id if info.project else None)

    def _within_limits(self, request: RunRequest) -> RunRequest:
        lowered, remark = self.identity.lowered(request.priority), None
        if lowered < request.priority:
            remark = (
                f"The token {self.token.name} may ask for a priority of {lowered} at most (its max_priority): the "
                f"priority {request.priority} was lowered to it."
            )
            log.warning(
                "a priority was lowered", task=request.task_id, token=self.token.name, wish=request.priority,
                limit=lowered,
            )  # fmt: skip
        credential = credential_of(self.claim, self.token.secret) if self.claim and not self.identity.is_admin else None
        return replace(
            request, priority=lowered, remark=remark, identity=self.identity, credential=credential,
            parent_projects=self._parent_projects(),
        )  # fmt: skip

    def _parent_projects(self) -> frozenset[str]:
        """The projects whose runs may be its parents where nobody knows their owner, as after a loss of Redis."""
        limits, tokens = self.identity.limits, self.tokens
        families = (token.limits for name in limits.families for token in tokens.named(name))
        return limits.projects.union(*(other.projects for other in families if other))

    def _join_anothers(self, error: AnotherOwner, request: RunRequest, machines: Sequence[str]) -> RunStatus:
        verdict = self._verdict_on(error.run)
        if verdict is Verdict.REFUSE:
            return self._refused(request.task_id, self._objection(error.run))
        whose = f"{error.run.id} was joined with the token {error.run.owner}"
        if verdict is Verdict.WAIT:
            self._have_checked()
            return self._turned_away(request.task_id, f"{whose}, and octowait is asking Octopus whose it is")
        try:
            return self.services.board.join(replace(request, verdict=str(verdict)), machines)
        except HoldsOthers as other:
            return self._turned_away(request.task_id, f"{whose}; nobody can say whose it is ({other})")
        except TooManyWaiting as other:
            return self._turned_away(request.task_id, str(other))
        except QuotaReached as other:
            return self._refused(request.task_id, str(other))

    def _have_checked(self) -> None:
        """Have Octopus asked at once, every few seconds at most."""
        if self.services.claims.claim("check-now", CHECK_APART):
            self.services.request(CHECK)

    def _verdict_on(self, run: RunState) -> Verdict:
        if self.claim and run.claim == self.claim and run.credential == credential_of(self.claim, self.token.secret):
            # The token with which it joined, which has other limits since then.
            return Verdict.TAKE
        info = run.info
        project = run.true_project or (None if run.owner else info.project.id if info.project else None)
        verdict = verdict_on(
            self.identity, self._owners(run.owner or ""), slugs=run.true_slugs,
            space_id=run.true_space or (None if run.owner else info.space_id), project_id=project,
            can_check=self.services.knows_octopus and run.unchecked and run.state in (State.WAITING, State.GRANTED),
        )  # fmt: skip
        log.debug("a run of another token", task=run.id, token=self.token.name, owner=run.owner, verdict=str(verdict))
        return verdict

    def _owners(self, name: str) -> list[Identity]:
        signed = signed_parts(name, self.services.settings.step_oidc_subject_keys)
        if signed:
            return [Identity(name, signed=tuple(sorted(signed.items())))]
        return [token.identity for token in self.tokens.named(name)]

    def _objection(self, run: RunState) -> str:
        return f"it belongs to the token {run.owner or 'of its project'}, and the token {self.token.name} asks"

    def _refused(self, task_id: str, reason: str) -> RunStatus:
        self._note_refusal(task_id, reason)
        return RunStatus(
            RunState(task_id, State.REFUSED, claim=self.claim, reason=reason), self.services.board.now_ms()
        )

    def _turned_away(self, task_id: str, reason: str) -> RunStatus:
        self._note_refusal(task_id, reason)
        return self.without_place(task_id, reason)

    def without_place(self, task_id: str, reason: str) -> RunStatus:
        """The status of a run that gets no place now, and is to ask again."""
        return RunStatus(
            RunState(task_id, State.WAITING, claim=self.claim, reason=reason), self.services.board.now_ms()
        )

    def _note_refusal(self, task_id: str, reason: str) -> None:
        g.step_refused_because = f"{task_id}: {reason}"
