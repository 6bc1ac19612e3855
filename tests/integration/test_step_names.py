"""Names of machines that only runs with the steps use: no step knows them, so Octopus is asked."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from app.octopus.client import OctopusClient
from app.settings.values import Token
from app.web import create_app
from tests.conftest import services_on
from workers.context import Context
from workers.resolve import resolve_all

TOKEN = Token("admin", "test", "a-token-for-tests-of-names")
INFO = {"space_id": "Spaces-1", "project": {"id": "Projects-7", "name": "Web"}}


@pytest.mark.parametrize("has_key", [True, False])
def test_a_machine_gets_its_name_although_all_projects_use_the_steps(board, redis_url, httpserver, has_key):
    httpserver.no_handler_status_code = 404
    machines = {"Items": [{"Id": "Machines-7", "Name": "web-07"}], "Links": {}}
    httpserver.expect_request("/api/Spaces-1/machines").respond_with_json(machines)
    octopus = {"octopus_url": httpserver.url_for("/"), "octopus_api_key": SecretStr("API-KEY")} if has_key else {}
    services = services_on(board, redis_url, tokens=(TOKEN,), webhook_secret=SecretStr("s" * 24), **octopus)
    call = create_app(services).test_client()
    call.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {TOKEN.secret}"

    joined = call.put("/api/waits/ServerTasks-1", json={"machines": ["Machines-7"], **INFO})
    assert joined.json["machines"][0]["name"] == "Machines-7"
    assert services.unresolved.any() == has_key, "without a key there is nobody to ask"
    if has_key:
        client = OctopusClient(httpserver.url_for("/"), "API-KEY", sleep=lambda seconds: None, attempts=2)
        resolve_all(Context(services, client))
        client.close()

        assert call.get("/api/machines/WEB-07").json["id"] == "Machines-7"
        assert not services.unresolved.any()
    again = call.put("/api/waits/ServerTasks-1", json={"machines": ["Machines-7"], **INFO})
    assert again.status_code == 200
    assert services.unresolved.any() is False
    services.close()
