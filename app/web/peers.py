"""The peer of a connection: the other end itself, or whom a proxy that is trusted speaks for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

from app.settings.values import Network
from app.store.fairness import serve

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: What only a proxy may say.
_FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT",
              "HTTP_X_FORWARDED_PREFIX", "HTTP_FORWARDED")  # fmt: skip


#: Where the address of a trusted proxy is that a request came through.
PROXY = "octowait.proxy"


class Peers:
    """WSGI middleware: takes the client's address and scheme from a proxy among *trusted*, and from nobody else.

    Until it is known who has sent it, by a token or the secret of the webhook, a request is one of the others.
    """

    def __init__(self, inner: WSGIApplication, trusted: Sequence[Network]) -> None:
        self._inner = inner
        self._trusted = trusted

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        serve("others")
        forwarded = {name: environ.pop(name, "") for name in _FORWARDED}
        if self._trusted and is_among(environ.get("REMOTE_ADDR", ""), self._trusted):
            environ[PROXY] = environ["REMOTE_ADDR"]
            environ["REMOTE_ADDR"] = self._client(environ["REMOTE_ADDR"], forwarded["HTTP_X_FORWARDED_FOR"])
            if forwarded["HTTP_X_FORWARDED_PROTO"].rpartition(",")[2].strip().lower() == "https":
                environ["wsgi.url_scheme"] = "https"
        return self._inner(environ, start_response)

    def _client(self, peer: str, forwarded_for: str) -> str:
        """The last address of the chain that is no trusted proxy: what stands before it is anybody's word."""
        client = peer
        for hop in reversed(forwarded_for.split(",")):
            address = _address_in(hop.strip())
            if address is None:
                break
            client = str(address)
            if not is_among(client, self._trusted):
                break
        return client


def is_among(address: str, networks: Iterable[Network]) -> bool:
    client = _address_in(address)
    return client is not None and any(client in network for network in networks)


def group_of(address: str) -> str:
    """What counts as one client: an IPv4 address, or the network of an IPv6 address, which has 2^64 of them."""
    client = _address_in(address)
    return str(IPv6Network((client, 64), strict=False)) if isinstance(client, IPv6Address) else str(client or address)


def _address_in(text: str) -> IPv4Address | IPv6Address | None:
    """The address in ``192.0.2.1``, ``192.0.2.1:4711``, ``2001:db8::1`` or ``[2001:db8::1]:4711``."""
    host = text.partition("]")[0].lstrip("[") if text.startswith("[") else text
    host = host.partition(":")[0] if host.count(":") == 1 else host
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
