"""Routes that know their role, input and answers, so that checking and documenting them cannot drift apart.

Written here instead of taken from a library: those at hand read a body that is no JSON as ``{}`` and answer errors of
their own shape. `openapi` makes the document of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flask import Blueprint, Response, current_app, request
from gunicorn.http.errors import ParseException
from pydantic import BaseModel, ValidationError

from app.domain.shortening import shortened
from app.services import Services
from app.web.auth import require
from app.web.errors import Problem
from app.web.request_log import name_in_log

#: Fields of a body or a query: more than any has.
MOST_FIELDS = 100

PARAMETER = re.compile(r"\{(\w+)\}")

View = Callable[..., Any]

_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True)
class Operation:
    """One call of the contract. *role* is None for an open one; *text* says that it answers text/plain too."""

    method: str
    path: str
    role: str | None
    summary: str
    answers: Mapping[int, type[BaseModel] | None]
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    errors: Sequence[int] = ()
    text: bool = False
    description: str = ""
    media: Sequence[str] = ("application/json",)


@dataclass
class Api:
    """A blueprint and the operations on it."""

    blueprint: Blueprint
    operations: list[Operation] = field(default_factory=list)

    def route(self, method: str, path: str, **how: Any) -> Callable[[View], View]:
        """Register a view, which is called with the path's parameters and, as declared, *query*, *body* and *caller*.

        What it returns is given the shape of the model in *answers*.
        """

        def register(view: View) -> View:
            summary, _, description = (view.__doc__ or "").strip().partition("\n\n")
            operation = Operation(
                method=method, path=path, summary=summary.rstrip("."),
                description=re.sub(r"\s+", " ", description).strip(), **how,
            )  # fmt: skip
            self.operations.append(operation)
            rule = PARAMETER.sub(r"<\1>", path)
            endpoint = f"{method.lower()}_{view.__name__}"
            self.blueprint.add_url_rule(rule, endpoint, _checked(operation, view), methods=[method])
            return view

        return register


def _checked(operation: Operation, view: View) -> View:
    def checked(**parameters: str) -> Any:
        arguments: dict[str, Any] = dict(parameters)
        if operation.role == "step" and request.method == "HEAD":
            # It would collect a grant without telling anybody.
            raise Problem(405, "method_not_allowed", "expected GET: a poll is a sign of life, and its answer counts",
                          headers={"Allow": "GET, PUT, DELETE"})  # fmt: skip
        if operation.role:
            arguments["caller"] = require(operation.role)
            _require_json(operation)
        if operation.query:
            arguments["query"] = _parsed(operation.query, dict(request.args), "query")
        if operation.body:
            body = arguments["body"] = parsed_body(operation.body, read_body())
            if machines := getattr(body, "machines", None):
                name_in_log(machines=machines)
        return _answer(operation, view(**arguments))

    return checked


def _answer(operation: Operation, returned: Any) -> Any:
    """The answer as the model makes it that documents it, so that `openapi` tells the truth.

    Args:
        returned: A response, or a value whose attributes or items the model reads; with its status where that is not
            the first of the operation's.
    """
    value, status = returned if type(returned) is tuple else (returned, next(iter(operation.answers)))
    model = operation.answers[status]
    if model is None or isinstance(value, Response):
        return returned
    answer = model.model_validate(value, from_attributes=True)
    # In ASCII: `app.web.printed` looks for escapes.
    return Response(answer.model_dump_json(ensure_ascii=True) + "\n", status, content_type="application/json")


def _require_json(operation: Operation) -> None:
    """Let no body be anything but JSON that says so: a page of another site can send all that looks like a form.

    Raises:
        Problem: 415.
    """
    is_sent = bool(operation.body) or bool(request.content_length)
    if is_sent and request.mimetype != "application/json":
        raise Problem(
            415, "not_declared_json",
            f"expected the header 'Content-Type: application/json', got {request.mimetype[:100]!r}",
        )  # fmt: skip


def read_body() -> bytes:
    """The body of this request, of known length or in chunks.

    Raises:
        Problem: 413, it is longer than MAX_BODY_KIB.
    """
    most = current_services().settings.max_body_kib * 1024
    length = request.content_length
    stream = request.environ["wsgi.input"]
    try:
        if length is None:
            body: bytes = stream.read(most + 1) if request.environ.get("wsgi.input_terminated") else b""
        else:
            body = stream.read(length) if length <= most else b""
    except (ParseException, OSError) as error:
        # Not a delivery that could be kept: what HTTP says of its length is wrong, or the client hung up.
        raise Problem(400, "broken_body", f"the body broke off: {type(error).__name__}") from error
    if max(length or 0, len(body)) > most:
        raise Problem(413, "too_large", f"expected a body of at most {most // 1024} KiB (OCTOWAIT_MAX_BODY_KIB)")
    return body


def parsed_body(model: type[_Model], body: bytes) -> _Model:
    """What a *body* of JSON says.

    Raises:
        Problem: 400, it is no JSON; 422, it is not as the model has it.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Problem(400, "not_json", f"body: expected JSON ({error})"[:300]) from error
    return _parsed(model, document, "body")


def _parsed(model: type[_Model], document: object, where: str) -> _Model:
    if isinstance(document, dict) and len(document) > MOST_FIELDS:
        # An error is made for each that nobody knows, which takes longer than to read them.
        raise Problem(422, "invalid", f"{where}: expected at most {MOST_FIELDS} fields, got {len(document)}", errors=[])
    try:
        return model.model_validate(document)
    except ValidationError as error:
        errors = [
            {"field": shortened(".".join(map(str, e["loc"]))), "expected": shortened(e["msg"], 300)}
            for e in error.errors(include_url=False)[:20]
        ]
        first = errors[0]
        raise Problem(
            422,
            "invalid",
            f"{where}{': ' if first['field'] else ''}{first['field']}: {first['expected']}",
            errors=errors,
        ) from error


def current_services() -> Services:
    """The services of the application that handles this request."""
    services: Services = current_app.extensions["octowait"]
    return services
