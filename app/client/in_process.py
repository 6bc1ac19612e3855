"""octowait's own API in this process, on Redis: the very code that serves HTTP, called without HTTP."""

from __future__ import annotations

import getpass
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from app.client.api import address, refusal
from app.services import Services, make_services
from app.settings import Settings
from app.settings.values import Token


@dataclass(frozen=True)
class DirectGate:
    """In this process, on Redis: the application that serves HTTP, called without HTTP."""

    settings: Settings
    services: Services = field(init=False)
    _client: Any = field(init=False)
    _token: str = field(init=False)

    def __post_init__(self) -> None:
        from app.web import create_app

        token = Token("admin", getpass.getuser(), secrets.token_urlsafe(24))
        update: dict[str, Any] = {"tokens": (token,)}
        if not self.settings.webhook_secret:
            update["webhook_secret"] = SecretStr(secrets.token_urlsafe(24))
        services = make_services(self.settings.model_copy(update=update))
        object.__setattr__(self, "services", services)
        object.__setattr__(self, "_client", create_app(services).test_client())
        object.__setattr__(self, "_token", token.secret)

    def call(
        self, method: str, path: str, *, body: object = None, query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:  # fmt: skip
        sent = {"Authorization": f"Bearer {self._token}"}
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        if data is not None:
            sent["Content-Type"] = "application/json"
        sent |= headers or {}
        response = self._client.open(address(path, query), method=method, data=data, headers=sent)
        if response.status_code >= 400:
            raise refusal(response.status_code, response.data)
        return response.json

    def lines(self, path: str, *, query: Mapping[str, object]) -> Iterator[str]:
        response = self._client.get(
            address(path, query), headers={"Authorization": f"Bearer {self._token}"}, buffered=False
        )
        if response.status_code >= 400:
            raise refusal(response.status_code, response.data)
        for chunk in response.iter_encoded():
            yield chunk.decode()
