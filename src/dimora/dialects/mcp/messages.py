"""From a message of MCP to a Request, or to what the dialect answers itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from dimora.core.errors import BadRequest, DimoraError
from dimora.dialects._body import BodyReader, decode_json, quote
from dimora.dialects.base import Asked, Fixed, Incoming
from dimora.dialects.mcp.calling import CallAnswer, error_result
from dimora.dialects.mcp.offer import Offer
from dimora.dialects.mcp.offers import offers
from dimora.dialects.mcp.words import (
    CAPABILITIES,
    HANDSHAKE_VERSIONS,
    INSTRUCTIONS,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    MODERN_VERSIONS,
    PARSE_ERROR,
    REFUSED,
    SERVER,
    Call,
    Message,
    ProtocolError,
    check_envelope,
    error_body,
)

_READER = BodyReader(Message)
# How long a client may keep the list of tools; it changes with the program only.
_CACHE = {"ttlMs": 60_000, "cacheScope": "private"}


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What a line says: the call of this `id` is `asked`, or `body` answers it at once (a line
    too, empty for none), or another call is given up: that of the id `cancels`."""

    id: str | int | None = None
    asked: Asked | None = None
    body: bytes = b""
    cancels: str | int | None = None


def error(error: DimoraError, id: str | int | None = None) -> bytes:
    """An error in a message that is no request, or in one of this `id`."""
    code = INTERNAL_ERROR if error.status >= 500 else REFUSED
    if isinstance(error, BadRequest):
        code = PARSE_ERROR if error.code == "parse_error" else INVALID_REQUEST
    return error_body(id, code, error.text, {"code": error.code})


def decode(incoming: Incoming) -> Asked | Fixed:
    """Raises BadRequest for what is no message."""
    raw = _decode_json(incoming.body)
    try:
        message, warnings = _read(raw)
    except BadRequest as why:
        if (id := _id_of(raw)) is None:
            raise
        return Fixed(error(why, id), status=why.status)
    return _answer(message, incoming, warnings, lines=False)


def decode_line(incoming: Incoming) -> Line:
    """The same for a message that came as a line; what is none is answered too."""
    raw = None
    try:
        raw = _decode_json(incoming.body)
        message, warnings = _read(raw)
    except BadRequest as why:
        return Line(body=error(why, _id_of(raw)) + b"\n")
    found = _answer(message, incoming, warnings, lines=True)
    if isinstance(found, Asked):
        return Line(id=message.id, asked=found)
    if found.body:
        return Line(body=found.body + b"\n")
    return Line(cancels=_cancelled(message))


def _id_of(raw: Any) -> str | int | None:
    """The id of a request in which something else is wrong: its caller waits for it."""
    if not isinstance(raw, dict) or "result" in raw or "error" in raw:
        # The id of an answer is of somebody else's request.
        return None
    return _as_id(raw.get("id"))


def _cancelled(message: Message) -> str | int | None:
    """Which call a notification cancels, None for other ones."""
    if message.method != "notifications/cancelled":
        return None
    return _as_id(message.params.get("requestId"))


def _as_id(value: Any) -> str | int | None:
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None


def _answer(
    message: Message, incoming: Incoming, warnings: tuple[str, ...], *, lines: bool
) -> Asked | Fixed:
    if message.id is None:
        # Nothing that a client may notify of changes what is answered here.
        return Fixed(b"", status=202)
    call = None
    try:
        modern = check_envelope(message, incoming.headers, lines=lines)
        call = Call(
            message=message,
            modern=modern,
            lines=lines,
            wants_events="text/event-stream" in incoming.headers.get("accept", ""),
        )
        answer = _ANSWERS.get(message.method)
        if answer is None:
            raise ProtocolError(METHOD_NOT_FOUND, f"there is no method {quote(message.method)}")
        return answer(call, incoming, warnings)
    except ProtocolError as why:
        body = error_body(message.id, why.code, why.message, why.data)
        return Fixed(body, status=why.status(call))


def _decode_json(body: bytes) -> Any:
    try:
        return decode_json(body)
    except BadRequest as why:
        raise BadRequest(why.message, code="parse_error") from None


def _read(raw: Any) -> tuple[Message, tuple[str, ...]]:
    message, warnings = _READER.read_value(raw)
    if message.jsonrpc != "2.0":
        raise BadRequest('jsonrpc must be "2.0"', param="jsonrpc")
    if not message.method:
        raise BadRequest("method is required", param="method")
    if message.method == "tools/call" and not isinstance(message.params.get("name"), str):
        raise BadRequest("params.name must be the name of a tool", param="params")
    return message, warnings


def _initialize(call: Call, incoming: Incoming, warnings: tuple[str, ...]) -> Fixed:
    wanted = call.message.params.get("protocolVersion")
    version = wanted if wanted in HANDSHAKE_VERSIONS else HANDSHAKE_VERSIONS[-1]
    told = {
        "protocolVersion": version,
        "capabilities": CAPABILITIES,
        "serverInfo": SERVER,
        "instructions": INSTRUCTIONS,
    }
    return Fixed(call.result(told))


def _discover(call: Call, incoming: Incoming, warnings: tuple[str, ...]) -> Fixed:
    told = {
        "supportedVersions": [*HANDSHAKE_VERSIONS, *MODERN_VERSIONS],
        "capabilities": CAPABILITIES,
        "instructions": INSTRUCTIONS,
        **_CACHE,
    }
    return Fixed(call.result(told))


def _ping(call: Call, incoming: Incoming, warnings: tuple[str, ...]) -> Fixed:
    return Fixed(call.result({}))


def _list(call: Call, incoming: Incoming, warnings: tuple[str, ...]) -> Fixed:
    if call.message.params.get("cursor"):
        raise ProtocolError(INVALID_PARAMS, "there is one page of tools: leave cursor out")
    tools = [describe(offer) for offer in offers().values()]
    return Fixed(call.result({"tools": tools, **(_CACHE if call.modern else {})}))


def describe(offer: Offer) -> dict[str, Any]:
    """A tool as a client is told of it."""
    told: dict[str, Any] = {
        "name": offer.name,
        "description": offer.description,
        "inputSchema": offer.input_schema,
        # It computes here: nothing is changed, and nobody else is asked.
        "annotations": {"readOnlyHint": True, "openWorldHint": False},
    }
    return told | ({"outputSchema": offer.output_schema} if offer.output_schema else {})


def _call(call: Call, incoming: Incoming, warnings: tuple[str, ...]) -> Asked | Fixed:
    name, arguments = call.message.params["name"], call.message.params.get("arguments") or {}
    offer = offers().get(name)
    if offer is None:
        raise ProtocolError(INVALID_PARAMS, f"there is no tool {quote(name)}")
    if not isinstance(arguments, dict):
        raise ProtocolError(INVALID_PARAMS, "params.arguments must be an object")
    if offer.takes_model and not arguments.get("model"):
        arguments = {**arguments, "model": incoming.default_model}
    try:
        request = offer.read(arguments, warnings)
    except DimoraError as why:
        # Told as a result: a model can mend what it has called wrongly.
        return Fixed(call.result(error_result(why)))
    return Asked(request, CallAnswer(call, offer))


_ANSWERS: dict[str, Callable[[Call, Incoming, tuple[str, ...]], Asked | Fixed]] = {
    "initialize": _initialize,
    "server/discover": _discover,
    "ping": _ping,
    "tools/list": _list,
    "tools/call": _call,
}
