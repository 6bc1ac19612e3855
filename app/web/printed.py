"""Text for deployment logs: every answer to a step is printed there, and becomes safe to print at this one place."""

from __future__ import annotations

import re

from flask import Flask, Response, json, request

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
            if response.mimetype == "text/plain":
                response.set_data("\n".join(map(neutral, response.get_data(as_text=True).split("\n"))))
            elif response.is_json and _SUSPECT.search(data := response.get_data()):
                response.set_data(json.dumps(neutral_json(json.loads(data))))
        return response
