"""How the house reaches places outside: which it may, by which proxy, with whose word."""

from __future__ import annotations

import msgspec


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """What one host is shown: user and password, or a token alone."""

    user: str = ""
    password: str = ""
    token: str = ""


class SourceAccess(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the settings that sources see.

    `registries` are the hosts (with a port where it is not the usual one) models may come from and
    go to; `*` allows all. `credentials` are by such a host. `hub_endpoint` is where names of a hub
    are looked up. `certificates` is a file of certificates to trust beside the system's.
    """

    registries: tuple[str, ...] = ()
    credentials: dict[str, Credential] = {}
    proxy: str = ""
    no_proxy: tuple[str, ...] = ()
    certificates: str = ""
    hub_endpoint: str = ""
