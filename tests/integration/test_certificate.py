"""The end of the certificate of PUBLIC_URL: read from a real server, told where people look."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from app.coordination.board import Board
from app.coordination.certificate import Certificate
from tests.conftest import Service, eventually

Serve = Callable[[timedelta], tuple[str, int]]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """A server of https whose certificate, of no authority, ends in so long: its address, and when that is in ms."""
    servers: list[HTTPServer] = []

    def start(left: timedelta) -> tuple[str, int]:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        ends = (datetime.now(UTC) + left).replace(microsecond=0)
        made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        made = made.serial_number(x509.random_serial_number()).not_valid_before(ends - timedelta(days=90))
        shown = made.not_valid_after(ends).sign(key, hashes.SHA256())
        file = tmp_path / f"{len(servers)}.pem"
        form = serialization.PrivateFormat.PKCS8
        file.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
            + shown.public_bytes(serialization.Encoding.PEM)
        )
        server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"https://127.0.0.1:{server.server_address[1]}/octowait", round(ends.timestamp() * 1000)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("left", [timedelta(days=90), timedelta(days=5), timedelta(days=-5)])
def test_end_is_read_from_a_server_that_nobody_here_trusts(board: Board, serve: Serve, left: timedelta) -> None:
    address, ends_ms = serve(left)
    certificate = Certificate(board.client, board.keys, address)

    certificate.look()

    assert certificate.ends_ms() == ends_ms


def test_what_was_seen_stays_while_the_server_is_away_and_goes_with_the_address(board: Board, serve: Serve) -> None:
    address, ends_ms = serve(timedelta(days=5))
    Certificate(board.client, board.keys, address).look()

    Certificate(board.client, board.keys, "https://127.0.0.1:1").look()
    assert Certificate(board.client, board.keys, address).ends_ms() == ends_ms

    Certificate(board.client, board.keys, "http://127.0.0.1:1").look()
    assert Certificate(board.client, board.keys, address).ends_ms() is None


def test_scheduler_looks_and_health_says_when_it_ends(make_service: Callable[..., Service], serve: Serve) -> None:
    address, _ = serve(timedelta(days=5, hours=1))
    service = make_service(OCTOWAIT_PUBLIC_URL=address)
    scheduler = service.spawn("scheduler")
    try:
        eventually(
            lambda: "certificate_ends" in [fault["code"] for fault in service.call("GET", "/api/machines")[1]["faults"]]
        )
        assert "The certificate of OCTOWAIT_PUBLIC_URL ends in 5 d" in service.call("GET", "/health")[1]
    finally:
        scheduler.terminate()
        scheduler.wait(20)
