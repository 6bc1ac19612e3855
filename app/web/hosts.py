"""By which names octowait is called: a browser can be made to call it by any, and then says that one in ``Host``."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from app.settings import Settings


def own_hosts(settings: Settings, host: str) -> set[str]:
    """Names and ports under which pages of octowait are, of which *host*, what a request says, is one if it may be.

    A name that leads here may be anybody's, so it counts only where octowait does not know its own. An IP address is
    nobody's name.
    """
    own = {settings.bind, urlsplit(settings.base_url).netloc}
    knows_own = bool(settings.public_url) or settings.is_loopback
    return own | {host} if not knows_own or _is_address(host) else own


def _is_address(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return name == "localhost" or bool(ip_address(name))
    except ValueError:
        return False
