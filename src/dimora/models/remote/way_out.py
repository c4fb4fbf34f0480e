"""Tells by which way models would come and go: hosts, proxy, certificates, credentials.

Nobody is asked but by `knock`.
"""

from __future__ import annotations

import datetime
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from dimora.core.errors import DimoraError, Forbidden
from dimora.core.written import show_proxy
from dimora.models.names import Name
from dimora.models.remote.access import SourceAccess
from dimora.models.sources.base import HUB_HOSTS
from dimora.tasks.finding import Finding

_FILE_LIMIT_BYTES = 32 << 20
_ANSWER_LIMIT_BYTES = 1 << 20
_KNOCK_SECONDS = 10.0
# A file with more is the bundle of a whole system, in which some are always old.
_FEW = 10
_SOON = datetime.timedelta(days=30)
_BEGIN = b"-----BEGIN CERTIFICATE-----"


def way_out(access: SourceAccess, *, now: datetime.datetime | None = None) -> list[Finding]:
    """What the settings say of it, and whether that can be used. Blocks for a moment."""
    return [
        _registries(access),
        Finding(what="hub", says=access.hub_endpoint or "none", setting="hub_endpoint"),
        _proxy(access),
        _certificates(access.certificates, now or datetime.datetime.now(datetime.UTC)),
        *_credentials(access),
    ]


def _registries(access: SourceAccess) -> Finding:
    hosts = ", ".join(access.registries)
    says = f"models may come from {hosts}" if hosts else "models come from the package index alone"
    if "*" in access.registries:
        return Finding(
            what="registries",
            says="every public host may be asked for models",
            verdict="note",
            hint="name the hosts you mean instead of `*`",
            setting="registries",
        )
    return Finding(what="registries", says=says, setting="registries")


def _proxy(access: SourceAccess) -> Finding:
    if not access.proxy:
        return Finding(what="proxy", says="none", setting="proxy")
    without = ", ".join(("this machine", *access.no_proxy))
    parsed = urlsplit(access.proxy)
    clear = parsed.password and parsed.scheme == "http"
    return Finding(
        what="proxy",
        says=f"{show_proxy(access.proxy)}, but not for {without}"
        + ("; its password goes there unencrypted" if clear else ""),
        verdict="note" if clear else "right",
        setting="proxy",
    )


def _certificates(place: str, now: datetime.datetime) -> Finding:
    if not place:
        return Finding(what="certificates", says="those of the system", setting="certificates")
    path = Path(place).expanduser()
    try:
        if path.is_dir():
            says = f"those of the system, and those in the directory {place}"
            return Finding(what="certificates", says=says, setting="certificates")
        with path.open("rb") as file:
            ends = _ends(file.read(_FILE_LIMIT_BYTES))
    except OSError as why:
        return _useless(f"{place} cannot be read: {why.strerror}")
    except ValueError:
        return _useless(f"{place} is damaged")
    if not ends:
        return _useless(f"{place} holds no certificate in PEM")
    says = f"those of the system, and {len(ends)} in {place}"
    first = min(ends)
    if max(ends) < now:
        return _useless(f"{place} holds none that is valid: the last ended {max(ends):%Y-%m-%d}")
    if first < now + _SOON and len(ends) <= _FEW:
        when = "ended" if first < now else "ends"
        return Finding(
            what="certificates",
            says=f"{says}; one {when} on {first:%Y-%m-%d}",
            verdict="note",
            hint="ask whoever gave you the file for a newer one",
            setting="certificates",
        )
    return Finding(what="certificates", says=says, setting="certificates")


def _ends(data: bytes) -> list[datetime.datetime]:
    """When each certificate of a file ends. Raises ValueError for a damaged one."""
    from cryptography.x509 import load_pem_x509_certificates

    if _BEGIN not in data:
        return []
    with warnings.catch_warnings():
        # Old authorities have numbers that the library does not like; they hold all the same.
        warnings.simplefilter("ignore")
        return [one.not_valid_after_utc for one in load_pem_x509_certificates(data)]


def _useless(says: str) -> Finding:
    return Finding(
        what="certificates",
        says=says,
        verdict="wrong",
        hint="the setting must name a file in PEM, or a directory made by c_rehash",
        setting="certificates",
    )


def _credentials(access: SourceAccess) -> Iterator[Finding]:
    """Whom we could prove ourselves to; never with what."""
    allowed = {*access.registries, urlsplit(access.hub_endpoint).netloc.lower()}
    for host, credential in sorted(access.credentials.items()):
        kind = "a key" if credential.key else "a token" if credential.token else "a password"
        if credential.key and not Path(credential.key).expanduser().is_file():
            yield Finding(
                what=f"credential for {host}",
                says="a key, whose file is not there",
                verdict="wrong",
                hint="the setting must name an OpenSSH Ed25519 key: host=ed25519:FILE",
                setting="registry_credentials",
            )
        elif host not in allowed and "*" not in allowed:
            yield Finding(
                what=f"credential for {host}",
                says=f"{kind}; the host is no registry of yours, it may give tokens for one",
                verdict="note",
                hint=f"to get models from it add {host} to the setting registries",
                setting="registry_credentials",
            )
        else:
            yield Finding(what=f"credential for {host}", says=kind, setting="registry_credentials")


def hosts_to_knock_at(access: SourceAccess) -> Sequence[str]:
    """Every host of the settings once, the hub in the place of the names it stands for."""
    hub = urlsplit(access.hub_endpoint).netloc.lower()
    named = [host for host in access.registries if host != "*" and host not in HUB_HOSTS]
    return list(dict.fromkeys([*named, *([hub] if hub else [])]))


async def knock(access: SourceAccess, host: str) -> Finding:
    """Ask one host for nothing in particular: whether it can be reached, and how fast."""
    # The network library is slow to import; the rest of an examination does without.
    from dimora.models.remote.network import Network
    from dimora.models.remote.registry import find_registry

    what, network = f"reach {host}", Network(access)
    hub = urlsplit(access.hub_endpoint)
    told = access.hub_endpoint if hub.netloc.lower() == host else host
    name = Name(host=host, namespace="library", model="model", tag="latest")
    began = time.monotonic()
    try:
        url = await find_registry(network, name, told, insecure=False)
        reply = await network.read(
            "GET", f"{url}/v2/", limit_bytes=_ANSWER_LIMIT_BYTES, stall_seconds=_KNOCK_SECONDS
        )
    except Forbidden as why:
        return Finding(what=what, says=why.message, verdict="note", hint=why.hint)
    except DimoraError as why:
        return Finding(what=what, says=why.message, verdict="wrong", hint=why.hint)
    if reply.status >= 500:
        says = f"it answers {reply.status}: it is in trouble itself"
        return Finding(what=what, says=says, verdict="wrong", hint="try again later")
    return Finding(what=what, says=f"it answers in {(time.monotonic() - began) * 1000:.0f} ms")
