"""What is told of tools that reach outside the house: plain values, and the room that has them."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec


class OfferedTool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that may be called. `name` is `SOURCE`, or `SOURCE__TOOL` where a source has several.

    Description and parameters of a `foreign` tool are somebody else's words. A `trusted` one may be
    called without asking the person. `parameters` is a JSON Schema.
    """

    name: str
    source: str
    kind: str
    description: str = ""
    parameters: dict[str, Any] = {}
    trusted: bool = False
    foreign: bool = False


class SilentSource(msgspec.Struct, frozen=True, kw_only=True):
    """A source of tools that does not tell what it has, and why."""

    source: str
    kind: str
    error: str


class ToolOutput(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool gave back: data of somebody else. `failed`: it is the words of an error.

    `cut`: there was more than the source's limit.
    """

    text: str
    failed: bool = False
    cut: bool = False


class Tools(Protocol):
    """The tools of the settings, for one principal.

    Only the person at the terminal may use them: they act with that person's rights.
    """

    async def offered(self) -> tuple[list[OfferedTool], list[SilentSource]]:
        """In the order of the settings. Raises Forbidden."""

    async def call(self, name: str, arguments: dict[str, Any]) -> ToolOutput:
        """Raises Forbidden, NotFound, BadRequest for arguments that are not the tool's, and
        SourceFailed where the tool could not be asked or did not answer in time."""
