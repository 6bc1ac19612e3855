"""The OpenAPI document of the routes; the JSON Schemas are pydantic's."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app import __version__
from app.web.api.routing import PARAMETER, Operation
from app.web.api.schemas.fields import ProblemDetails


def document(operations: Sequence[Operation], *, server: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of *operations*."""
    models = {m for o in operations for m in (o.body, *o.answers.values()) if m} | {ProblemDetails}
    _, schemas = models_json_schema(
        [(model, "validation") for model in sorted(models, key=lambda m: m.__name__)],
        ref_template="#/components/schemas/{model}",
    )
    paths: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _describe(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "octowait",
            "version": __version__,
            "description": "One deployment at a time per machine, in order, for its whole length. "
            "Times are integer milliseconds since the epoch.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": server}],
        "paths": paths,
        "components": {
            "schemas": _named(schemas.get("$defs", {})),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A token of OCTOWAIT_TOKENS."},
                "webhook": {"type": "apiKey", "in": "header", "name": "X-Octowait-Secret"},
            },
        },
    }


def _named(schemas: dict[str, Any]) -> dict[str, Any]:
    """*schemas* by the names of the contract: here the model of an answer has another name than the value it reads."""
    named: dict[str, Any] = json.loads(re.sub(r'(\w)Model"', r'\1"', json.dumps(schemas)))
    return named


def _describe(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{operation.method.lower()}{operation.path}").strip("_"),
        "summary": operation.summary,
        "description": " ".join(filter(None, [operation.description, f"Role: {operation.role or 'none'}."])),
        "parameters": _parameters(operation),
        "responses": {str(status): _answer(operation, model) for status, model in operation.answers.items()},
        "security": [{"token": []}] if operation.role else [],
    }
    if operation.path.startswith("/webhooks/"):
        described["security"] = [{"webhook": []}]
    if operation.body:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _reference(operation.body)}},
        }
    errors = {*operation.errors, *((401, 403) if operation.role else ()), *((400, 413, 415) if operation.body else ())}
    if operation.body or operation.query:
        errors.add(422)
    problem = {"application/problem+json": {"schema": _reference(ProblemDetails)}}
    for status in sorted(errors | {503}):
        described["responses"][str(status)] = {"description": "Problem", "content": problem}
    if described["parameters"]:
        # Found by the web server before octowait sees the request.
        text = {"text/html": {"schema": {"type": "string"}}}
        described["responses"]["414"] = {"description": "The address is longer than 4,094 bytes", "content": text}
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in PARAMETER.findall(operation.path)
    ]
    if operation.query:
        schema = operation.query.model_json_schema()
        for name, type_schema in schema["properties"].items():
            parameters.append({"name": name, "in": "query", "required": False, "schema": type_schema})
    return parameters


def _answer(operation: Operation, model: type[BaseModel] | None) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for media in operation.media:
        content[media] = {"schema": _reference(model) if model and media == "application/json" else {"type": "string"}}
    if operation.text:
        content["text/plain"] = {"schema": {"type": "string", "examples": ["waiting 2\nWaiting for web-01, place 2."]}}
    return {"description": operation.summary, **({"content": content} if content else {})}


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__.removesuffix('Model')}"}
