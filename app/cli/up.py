"""``octowait up``: everything of the Procfile on one machine, on an embedded Redis unless another one is set."""

from __future__ import annotations

import os
import shlex
import socket
import sys
import threading
import time
import urllib.request
from pathlib import Path

from honcho.environ import parse_procfile
from honcho.manager import Manager

from app.settings import ADDRESS_FILE, PREFIX, BadSettings, Settings
from app.settings.generated import read_secrets, secrets_file
from app.store.embedded import EmbeddedServer
from app.store.errors import StoreError

_PROCFILE = Path(__file__).parent.parent.parent / "Procfile"


def up(settings: Settings) -> int:
    """Run every process of the Procfile until one ends or Ctrl-C; its exit status."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    _check_address(settings)
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if settings.redis_url:
        return _run(settings, environment)
    server = EmbeddedServer(settings.data_dir / "redis")
    environment[f"{PREFIX}REDIS_URL"] = server.acquire()
    stopped = threading.Event()
    threading.Thread(target=_keep_alive, args=(server, stopped), daemon=True).start()
    try:
        return _run(settings, environment)
    finally:
        stopped.set()
        server.release()


def _run(settings: Settings, environment: dict[str, str]) -> int:
    print(_welcome(settings), flush=True)
    (settings.data_dir / ADDRESS_FILE).write_text(f"http://{settings.bind}\n")
    threading.Thread(target=_say_when_ready, args=(settings,), daemon=True).start()
    manager = Manager()
    for name, command in parse_procfile(_PROCFILE.read_text()).processes.items():
        # The interpreter that runs this one, so that no PATH decides which octowait it is.
        words = shlex.split(command)
        if words[0] == "octowait":
            words = [sys.executable, "-m", "app", *words[1:]]
        environment["PYTHONPATH"] = str(_PROCFILE.parent)
        manager.add_process(name, shlex.join(words), env=environment)
    manager.loop()
    # Ctrl-C and SIGTERM are how it is meant to end.
    return 0 if manager.returncode in (None, 130, 143) else int(manager.returncode)


def _check_address(settings: Settings) -> None:
    """Raises BadSettings where somebody listens already, before anything is started."""
    host, _, port = settings.bind.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError as error:
            raise BadSettings(
                f"{PREFIX}BIND={settings.bind}: {error.strerror}. Stop what listens there, or take another address, "
                f"e.g. {PREFIX}BIND={host}:{int(port) + 1} make run"
            ) from error


def _say_when_ready(settings: Settings) -> None:
    while True:
        try:
            with urllib.request.urlopen(f"http://{settings.bind}/readyz", timeout=5):
                print(f"octowait is ready: {settings.base_url}/", flush=True)
                return
        except OSError:
            time.sleep(0.2)


def _keep_alive(server: EmbeddedServer, stopped: threading.Event) -> None:
    while not stopped.wait(1.0):
        try:
            if server.revive():
                print("octowait: the embedded Redis had died and was started again", file=sys.stderr, flush=True)
        except StoreError as error:
            print(f"octowait: {error}", file=sys.stderr, flush=True)


def _welcome(settings: Settings) -> str:
    assert settings.webhook_secret
    secret = settings.webhook_secret.get_secret_value()
    kept_here = (read_secrets(settings.data_dir) or {}).values()
    # Secrets that somebody chose are not for a terminal that somebody else may read.
    generated = secret in kept_here and all(token.secret in "".join(kept_here) for token in settings.tokens)
    secret = secret if generated else "<webhook secret>"
    shown = {token.role: token.secret if generated else f"<{token.role} token>" for token in settings.tokens}
    url = settings.base_url
    step = shown.get("step", "<step token>")
    join = f"""curl -i -X PUT {url}/api/waits/ServerTasks-1 -H 'Authorization: Bearer {step}' \\
         -H 'Content-Type: application/json' -d '{{"machines": ["Machines-7"]}}'"""
    webhook = f"""curl -i {url}/webhooks/octopus -H '{settings.webhook_header}: {secret}' \\
         -d '{{"Payload": {{"Event": {{"Id": "Events-'$(date +%s)'", "Category": "DeploymentSucceeded",
              "Occurred": "'$(date -u +%Y-%m-%dT%H:%M:%SZ)'", "RelatedDocumentIds": ["ServerTasks-1"]}}}}}}'"""
    kept = f"in {secrets_file(settings.data_dir)}" if generated else "as you have set them"
    link = f"{url}/sign-in#token={shown['admin']}" if generated and "admin" in shown else f"{url}/"
    redis = "as you have set it" if settings.redis_url else f"embedded, data in {settings.data_dir / 'redis'}"
    return f"""
octowait is starting.

  Dashboard   {link}
  API         {url}/docs (sign in first)
  Secrets     {kept}
  Redis       {redis}

Join the line of a machine, as a wait step would (change the task for a second one, which has
to wait; it leaves the line when it has not asked again for {settings.waiter_ttl_seconds} s):

    {join}

Tell of the end of that deployment, as an Octopus webhook would:

    {webhook}

Next: add the wait step to a project and point a subscription here; README.md says how. Ctrl-C stops everything.
"""
