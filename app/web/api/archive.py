"""``/api/archive``: what of the timeline is in files, and having it moved there."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Blueprint

from app.jobs import ARCHIVE
from app.settings import Token
from app.web.api.routing import Api, services
from app.web.api.schemas import ArchiveRequest, ArchiveState, Requested

api = Api(Blueprint("archive", __name__))


@api.route("GET", "/api/archive", role="viewer", answers={200: ArchiveState})
def archive(caller: Token) -> Any:
    """The days of the timeline that are in files."""
    gate = services()
    head = gate.retention.head()
    return {"days": [asdict(day) for day in gate.archive.manifests()], "head": asdict(head) if head else None}


@api.route("POST", "/api/archive", role="admin", body=ArchiveRequest, answers={202: Requested})
def archive_now(body: ArchiveRequest, caller: Token) -> Any:
    """Have a worker archive now what is old enough; it does so by itself every hour."""
    gate = services()
    if body.begin_anew and (head := gate.retention.head()):
        # The files that follow do not show that some are missing; the timeline does.
        gate.board.note("archive_lost", by=caller.name, day=head.day, last_id=head.last_id, hash=head.hash)
        gate.retention.begin_anew()
    gate.request(ARCHIVE)
    return {"outcome": "requested"}, 202
