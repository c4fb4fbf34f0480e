"""Where a server listens: host and port, as OLLAMA_HOST is written."""

from __future__ import annotations

import ipaddress
from typing import Any, NamedTuple

from dimora.core.written import read_text

DEFAULT_PORT = 11434


class Address(NamedTuple):
    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_address(value: Any) -> Address:
    """`[scheme://]host[:port][/path]`.

    Raises ValueError.
    """
    text = read_text(value)
    scheme, _, rest = text.rpartition("://")
    rest = rest.split("/")[0]
    fallback = {"http": 80, "https": 443}.get(scheme, DEFAULT_PORT)
    if rest.startswith("["):
        host, _, port = rest[1:].partition("]")
        port = port.removeprefix(":")
    elif rest.count(":") > 1:
        host, port = rest, ""
    else:
        host, _, port = rest.partition(":")
    if port and not (port.isdecimal() and int(port) < 65536):
        raise ValueError("must be host:port with a port below 65536")
    return Address(host or "127.0.0.1", int(port) if port else fallback)
