"""What a tool over MCP is: its words and schemas, how it is read, and how its answer is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from dimora.core.types import Event, Request
from dimora.dialects._writing import encode


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """One tool. `read` makes a Request of arguments and warnings, and raises BadRequest; `tell`
    folds the answer's events to the fields of a result."""

    name: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None = None
    read: Callable[[Mapping[str, Any], tuple[str, ...]], Request]
    tell: Callable[[Sequence[Event]], dict[str, Any]]

    @property
    def takes_model(self) -> bool:
        return "model" in self.input_schema["properties"]


def structured(value: Any) -> dict[str, Any]:
    """Data as a result: as it is, and as text for clients that know only that."""
    return {
        "content": [{"type": "text", "text": encode(value).decode()}],
        "structuredContent": value,
        "isError": False,
    }


def rooted(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object with that object at its root, as MCP wants it."""
    reference = schema.get("$ref", "")
    definitions = schema.get("$defs", {})
    name = reference.removeprefix("#/$defs/")
    if name not in definitions:
        return schema
    refers_to_itself = f'"{reference}"'.encode() in encode(definitions)
    others = {n: d for n, d in definitions.items() if n != name or refers_to_itself}
    return {**definitions[name], **({"$defs": others} if others else {})}
