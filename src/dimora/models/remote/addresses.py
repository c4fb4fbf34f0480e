"""Tells which network addresses are whose: public, of this network, of this machine, of nobody.

From the IANA registries of special-purpose addresses, and two addresses clouds use for
themselves. What is not known to be reachable is refused.
"""

from __future__ import annotations

import ipaddress
from typing import Literal

Kind = Literal["public", "private", "loopback", "refused"]

_V4_PRIVATE = ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16")
_V4_REFUSED = (
    "0.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/3",
)
_V6_PRIVATE = ("fc00::/7",)
# Parts of 2000::/3, which is all that is public, that lead into other networks or to nobody.
_V6_REFUSED = ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
# Where clouds tell a machine its secrets, beside 169.254.169.254.
_V6_CLOUD = ("fd00:ec2::/32", "fd20:ce::/32")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_GLOBAL = ipaddress.IPv6Network("2000::/3")


def kind_of_address(text: str) -> Kind:
    """Whose address this is; `refused` as well for what is no address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return "refused"
    if isinstance(address, ipaddress.IPv4Address):
        return _kind_of_v4(address)
    return _kind_of_v6(address)


def embedded_address(text: str) -> str:
    """The IPv4 address a network without IPv4 has translated (NAT64), else the text itself."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text
    if isinstance(address, ipaddress.IPv6Address) and address in _NAT64:
        return str(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return text


def is_address(host: str) -> bool:
    """Whether a host is an address in its usual form, and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return "%" not in host


def is_disguised(host: str) -> bool:
    """Whether a host that is no address in its usual form may be read as one: `127.1`, `0x7f.1`.

    The last part of a true name is no number.
    """
    last = host.rstrip(".").rpartition(".")[2].lower()
    return not is_address(host) and (last.isdigit() or last.startswith("0x"))


def is_inner_name(host: str) -> bool:
    """Whether a name can mean nothing but a machine of this network."""
    host = host.rstrip(".").lower()
    last = host.rpartition(".")[2]
    return "." not in host or last in ("localhost", "local", "internal", "lan", "home", "arpa")


def _kind_of_v4(address: ipaddress.IPv4Address) -> Kind:
    if address.is_loopback:
        return "loopback"
    if _within(address, _V4_REFUSED):
        return "refused"
    return "private" if _within(address, _V4_PRIVATE) else "public"


def _kind_of_v6(address: ipaddress.IPv6Address) -> Kind:
    if address == ipaddress.IPv6Address("::1"):
        return "loopback"
    if address.scope_id is not None or _within(address, (*_V6_REFUSED, *_V6_CLOUD)):
        return "refused"
    if _within(address, _V6_PRIVATE):
        return "private"
    return "public" if address in _GLOBAL else "refused"


def _within(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, networks: tuple[str, ...]
) -> bool:
    return any(address in ipaddress.ip_network(network) for network in networks)
