"""How the house reaches places outside: which it may, by which proxy, with whose word."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from dimora.core.written import DEFAULT_HUB
from dimora.core.written import Credential as Credential

if TYPE_CHECKING:
    from dimora.core.settings import Settings


class SourceAccess(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the settings that sources see.

    `registries` are the hosts (with a port where it is not the usual one) models may come from and
    go to; `*` allows every public one. `credentials` are by such a host. `hub_endpoint` is where
    names of a hub are looked up. `certificates` is a file of certificates to trust beside the
    system's. `no_proxy` are hosts, domains and networks that are reached without the proxy.
    """

    registries: tuple[str, ...] = ()
    credentials: dict[str, Credential] = {}
    proxy: str = ""
    no_proxy: tuple[str, ...] = ()
    certificates: str = ""
    hub_endpoint: str = ""

    def authorization_for(self, host: str) -> str | None:
        """The Authorization header of a host that the settings have a credential for.

        `host` has a port where it is not the usual one. A token becomes Bearer, else it is Basic;
        a key is not shown, it signs.
        """
        found = self.credentials.get(host.lower())
        return None if found is None or found.key else authorization_of(found)

    def key_for(self, host: str) -> str:
        """The file of the key that signs for this host, empty for none."""
        found = self.credentials.get(host.lower())
        return found.key if found else ""


def authorization_of(credential: Credential) -> str:
    """The value of an Authorization header."""
    if credential.token:
        return f"Bearer {credential.token}"
    pair = f"{credential.user}:{credential.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def access_of(settings: Settings) -> SourceAccess:
    """What sources are told of the settings.

    Who names a hub allows its host; the hub's token is for that host alone.
    """
    hub = urlsplit(settings.hub_endpoint).netloc.lower()
    registries, credentials = settings.registries, dict(settings.registry_credentials)
    if settings.hub_endpoint != DEFAULT_HUB and hub:
        registries = (*registries, hub)
    if settings.hub_token and hub:
        credentials.setdefault(hub, Credential(token=settings.hub_token))
    return SourceAccess(
        registries=registries,
        credentials=credentials,
        proxy=settings.proxy,
        no_proxy=settings.no_proxy,
        certificates=settings.certificates,
        hub_endpoint=settings.hub_endpoint,
    )
