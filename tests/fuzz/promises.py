"""What must be true of whatever comes of the body of a webhook."""

from __future__ import annotations

import json
from collections.abc import Callable

from app.domain.events import Event, Unreadable, parse_delivery
from app.domain.ids import is_id
from app.web.redaction import redacted

#: Stands in some bodies, in more than one spelling.
SECRET = "secret-of-the-webhook"

#: What a script of Redis counts with: integers up to this are exact.
MOST_EXACT = 2**53


class Broken(Exception):
    """A promise was broken; the message names it."""


def check(body: bytes, parse: Callable[[bytes], Event] = parse_delivery) -> None:
    """Read *body* as the webhook does.

    Raises:
        Broken: what came of it is not what Redis, Lua, pages and addresses are promised.
    """
    text = redacted(body, (SECRET,), 65_536)
    if SECRET in text or len(text) > 65_536:
        raise Broken("the body that is kept has the secret in it, or is too long")
    try:
        event = parse(body)
    except Unreadable as reason:
        if not str(reason) or len(str(reason)) > 65_536:
            raise Broken("the reason is empty or without end") from reason
        return
    for name, value in (("task", event.task_id), ("deployment", event.deployment_id)):
        if value is not None and not is_id(value):
            raise Broken(f"the id of the {name} is none: {value!r}")
    for document in (event.info.get(name) for name in ("project", "environment", "tenant", "release")):
        if document is not None and not is_id(document["id"]):
            raise Broken(f"the id of a document is none: {document!r}")
    if event.occurred_ms is not None and abs(event.occurred_ms) >= MOST_EXACT:
        raise Broken(f"the time is none that Lua counts with: {event.occurred_ms}")
    if not event.key or len(event.category) > 100:
        raise Broken("there is no key, or a category without end")
    # Half a character is text for Python, and for nobody else.
    for value in (event.key, event.id or "", event.category, json.dumps(dict(event.info), ensure_ascii=False)):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise Broken(f"{value!r} is no text for Redis") from error
