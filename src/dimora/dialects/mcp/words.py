"""Versions, codes and forms of MCP's messages, which are JSON-RPC 2.0.

Sources: the specification's revisions 2024-11-05 to 2025-11-25, which begin with `initialize`, and
2026-07-28, in which every request carries its version and may be asked at once.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec

from dimora import __version__
from dimora.dialects._body import Body
from dimora.dialects._writing import encode

HANDSHAKE_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN_VERSIONS = ("2026-07-28",)

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
HEADER_MISMATCH = -32020
UNSUPPORTED_VERSION = -32022
# Of the range that JSON-RPC leaves to servers: who may not, or has to wait.
REFUSED = -32010

# With which HTTP status an error goes in the revision that names them; the older ones know 200.
_STATUS = {
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    INVALID_PARAMS: 400,
    HEADER_MISMATCH: 400,
    UNSUPPORTED_VERSION: 400,
    METHOD_NOT_FOUND: 404,
}

HEADERS_READ = ("accept", "mcp-protocol-version", "mcp-method", "mcp-name")

_PREFIX = "io.modelcontextprotocol/"
VERSION_KEY = f"{_PREFIX}protocolVersion"
CAPABILITIES_KEY = f"{_PREFIX}clientCapabilities"
SERVER_KEY = f"{_PREFIX}serverInfo"

SERVER = {"name": "dimora", "title": "Dimora", "version": __version__}
CAPABILITIES = {"tools": {"listChanged": False}}
INSTRUCTIONS = (
    "Dimora runs language models on its owner's machine; what is sent to it stays there."
    " `chat` asks a model anything, the other tools do one job each and give back data."
)


class Message(Body, frozen=True, kw_only=True):
    """A request, or without `id` a notification."""

    jsonrpc: str = ""
    id: str | int | None = None
    method: str = ""
    params: dict[str, Any] = {}

    @property
    def meta(self) -> Mapping[str, Any]:
        found = self.params.get("_meta")
        return found if isinstance(found, dict) else {}


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request that has to be answered. `lines`: not over HTTP, but in lines of a stream."""

    message: Message
    modern: bool = False
    lines: bool = False
    wants_events: bool = False

    def result(self, fields: Mapping[str, Any]) -> bytes:
        """The body of an answer."""
        told = dict(fields)
        if self.modern:
            meta = {SERVER_KEY: SERVER, **told.get("_meta", {})}
            told = {**told, "resultType": "complete", "_meta": meta}
        return encode({"jsonrpc": "2.0", "id": self.message.id, "result": told})


class ProtocolError(Exception):
    """A request that is answered with an error of the protocol itself."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def status(self, call: Call | None) -> int:
        told = call is None or call.modern or self.code == UNSUPPORTED_VERSION
        return _STATUS.get(self.code, 200) if told else 200


def error_body(id: str | int | None, code: int, message: str, data: Any = None) -> bytes:
    told: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        told["data"] = data
    return encode({"jsonrpc": "2.0", "id": id, "error": told})


def check_envelope(message: Message, headers: Mapping[str, str], *, lines: bool) -> bool:
    """Whether the request is of the revision without `initialize`.

    Raises ProtocolError where what it says of itself is missing, contradicts its headers, or is
    of no version known here.
    """
    version, header = message.meta.get(VERSION_KEY), headers.get("mcp-protocol-version", "")
    if version is None:
        if header in MODERN_VERSIONS:
            raise ProtocolError(INVALID_PARAMS, f"params._meta has no {VERSION_KEY}")
        if header and header not in HANDSHAKE_VERSIONS:
            raise _unsupported(header)
        return False
    if not isinstance(version, str):
        raise ProtocolError(INVALID_PARAMS, f"{VERSION_KEY} must be a text")
    if not lines:
        _check_headers(message, version, headers)
    if version not in MODERN_VERSIONS:
        raise _unsupported(version)
    if not isinstance(message.meta.get(CAPABILITIES_KEY), dict):
        raise ProtocolError(INVALID_PARAMS, f"params._meta has no {CAPABILITIES_KEY}")
    return True


def _check_headers(message: Message, version: str, headers: Mapping[str, str]) -> None:
    """What lies between may have decided by headers: they have to say what the body says."""
    expected = {"mcp-protocol-version": version, "mcp-method": message.method}
    if message.method == "tools/call":
        expected["mcp-name"] = str(message.params.get("name", ""))
    for name, value in expected.items():
        if _decoded(headers.get(name, "")) != value:
            raise ProtocolError(HEADER_MISMATCH, f"the header {name} is not what the body says")


def _decoded(header: str) -> str | None:
    """A value that was no plain ASCII comes as `=?base64?...?=`."""
    if not (header.startswith("=?base64?") and header.endswith("?=")):
        return header
    try:
        return base64.b64decode(header[9:-2], validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def _unsupported(version: str) -> ProtocolError:
    known = [*HANDSHAKE_VERSIONS, *MODERN_VERSIONS]
    data = {"supported": known, "requested": version[:40]}
    return ProtocolError(UNSUPPORTED_VERSION, "this protocol version is not known here", data)
