"""Every request to a registry or hub goes through here: where it may go, and how it gets there.

A host is looked up once, its addresses are checked, and the connection goes to a checked address.
Redirects are followed here, each as strictly as the first step. What is asked of one origin, such
as Authorization, is never told to another.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import httpx2
import truststore

from dimora.core.errors import ConfigurationError, Forbidden, SourceFailed
from dimora.models.remote.access import SourceAccess
from dimora.models.remote.addresses import (
    embedded_address,
    is_address,
    is_inner_name,
    kind_of_address,
)
from dimora.models.remote.places import Place, place_of, proxy_for
from dimora.models.remote.whole_answers import read_whole

CONNECT_SECONDS = 20.0
STALL_SECONDS = 30.0
READ_SECONDS = 120.0
REDIRECTS = 10
# Answers of a server that may do better soon.
AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
# What only the origin it was meant for may see.
_OWN_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
_USER_AGENT = "dimora"

_TROUBLES: dict[type[Exception], str] = {
    httpx2.ConnectError: "cannot be reached",
    httpx2.ConnectTimeout: "cannot be reached in time",
    httpx2.ReadTimeout: "stopped sending",
    httpx2.WriteTimeout: "stopped receiving",
}

# What is sent: bytes, or a way to begin sending anew, which a redirect may need.
Content = bytes | Callable[[], AsyncIterator[bytes]] | None


class Interrupted(SourceFailed):
    """Something on the way failed; another try may help."""


class Refused(SourceFailed):
    """A registry does not let us in. It is not our caller who has to prove anything."""

    code = "registry_refuses"


class Answer(NamedTuple):
    """A small answer, read whole."""

    status: int
    headers: httpx2.Headers
    body: bytes


def trusting(certificates: Sequence[str]) -> ssl.SSLContext:
    """Trusts what the system trusts, and the certificates in these files and directories.

    Raises OSError (also for what is no certificate) for one that cannot be read.
    """
    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for certificate in certificates:
        add_certificates(context, certificate)
    return context


def add_certificates(context: ssl.SSLContext, certificate: str) -> None:
    """Trust a file or directory of certificates as well. Raises OSError."""
    path = Path(certificate).expanduser()
    if path.is_dir():
        context.load_verify_locations(capath=str(path))
    else:
        context.load_verify_locations(cafile=str(path))


class Network:
    """The way out of the house, as far as `access` allows. Every request has its own connection."""

    def __init__(self, access: SourceAccess) -> None:
        self.access = access
        self._allowed = frozenset(host.lower() for host in access.registries)
        self._context: ssl.SSLContext | None = None

    @contextlib.asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: Content = None,
        insecure: bool = False,
        stall_seconds: float = STALL_SECONDS,
        authorize: str | None = None,
    ) -> AsyncIterator[httpx2.Response]:
        """The open answer, after redirects; its body is for the caller to read and to limit.

        `authorize` is the Authorization header for the origin of `url`. `insecure` allows plain
        http, where the settings name the host; a loopback host needs no such word.

        Raises Forbidden for a place that is not allowed, Interrupted for trouble on the way (also
        while the body is read), SourceFailed.
        """
        place = place_of(url)
        sent = httpx2.Headers({"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"})
        sent.update(headers)
        if authorize:
            sent["Authorization"] = authorize
        try:
            async with contextlib.AsyncExitStack() as opened:
                addresses = await self._admit(place, insecure=insecure, came_from=None)
                step = _Step(method, httpx2.URL(url), sent, content)
                for _ in range(REDIRECTS + 1):
                    client = await opened.enter_async_context(
                        self._client(place, addresses, stall_seconds)
                    )
                    response = await opened.enter_async_context(
                        client.stream(
                            step.method, step.url, headers=step.headers, content=step.body()
                        )
                    )
                    if not response.has_redirect_location:
                        break
                    before, step = place, step.after(response)
                    place = place_of(step.url)
                    await opened.aclose()
                    addresses = await self._admit(place, insecure=insecure, came_from=before)
                    if place != before:
                        step = step.without_secrets()
                else:
                    raise SourceFailed(f"{place.host} redirects more than {REDIRECTS} times")
                yield response
        except (httpx2.TransportError, httpx2.StreamError, httpx2.DecodingError) as why:
            raise _failure(place, why, proxied=bool(proxy_for(place, self.access))) from None

    async def read(
        self,
        method: str,
        url: str,
        *,
        limit_bytes: int,
        headers: Mapping[str, str] | None = None,
        content: Content = None,
        insecure: bool = False,
        stall_seconds: float = STALL_SECONDS,
        authorize: str | None = None,
    ) -> Answer:
        """A whole small answer, of any status; see `stream`.

        Raises SourceFailed when it has more than `limit_bytes` once it is unpacked.
        """
        try:
            async with (
                asyncio.timeout(READ_SECONDS + (0 if content is None else 3600.0)),
                self.stream(
                    method,
                    url,
                    headers=headers,
                    content=content,
                    insecure=insecure,
                    stall_seconds=stall_seconds,
                    authorize=authorize,
                ) as response,
            ):
                body = await read_whole(response, limit_bytes)
                return Answer(response.status_code, response.headers, body)
        except TimeoutError:
            raise Interrupted(f"{place_of(url).host} takes too long to answer") from None

    def allows(self, place: Place) -> bool:
        """Whether the settings allow a registry at this place."""
        return place.key in self._allowed or "*" in self._allowed

    async def _admit(
        self, place: Place, *, insecure: bool, came_from: Place | None
    ) -> tuple[str, ...]:
        """The addresses of a place, when it may be asked; none when a proxy will find them.

        Raises Forbidden, Interrupted when there are none.
        """
        named = place.key in self._allowed
        if came_from is None and not self.allows(place):
            hosts = ",".join((*self.access.registries, place.key))
            raise Forbidden(
                f"models from {place.key} are not allowed here",
                code="host_not_allowed",
                hint="the setting registries lists the hosts that are; it replaces the default,"
                f" so name all of them: DIMORA_REGISTRIES={hosts}",
            )
        if came_from is not None and came_from.scheme == "https" and place.scheme == "http":
            raise Forbidden(f"{came_from.key} sends us away from https", code="host_not_allowed")
        if proxy_for(place, self.access):
            addresses: tuple[str, ...] = ()
            kinds = {_kind_of_name(place.host)}
        else:
            addresses = await _look_up(place)
            kinds = {_kind_of(address, named) for address in addresses}
        if "refused" in kinds or (not named and kinds != {"public"}):
            raise _wrong_network(place, came_from)
        if place.scheme == "http" and not (
            (insecure or kinds == {"loopback"}) and (named or came_from is None)
        ):
            raise _needs_https(place, came_from)
        return addresses

    def _client(
        self, place: Place, addresses: tuple[str, ...], stall_seconds: float
    ) -> httpx2.AsyncClient:
        proxied = proxy_for(place, self.access)
        secure = place.scheme == "https" or proxied.startswith("https")
        context = self._trust() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if proxied:
            try:
                proxy = httpx2.Proxy(proxied)
                proxy.ssl_context = context if proxy.url.scheme == "https" else None
                inner = httpx2.AsyncHTTPTransport(verify=context, trust_env=False, proxy=proxy)
            except (ValueError, ImportError, httpx2.InvalidURL):
                raise ConfigurationError(
                    "the setting proxy cannot be used", hint="it must be http://host:port"
                ) from None
        else:
            inner = httpx2.AsyncHTTPTransport(verify=context, trust_env=False)
        return httpx2.AsyncClient(
            transport=inner if proxied else _Pinned(inner, addresses),
            timeout=httpx2.Timeout(stall_seconds, connect=CONNECT_SECONDS),
            trust_env=False,
        )

    def _trust(self) -> ssl.SSLContext:
        if self._context is None:
            certificates = self.access.certificates
            try:
                self._context = trusting((certificates,) if certificates else ())
            except OSError as why:
                said = why.strerror or "it is no file of certificates"
                raise ConfigurationError(
                    f"the setting certificates cannot be used: {said}",
                    hint="it must name a file in PEM, or a directory made by c_rehash",
                ) from None
        return self._context


class _Step(NamedTuple):
    """One request on the way."""

    method: str
    url: httpx2.URL
    headers: httpx2.Headers
    content: Content

    def body(self) -> bytes | AsyncIterator[bytes] | None:
        return self.content() if callable(self.content) else self.content

    def after(self, response: httpx2.Response) -> _Step:
        """Where a redirect leads. Raises SourceFailed."""
        try:
            url = self.url.join(response.headers["Location"])
        except httpx2.InvalidURL:
            raise SourceFailed(f"{self.url.host} redirects to what is no URL") from None
        if response.status_code in (307, 308) or self.method in ("GET", "HEAD"):
            return self._replace(url=url)
        kept = {
            name: value
            for name, value in self.headers.items()
            if not name.lower().startswith("content-")
        }
        return _Step("GET", url, httpx2.Headers(kept), None)

    def without_secrets(self) -> _Step:
        """For another origin than the one the headers were meant for."""
        kept = {n: v for n, v in self.headers.items() if n.lower() not in _OWN_HEADERS}
        return self._replace(headers=httpx2.Headers(kept))


class _Pinned(httpx2.AsyncBaseTransport):
    """Connects to one of the addresses that were checked; TLS still asks for the host's name."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, addresses: tuple[str, ...]) -> None:
        self._inner = inner
        self._addresses = addresses

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        # The Host header is in the request already.
        extensions = {**request.extensions, "sni_hostname": request.url.raw_host.decode("ascii")}
        failure: httpx2.TransportError = httpx2.ConnectError("there is no address")
        for address in self._addresses:
            pinned = httpx2.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,
                stream=request.stream,
                extensions=extensions,
            )
            try:
                return await self._inner.handle_async_request(pinned)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as why:
                failure = why
        raise failure

    async def aclose(self) -> None:
        await self._inner.aclose()


