"""Writes the answer to the call of a tool: one result, and before it how far the work is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dimora.core.errors import DimoraError
from dimora.core.types import Done, Event, Progress, Queued
from dimora.dialects._writing import encode, last_done
from dimora.dialects.mcp.offer import Offer
from dimora.dialects.mcp.words import Call
from dimora.tasks.generation import TextPiece

# With the first piece of text, and after so many, a caller is told that it goes on.
_PIECES_PER_NOTICE = 16


def error_result(error: DimoraError) -> dict[str, Any]:
    """What went wrong, in words that a model can read."""
    return {"content": [{"type": "text", "text": error.text}], "isError": True}


class CallAnswer:
    """Events come as notices of progress where the caller asked for them, else not at all."""

    # An error is a result that says so.
    refusal_status = 200

    def __init__(self, call: Call, offer: Offer) -> None:
        self._call = call
        self._offer = offer
        self._token = call.message.meta.get("progressToken")
        tells = isinstance(self._token, str | int) and call.wants_events
        self.streaming = call.lines or tells
        self.media_type = "text/event-stream" if self.streaming else "application/json"
        self._held: list[Event] = []
        self._noticed = 0
        self._pieces = 0

    def frame(self, event: Event) -> bytes:
        match event:
            case Queued(place=place):
                return self._notice(f"waiting, place {place}")
            case Progress(status=status):
                return self._notice(status)
            case Done():
                return self._framed(self.whole([*self._held, event]))
        self._held.append(event)
        if isinstance(event, TextPiece):
            self._pieces += 1
            if self._pieces % _PIECES_PER_NOTICE == 1:
                return self._notice("writing")
        return b""

    def refusal(self, error: DimoraError) -> bytes:
        body = self._call.result(error_result(error))
        return body + b"\n" if self._call.lines else body

    def failure(self, error: DimoraError) -> bytes:
        return self._framed(self._call.result(error_result(error)))

    def whole(self, events: Sequence[Event]) -> bytes:
        told = self._offer.tell(events)
        done = last_done(events)
        if done.warnings:
            told = {**told, "_meta": {"dimora/warnings": list(done.warnings)}}
        return self._call.result(told)

    def _notice(self, text: str) -> bytes:
        if not isinstance(self._token, str | int):
            return b""
        self._noticed += 1
        params = {"progressToken": self._token, "progress": self._noticed, "message": text}
        method = "notifications/progress"
        return self._framed(encode({"jsonrpc": "2.0", "method": method, "params": params}))

    def _framed(self, body: bytes) -> bytes:
        if self._call.lines:
            return body + b"\n"
        return b"event: message\ndata: " + body + b"\n\n"
