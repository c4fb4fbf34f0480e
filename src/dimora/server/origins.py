"""Which web origins may call, and the CORS headers that tell their browsers so."""

from __future__ import annotations

import re

_ORIGIN = re.compile(r"null|[a-z][a-z0-9+.-]*://[^/?#@\x00-\x20\x7f-\xff]*")

_ALWAYS = (
    *(
        f"{scheme}://{host}{port}"
        for scheme in ("http", "https")
        for host in ("localhost", "127.0.0.1", "0.0.0.0")
        for port in ("", ":*")
    ),
    "app://*",
    "file://*",
    "tauri://*",
    "vscode-webview://*",
    "vscode-file://*",
)
_STAINLESS = (
    "arch",
    "async",
    "custom-poll-interval",
    "helper-method",
    "lang",
    "os",
    "package-version",
    "poll-helper",
    "retry-count",
    "runtime",
    "runtime-version",
    "timeout",
)
_REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "User-Agent",
    "Accept",
    "X-Requested-With",
    "X-Api-Key",
    "OpenAI-Beta",
    *(f"x-stainless-{word}" for word in _STAINLESS),
)
_RESPONSE_HEADERS = "Retry-After, X-Dimora-Hint, X-Dimora-Truncated, X-Dimora-Warning"

Headers = list[tuple[bytes, bytes]]


def _pattern(origin: str) -> str:
    """A regular expression of an origin in which `*` stands for anything within it."""
    parts = (re.escape(part) for part in origin.lower().removesuffix("/").split("*"))
    return "[^/]*".join(parts)


class AllowedOrigins:
    """The origins of one server: those of this machine, and those in the setting `origins`."""

    def __init__(self, extra: tuple[str, ...] = ()) -> None:
        self._anyone = "*" in extra
        self._allowed = re.compile("|".join(_pattern(o) for o in (*_ALWAYS, *extra)))

    def allow(self, origin: str, host: str) -> bool:
        """Whether a page from `origin` may call; `host` is the (allowed) Host it called.

        A page we served ourselves has the very Host as its origin.
        """
        origin = origin.strip().lower()
        if not _ORIGIN.fullmatch(origin):
            return False
        same = origin in (f"http://{host.lower()}", f"https://{host.lower()}")
        return self._anyone or same or self._allowed.fullmatch(origin) is not None


def origin_headers(origin: str) -> Headers:
    """For every answer to an allowed origin."""
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", _RESPONSE_HEADERS.encode()),
        (b"vary", b"Origin"),
    ]


def preflight_headers() -> Headers:
    """For the browser's question before a call."""
    return [
        (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        (b"access-control-allow-headers", ", ".join(_REQUEST_HEADERS).encode()),
        (b"access-control-max-age", b"43200"),
    ]
