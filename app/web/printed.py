"""Text for deployment logs: every answer to a step is printed there, and becomes safe to print at this one place."""

from __future__ import annotations

import json
import re

from flask import Flask, Response, request

from app.domain.neutral import neutral, neutral_json

#: What steps ask.
_PATH = "/api/waits/"

#: In JSON as it is written here, with nothing but ASCII: a ``#`` before another or before the end of its text, or an
#: escape, behind which anything can be.
_SUSPECT = re.compile(rb'#[#"]|\\')


def install(app: Flask) -> None:
    """Make what *app* answers to steps `neutral`: states, names, reasons and errors, as JSON and as text."""

    @app.after_request
    def _neutralise(response: Response) -> Response:
        if request.path.startswith(_PATH) and not response.is_streamed:
            if response.mimetype == "text/plain" or response.is_json:
                response.set_data(printable(response.get_data(), is_text=not response.is_json))
        return response


def printable(body: bytes, *, is_text: bool) -> bytes:
    """*body*, lines of text or JSON, with nothing in it that would be a command in a deployment log."""
    if is_text:
        return "\n".join(map(neutral, body.decode().split("\n"))).encode()
    return json.dumps(neutral_json(json.loads(body))).encode() if _SUSPECT.search(body) else body
