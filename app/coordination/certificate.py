"""The certificate of PUBLIC_URL: its end is told of in advance, for steps of earlier releases cannot be helped."""

from __future__ import annotations

import socket
import ssl
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from app.store.connection import Client
from app.store.keys import Keys
from app.store.scripts import redis_errors

#: How long before the end of the certificate people are told: a release that is deployed then still gets its answers.
TOLD_BEFORE = timedelta(days=21)

#: Seconds for the connection, and again for the handshake.
TIMEOUT = 5.0


class Certificate:
    """The end of the certificate that the server behind *address* shows, as the scheduler saw it last.

    Args:
        address: PUBLIC_URL, or None.
    """

    def __init__(self, client: Client, keys: Keys, address: str | None) -> None:
        self._client = client
        self._counters = keys.counters
        self._address = address

    def look(self) -> None:
        """Ask the server for its certificate, and note its end. One that cannot be asked leaves what was noted.

        Raises:
            StoreError: Redis does not answer.
        """
        if not self._address or urlsplit(self._address).scheme != "https":
            with redis_errors():
                self._client.hdel(self._counters, "certificate_ends")
            return
        ends_ms = end_of_certificate(self._address)
        if ends_ms is not None:
            with redis_errors():
                self._client.hset(self._counters, "certificate_ends", ends_ms)

    def ends_ms(self) -> int | None:
        """When it ends; None where none was seen.

        Raises:
            StoreError: Redis does not answer.
        """
        with redis_errors():
            noted: Any = self._client.hget(self._counters, "certificate_ends")
        return int(noted) if noted else None


def end_of_certificate(address: str) -> int | None:
    """When the certificate ends that the server behind an ``https`` *address* shows, in ms; None if it shows none.

    It is read without trust: steps may trust other authorities than this machine, and nothing is sent.
    """
    from cryptography import x509

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        parts = urlsplit(address)
        with (
            socket.create_connection((parts.hostname or "", parts.port or 443), timeout=TIMEOUT) as connection,
            context.wrap_socket(connection, server_hostname=parts.hostname) as secured,
        ):
            certificate = secured.getpeercert(binary_form=True)
        if not certificate:
            return None
        return round(x509.load_der_x509_certificate(certificate).not_valid_after_utc.timestamp() * 1000)
    except (OSError, ValueError):
        return None