def _kind_of_name(host: str) -> str:
    """What a host is as far as its name tells, for the proxy alone finds its address."""
    if is_address(host):
        return kind_of_address(host)
    return "private" if is_inner_name(host) else "public"


def _kind_of(address: str, named: bool) -> str:
    """A host of the settings may lie behind a network's translation to public IPv4."""
    inner = embedded_address(address)
    if named and inner != address:
        return "public" if kind_of_address(inner) == "public" else "refused"
    return kind_of_address(address)


async def _look_up(place: Place) -> tuple[str, ...]:
    """All addresses of a host. Raises Interrupted when there are none."""
    if is_address(place.host):
        return (place.host,)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(
                place.host, place.port, type=socket.SOCK_STREAM
            )
    except (OSError, TimeoutError, UnicodeError):
        raise Interrupted(
            f"the host {place.host} cannot be found",
            hint="check the name and the network; behind a proxy, the setting proxy",
        ) from None
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def _wrong_network(place: Place, came_from: Place | None) -> Forbidden:
    if came_from is not None:
        return Forbidden(
            f"{came_from.key} sends us to {place.key}, which is not on the public network",
            code="host_not_allowed",
            hint=f"if that is right, add {place.key} to the setting registries",
        )
    return Forbidden(
        f"{place.key} is not on the public network",
        code="host_not_allowed",
        hint=f"if that is right, add {place.key} to the setting registries; `*` does not cover it",
    )


