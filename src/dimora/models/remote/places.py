"""Where a URL leads, read in one way only: scheme, host, port, and if a proxy is between."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Sequence
from typing import NamedTuple

import httpx2

from dimora.core.errors import SourceFailed
from dimora.models.remote.access import SourceAccess
from dimora.models.remote.addresses import is_address, is_disguised, kind_of_address

_PORTS = {"https": 443, "http": 80}
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_.])?")


class Place(NamedTuple):
    """Where a URL leads: scheme, host (lower case, no brackets) and port."""

    scheme: str
    host: str
    port: int

    @property
    def key(self) -> str:
        """As settings name it: `registry.example.org`, `localhost:5000`, `[::1]:5000`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """As far as the name tells."""
        named = self.host == "localhost" or self.host.endswith(".localhost")
        return named or kind_of_address(self.host) == "loopback"


def place_of(url: str | httpx2.URL) -> Place:
    """Where a URL leads. Raises SourceFailed for what is no plain http or https URL."""
    try:
        parsed = httpx2.URL(url)
        host = parsed.raw_host.decode("ascii").lower().removesuffix(".")
    except (httpx2.InvalidURL, UnicodeDecodeError, TypeError):
        raise SourceFailed("the address of a registry is no URL") from None
    if parsed.scheme not in _PORTS or parsed.userinfo:
        raise SourceFailed("the address of a registry must be https://host[:port]/path")
    port = parsed.port or _PORTS[parsed.scheme]
    if not (is_address(host) or _HOST.fullmatch(host)) or is_disguised(host) or port > 65535:
        raise SourceFailed(f"{host[:100]!r} is not the name of a host")
    return Place(parsed.scheme, host, port)


def proxy_for(place: Place, access: SourceAccess) -> str:
    """The proxy on the way to a place, empty where there is none."""
    return "" if place.is_loopback or goes_direct(place, access.no_proxy) else access.proxy


def goes_direct(place: Place, no_proxy: Sequence[str]) -> bool:
    """Whether a place is reached without the proxy.

    Entries are `*`, a host or domain (`example.org` and `.example.org` mean both it and all below
    it), either with a port, an address, or a network such as `10.0.0.0/8`.
    """
    return any(_is_meant(place, entry.strip().lower()) for entry in no_proxy)


def _is_meant(place: Place, entry: str) -> bool:
    if entry == "*":
        return True
    with contextlib.suppress(ValueError):
        network = ipaddress.ip_network(entry.strip("[]"), strict=False)
        return is_address(place.host) and ipaddress.ip_address(place.host) in network
    host, colon, port = entry.rpartition(":")
    if colon and port.isdigit():
        if int(port) != place.port:
            return False
        entry = host.strip("[]")
    domain = entry.removeprefix("*").removeprefix(".")
    return bool(domain) and (place.host == domain or place.host.endswith(f".{domain}"))
