"""Puts the API of a simulated server on a port."""

from __future__ import annotations

import threading
from itertools import chain

from werkzeug.serving import make_server

from tests.simulator import (
    api_deployments,
    api_documents,
    api_events,
    api_freezes,
    api_interruptions,
    api_previews,
    api_runbooks,
    api_server,
    api_subscriptions,
    api_tasks,
    api_templates,
    sim_api,
)
from tests.simulator.octopus import Octopus
from tests.simulator.web import Api, Connection

_MODULES = (api_server, api_tasks, api_deployments, api_documents, api_runbooks, api_previews, api_events,
            api_interruptions, api_subscriptions, api_freezes, api_templates)  # fmt: skip


def serve(octopus: Octopus, port: int) -> None:
    """Answer on 127.0.0.1 from threads of this process; sets the server's ``url``."""
    api = Api(octopus, list(chain.from_iterable(module.routes.all for module in _MODULES)), sim_api.routes.all)
    server = make_server("127.0.0.1", port, api, threaded=True, request_handler=Connection)
    octopus.url = f"http://127.0.0.1:{server.port}"
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
