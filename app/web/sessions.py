"""The session of a browser: its cookie has an id, and all else stands on the server."""

from __future__ import annotations

from typing import Any

import structlog
from flask import Flask, Request, Response
from flask.sessions import SessionInterface, SessionMixin
from werkzeug.datastructures import CallbackDict

from app.coordination.sessions import CODE_LIFETIME, SESSION_LIFETIME, Sessions
from app.store.errors import StoreError

log = structlog.get_logger()

#: What makes a session one of somebody: the digest of a token, or a person by name and role.
TOKEN, PERSON = "token", "person"

#: What the way through a provider leaves in a session until it ends there.
_UNDER_WAY = "next"


class _Session(CallbackDict[str, Any], SessionMixin):
    """The values of a session; *id* is None where none was opened yet."""

    def __init__(self, values: dict[str, Any] | None = None, session_id: str | None = None) -> None:
        def note(_: object) -> None:
            self.modified = True

        super().__init__(values or {}, note)
        self.id = session_id
        self.modified = False
        #: Why nobody knows whose session it is.
        self.failure: StoreError | None = None


class ServerSessions(SessionInterface):
    """Sessions of `app.coordination.sessions`. Who signs in gets a new id, whatever id his browser had."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def open_session(self, app: Flask, request: Request) -> _Session:
        # Nothing is asked for a request without the cookie: every webhook and every step is one.
        session_id = request.cookies.get(self.get_cookie_name(app))
        try:
            values = self._sessions.values(session_id) if session_id else None
        except StoreError as error:
            # Here nobody would make an answer of it; `app.web.auth` raises it where somebody asks who calls.
            session = _Session()
            session.failure = error
            return session
        return _Session(values, session_id if values is not None else None)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        assert isinstance(session, _Session)
        try:
            if session.modified and not session.failure:
                self._save(app, session, response)
        except StoreError as error:
            log.warning("a session was not kept", error=str(error))

    def _save(self, app: Flask, session: _Session, response: Response) -> None:
        is_new_person = session.pop("is_new", False)
        is_somebody = TOKEN in session or PERSON in session
        is_kept = is_somebody or _UNDER_WAY in session
        # Nothing is kept for a browser that nobody has signed in with, or is about to.
        if session.id and (is_new_person or not is_kept):
            self._sessions.end(session.id)
        if not is_kept:
            if session.id:
                self._set_cookie(app, response, None)
        elif session.id and not is_new_person:
            self._sessions.keep(session.id, session)
        else:
            lifetime = SESSION_LIFETIME if is_somebody else CODE_LIFETIME
            self._set_cookie(app, response, self._sessions.open(session, lifetime))

    def _set_cookie(self, app: Flask, response: Response, value: str | None) -> None:
        how: dict[str, Any] = {
            "path": self.get_cookie_path(app), "secure": self.get_cookie_secure(app),
            "httponly": self.get_cookie_httponly(app), "samesite": self.get_cookie_samesite(app),
        }  # fmt: skip
        if value is None:
            response.delete_cookie(self.get_cookie_name(app), **how)
        else:
            response.set_cookie(self.get_cookie_name(app), value, **how)
