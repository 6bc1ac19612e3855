"""What the webhook is measured against, on the same server with the same options: ``python -m tests.bench.peers KIND``.

KIND is ``noop``, a Flask view that does nothing, or ``bare``: parse, validate, one script. OCTOWAIT_BIND and
OCTOWAIT_REDIS_URL as for octowait.
"""

from __future__ import annotations

import os
import sys
from typing import Any

_WRITE = "return redis.call('XADD', KEYS[1], '*', 'event', ARGV[1], 'category', ARGV[2], 'occurred', ARGV[3])"


def noop() -> Any:
    from flask import Flask

    app = Flask(__name__)

    @app.post("/webhooks/octopus")
    def deliver() -> Any:
        return {}, 202

    @app.put("/api/waits/<task_id>")
    @app.delete("/api/waits/<task_id>")
    def answer(task_id: str) -> Any:
        return "granted 7\n"

    return app


def bare() -> Any:
    """The least that keeps an event."""
    from flask import Flask, request
    from pydantic import BaseModel

    from app.store.connection import connect

    class Event(BaseModel):
        Id: str
        Category: str
        Occurred: str
        SpaceId: str
        RelatedDocumentIds: list[str]

    class Payload(BaseModel):
        Event: Event

    class Delivery(BaseModel):
        Payload: Payload

    app = Flask(__name__)
    client = connect(os.environ["OCTOWAIT_REDIS_URL"], max_connections=5)
    write = client.register_script(_WRITE)

    @app.post("/webhooks/octopus")
    def deliver() -> Any:
        event = Delivery.model_validate_json(request.get_data()).Payload.Event
        write(["bare:events"], [event.Id, event.Category, event.Occurred])
        return {"event": event.Id}, 202

    return app


def main(kind: str) -> None:
    from gunicorn.app.base import BaseApplication

    class Server(BaseApplication):  # type: ignore[misc]
        def load_config(self) -> None:
            # As app/web/server.py has them.
            options = {
                "bind": os.environ["OCTOWAIT_BIND"],
                "workers": int(os.environ["OCTOWAIT_WEB_PROCESSES"]),
                "worker_class": "gevent",
                "keepalive": 15,
                "backlog": 4096,
                "loglevel": "warning",
                "control_socket_disable": True,
            }
            for name, value in options.items():
                self.cfg.set(name, value)

        def load(self) -> Any:
            return {"noop": noop, "bare": bare}[kind]()

    Server().run()


if __name__ == "__main__":
    from gevent import monkey

    monkey.patch_all()
    main(sys.argv[1])
