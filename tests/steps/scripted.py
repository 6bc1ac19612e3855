"""A server that answers the calls of a step as a test says."""

from __future__ import annotations

import json
import re
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

WAKE_KEY = "octowait:{steps}:wake"


class Script:
    """Answers calls in turn, and keeps what was asked."""

    def __init__(self, server: HTTPServer, language: str) -> None:
        self._answers: list[Response] = []
        self._text = language != "python"
        self.asked: list[tuple[str, str, Any]] = []
        self.url = server.url_for("")
        server.expect_request(re.compile("/api/waits/.*")).respond_with_handler(self._answer)

    def then(self, state: str, number: int, message: str, status: int = 200) -> Script:
        fields = {"state": state, "place": number, "fencing_token": number, "message": message, "wake_key": WAKE_KEY}
        text = f"{state} {number}\n{message}\n" if self._text else json.dumps(fields)
        self._answers.append(Response(text, status))
        return self

    def then_problem(self, status: int, detail: str = "no", **headers: str) -> Script:
        body = json.dumps({"status": status, "title": "Problem", "detail": detail, "code": "x"})
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._answers.append(Response(body, status, named, content_type="application/problem+json"))
        return self

    def then_text(self, status: int, text: str, **headers: str) -> Script:
        self._answers.append(Response(text, status, headers))
        return self

    def _answer(self, request: Request) -> Response:
        body = json.loads(request.get_data()) if request.method == "PUT" else None
        self.asked.append((request.method, request.query_string.decode(), body))
        return self._answers.pop(0)

    @property
    def methods(self) -> list[str]:
        return [method for method, _, _ in self.asked]