def _needs_https(place: Place, came_from: Place | None) -> Forbidden:
    if came_from is not None:
        return Forbidden(
            f"{came_from.key} sends us to {place.key} without encryption", code="host_not_allowed"
        )
    return Forbidden(
        f"{place.key} would be asked without encryption",
        code="insecure_not_allowed",
        hint="--insecure allows it, if you trust the network between here and there",
    )


def _failure(place: Place, why: Exception, *, proxied: bool) -> Interrupted | SourceFailed:
    """In our own words: what libraries say may hold URLs, and these may hold signatures."""
    untrusted = _certificate_words(why)
    if untrusted:
        return SourceFailed(
            f"the certificate of {place.host} is not trusted: {untrusted}",
            hint="a private authority's certificates go into the setting certificates",
        )
    if isinstance(why, httpx2.UnsupportedProtocol):
        return SourceFailed(f"{place.host} cannot be asked that way")
    trouble = _TROUBLES.get(type(why), "broke the connection")
    if not isinstance(why, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError):
        return Interrupted(f"{place.key} {trouble}")
    if proxied:
        return Interrupted(
            f"{place.key} cannot be reached through the proxy",
            hint="check the setting proxy; no_proxy names the hosts that are reached without it",
        )
    return Interrupted(
        f"{place.key} {trouble}",
        hint="check the name, its port, and the network; behind a proxy, the setting proxy",
    )


def _certificate_words(why: BaseException) -> str:
    """Why a certificate was not trusted, empty when that is not the trouble."""
    cause: BaseException | None = why
    for _ in range(8):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (cause.verify_message or "it cannot be verified")[:200]
        if cause is None:
            break
        cause = cause.__cause__ or cause.__context__
    return ""
