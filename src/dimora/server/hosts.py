"""Which Host a request may carry: the guard against DNS rebinding, on every bind.

A page on the web can make a browser send requests to any address under a name of the page's own;
the browser then sends that name as Host. So only names that are ours are served.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable

import psutil

from dimora.core.settings import Settings

_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,252}[a-z0-9_])?")


def split_host(value: str) -> str | None:
    """The host of a Host header: lower case, no port, no brackets; None when it is malformed."""
    value = value.strip().lower()
    if value.startswith("["):
        host, bracket, rest = value[1:].partition("]")
        if not bracket or ":" not in host or (rest and not rest.startswith(":")):
            return None
        port = rest[1:]
    else:
        host, _, port = value.partition(":")
    if port and not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 65536):
        return None
    host = host.removesuffix(".")
    if read_address(host) is None and not _NAME.fullmatch(host):
        return None
    return host


Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def read_address(text: str) -> Address | None:
    """An IP address, an IPv4 one also where it is written as IPv6; None for a name."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def local_addresses() -> frozenset[Address]:
    """The addresses of this machine's interfaces, as they are now; no look-up of names."""
    found = (a.address for addresses in psutil.net_if_addrs().values() for a in addresses)
    return frozenset(a for text in found if (a := read_address(text)) is not None)


class AllowedHosts:
    """The hosts of one server.

    `bound` is the host of the setting `host`; `extra` are the owner's names, `*.` in front of one
    stands for all names below it. `addresses` is asked only about addresses not known otherwise.
    """

    def __init__(
        self,
        bound: str,
        extra: tuple[str, ...] = (),
        *,
        machine_name: str,
        addresses: Callable[[], frozenset[Address]],
    ) -> None:
        owned = [name.lower().removesuffix(".") for name in extra]
        self._endings = (".localhost", *(n[1:] for n in owned if n.startswith("*.")))
        names = {"localhost", bound.lower(), machine_name.lower()}
        names.update(split_host(n) or n for n in owned if not n.startswith("*."))
        self._names = frozenset(n for n in names if n)
        self._owned_addresses = frozenset(
            a for n in self._names if (a := read_address(n)) is not None
        )
        self._addresses = addresses

    @classmethod
    def of(cls, settings: Settings) -> AllowedHosts:
        return cls(
            settings.host.host,
            settings.allowed_hosts,
            machine_name=socket.gethostname(),
            addresses=local_addresses,
        )

    def allow(self, value: str) -> bool:
        """Whether a Host header with this value is one of ours; any port will do."""
        host = split_host(value)
        if host is None:
            return False
        address = read_address(host)
        if address is not None:
            return (
                address.is_loopback
                or address in self._owned_addresses
                or address in self._addresses()
            )
        return host in self._names or host.endswith(self._endings)
