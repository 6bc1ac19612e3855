"""One language, and all that is around a step of it: servers, variables, the ways it may end."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import ssl
import subprocess
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from run_step import STEPS, Step, Steps
from stand_in import DeadAddress, Reply, StandIn

from tests.steps.powershell_host import PowerShellHost

TASK = "ServerTasks-1"
NOBODY = "http://127.0.0.1:1"
#: Seconds beyond a limit that a busy machine may take; what a start takes does not count where it can be told apart.
SLACK = 8


class World:
    """*host*: what may run the steps that need no process of their own."""

    def __init__(
        self, language: str, directory: Path, scripts: Path = STEPS, host: PowerShellHost | None = None
    ) -> None:
        self.language = language
        self.directory = directory
        self._steps = Steps(language, directory, url=NOBODY, token="step-token-0123", scripts=scripts, host=host)
        self._servers: list[StandIn | DeadAddress] = []

    def server(self, *replies: Reply, deletes: list[Reply] | None = None, **options: Any) -> StandIn:
        """A stand-in for octowait that answers with *replies*, and the last of them for ever."""
        made = StandIn(list(replies), **options, **({"deletes": deletes} if deletes else {}))
        self._servers.append(made)
        return made

    def dead_address(self, address: str, port: int) -> DeadAddress:
        made = DeadAddress(address, port)
        self._servers.append(made)
        return made

    def start(
        self, verb: str, at: StandIn | str = NOBODY, variables: Mapping[str, str] | None = None, **around: Any
    ) -> Step:
        return self._steps.start(verb, TASK, self._given(at, variables), **around)

    @staticmethod
    def _given(at: StandIn | str, variables: Mapping[str, str] | None) -> dict[str, str]:
        return {"Octowait.Url": at if isinstance(at, str) else at.url, **(variables or {})}

    def run(
        self,
        verb: str,
        at: StandIn | str = NOBODY,
        variables: Mapping[str, str] | None = None,
        *,
        fails: bool = False,
        within: float = 45,
        **around: Any,
    ) -> Step:
        """A step that has ended, and as it should."""
        step = self._steps.run(verb, TASK, self._given(at, variables), **around)
        status = step.ends(within)
        assert status == (self._steps.failed if fails else 0), step.output
        assert step.printed.unreadable == [], step.output
        if fails:
            assert step.printed.result == step.printed.text[-1], step.output
        return step

    def fails(
        self, verb: str, at: StandIn | str = NOBODY, variables: Mapping[str, str] | None = None, **more: Any
    ) -> str:
        """What a failed step said last, and to Octopus."""
        return self.run(verb, at, variables, fails=True, **more).printed.text[-1]

    def module(self, **of: str) -> str:
        """The lines of a script module in this language."""
        return of.get(self.language, "")

    def close(self) -> None:
        for step in self._steps.started:
            step.kill()
        for server in self._servers:
            server.stop()

    def with_hosts(self, *rows: str, name_server: str = "") -> list[str]:
        """What to put before a command so that it sees these rows of /etc/hosts, and that name server only."""
        hosts, resolv = self.directory / "hosts", self.directory / "resolv.conf"
        hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{row}\n" for row in rows))
        resolv.write_text(f"nameserver {name_server}\noptions timeout:5 attempts:2\n" if name_server else "")
        mounts = [f"mount --bind {shlex.quote(str(hosts))} /etc/hosts"]
        if name_server:
            mounts.append(f"mount --bind {shlex.quote(str(resolv))} /etc/resolv.conf")
        around = [
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            f'{" && ".join(mounts)} && exec "$@"',
            "sh",
        ]
        if not _can(tuple(around)):
            pytest.skip("names of its own need a mount namespace, which is not to be had here")
        return around

    def tls(self, name: str = "localhost", *, days: int = 2) -> tuple[ssl.SSLContext, Path]:
        """A server's certificate for *name*, and the file of the authority that signed it."""
        folder = self.directory / f"tls-{name}-{days}"
        folder.mkdir()
        new = "req -newkey rsa:2048 -nodes"
        authority = "-days 30 -subj /CN=Some-Authority -addext keyUsage=critical,keyCertSign,cRLSign"
        _openssl(folder, f"{new} -x509 -keyout ca.key -out ca.pem {authority}")
        _openssl(folder, f"{new} -keyout key.pem -out request.pem -subj /CN={name}")
        (folder / "extensions").write_text(
            f"subjectAltName=DNS:{name}\nextendedKeyUsage=serverAuth\nauthorityKeyIdentifier=keyid\n"
        )
        if days > 0:
            signed = f"-CA ca.pem -CAkey ca.key -CAcreateserial -days {days} -extfile extensions"
            _openssl(folder, f"x509 -req -in request.pem -out cert.pem {signed}")
        else:
            _expired(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        return context, folder / "ca.pem"


def _openssl(folder: Path, arguments: str) -> None:
    if not shutil.which("openssl"):
        pytest.skip("no openssl here to make certificates with")
    done = subprocess.run(["openssl", *arguments.split()], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _expired(folder: Path) -> None:
    """Sign with `openssl ca`, which alone takes an end in the past."""
    (folder / "index").write_text("")
    (folder / "ca.conf").write_text(
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n"
        "[p]\ncommonName=supplied\n"
    )
    signed = "-cert ca.pem -keyfile ca.key -extfile extensions -startdate 20200101000000Z -enddate 20200102000000Z"
    _openssl(folder, f"ca -batch -notext -config ca.conf -create_serial -in request.pem -out cert.pem {signed}")


@cache
def _can(around: tuple[str, ...]) -> bool:
    try:
        return subprocess.run([*around, "true"], capture_output=True).returncode == 0
    except OSError:
        return False


def said(step: Step, wording: str) -> list[str]:
    """The lines that are *wording*, an expression, from end to end."""
    return [line for line in step.printed.text if re.fullmatch(wording, line)]


def seconds_since(at: float) -> float:
    return time.monotonic() - at


def path_without(directory: Path, *commands: str) -> str:
    """A PATH with all that the machine has but *commands*."""
    folder = directory / "bin"
    folder.mkdir()
    for place in reversed(os.environ["PATH"].split(os.pathsep)):
        for file in Path(place).glob("*") if Path(place).is_dir() else ():
            link = folder / file.name
            link.unlink(missing_ok=True)
            link.symlink_to(file)
    for command in commands:
        (folder / command).unlink(missing_ok=True)
    return str(folder)
