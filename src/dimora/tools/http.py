"""One address of the settings as a tool: a URL with typed places, on a host that is fixed.

For what speaks plain HTTP: lamps, heating, weather stations, a server of one's own. No redirect is
followed, no proxy asked, and nothing of this machine is sent along but what the table says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote, unquote, urlsplit

import msgspec

from dimora.core.errors import BadRequest, SourceFailed
from dimora.core.tool_tables import ToolTable
from dimora.tasks.acting import ToolOutput
from dimora.tools._parameters import (
    IntegerParameter,
    Parameter,
    TextParameter,
    problem_of,
    schema_of,
    settle,
)
from dimora.tools._templates import Template, read_template
from dimora.tools.base import Keys, SourceTool, cut_output, read_keys, wrong


class HttpKeys(Keys, frozen=True, kw_only=True):
    """`url` may hold parameters after the host; `json` is sent as the body, its texts filled: one
    that is a parameter and nothing else keeps the parameter's type."""

    description: str
    url: str
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    parameters: dict[str, Parameter] = {}
    json: dict[str, Any] | None = None
    headers: dict[str, str] = {}
    timeout_seconds: float = 10.0
    output_bytes: int = 16 * 2**10


def read(table: ToolTable) -> Address:
    keys = read_keys(table, HttpKeys)
    if why := problem_of(keys.parameters):
        raise wrong(table, why)
    try:
        parts = urlsplit(keys.url)
        fixed = parts.netloc and not set("{}@") & set(parts.netloc) and parts.port != 0
    except ValueError:
        fixed = False
    if not fixed or parts.scheme not in ("http", "https"):
        raise wrong(table, "url must begin with http:// or https:// and a host without parameters")
    try:
        template = read_template(keys.url, keys.parameters)
        _read_json(keys.json, keys.parameters)
    except ValueError as problem:
        raise wrong(table, f"url or json: {problem}") from None
    return Address(table.name, keys, template)


def _read_json(value: Any, known: Mapping[str, Parameter]) -> None:
    """Raises ValueError for a text in it that is no template."""
    if isinstance(value, str):
        read_template(value, known)
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            _read_json(inner, known)


class Address:
    """See tools.base.Source."""

    foreign = False

    def __init__(self, name: str, keys: HttpKeys, template: Template) -> None:
        self._name = name
        self._keys = keys
        self._template = template
        path = re.split(r"[?#]", keys.url, maxsplit=1)[0]
        self._segments = [read_template(s, keys.parameters) for s in path.split("/") if "{" in s]

    async def tools(self) -> Sequence[SourceTool]:
        keys = self._keys
        return [SourceTool(description=keys.description, parameters=schema_of(keys.parameters))]

    def address(self, values: Mapping[str, str]) -> str:
        """The URL to ask. Raises BadRequest where a value would lead elsewhere in the path."""
        if any(values.get(name, "x") == "" for name in self._template.names):
            raise BadRequest("a part of the address is empty", code="bad_arguments")
        url = self._template.fill(values, _escaped)
        if url is None:
            raise BadRequest("a part of the address was left out", code="bad_arguments")
        for segment in self._segments:
            self._check_segment(segment, values)
        return url

    def _check_segment(self, segment: Template, values: Mapping[str, str]) -> None:
        """Escaping does not hold a value in its part of the path: many servers and proxies undo it
        first, and look for `/` and `..` then."""
        for name in segment.names:
            # What a choice or a path may be, slashes too, stands in the settings.
            free = isinstance(self._keys.parameters[name], TextParameter)
            if free and (set("/\\") & set(values[name]) or not values[name].isprintable()):
                raise BadRequest(
                    f"{name} must not hold slashes or line ends", param=name, code="bad_arguments"
                )
        whole = unquote(segment.fill(values, _escaped) or "")
        if {".", ".."} & set(re.split(r"[/\\]", whole)):
            raise BadRequest("a part of the address would leave its folder", code="bad_arguments")

    def body(self, values: Mapping[str, str]) -> bytes | None:
        """The JSON to send."""
        if self._keys.json is None:
            return None
        return msgspec.json.encode(self._filled(self._keys.json, values))

    def _filled(self, value: Any, values: Mapping[str, str]) -> Any:
        if isinstance(value, dict):
            filled = {name: self._filled(inner, values) for name, inner in value.items()}
            return {name: inner for name, inner in filled.items() if inner is not None}
        if isinstance(value, list):
            return [self._filled(inner, values) for inner in value]
        if not isinstance(value, str):
            return value
        template = read_template(value, self._keys.parameters)
        text = template.fill(values)
        alone = template.names if template.pieces[::2] == ("", "") else ()
        if text and alone and isinstance(self._keys.parameters[alone[0]], IntegerParameter):
            return int(text)
        return text

    async def call(self, tool: str, arguments: dict[str, Any]) -> ToolOutput:
        import httpx2

        keys = self._keys
        values = settle(keys.parameters, arguments)
        url, body = self.address(values), self.body(values)
        headers = dict(keys.headers)
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        try:
            async with httpx2.AsyncClient(
                trust_env=False, follow_redirects=False, timeout=keys.timeout_seconds
            ) as client:
                asked = client.build_request(keys.method, url, content=body, headers=headers)
                return await _within(keys, client, asked)
        except TimeoutError:
            raise SourceFailed(
                f"{self._name} did not answer within {keys.timeout_seconds:g} seconds"
            ) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as why:
            # The words of these errors may hold the address, and with it a parameter.
            raise SourceFailed(f"{self._name} cannot be asked: {type(why).__name__}") from None


def _escaped(value: str) -> str:
    return quote(value, safe="")


async def _within(keys: HttpKeys, client: Any, asked: Any) -> ToolOutput:
    """The answer, up to the limits. Raises TimeoutError."""
    import asyncio

    async with asyncio.timeout(keys.timeout_seconds):
        answer = await client.send(asked, stream=True)
        try:
            data = bytearray()
            async for piece in answer.aiter_bytes():
                data += piece
                if len(data) > keys.output_bytes:
                    break
        finally:
            await answer.aclose()
    failed = answer.status_code >= 300
    text = bytes(data).decode("utf-8", "replace")
    if failed:
        text = f"[status {answer.status_code}]\n{text}"
    return cut_output(text or f"[status {answer.status_code}]", keys.output_bytes, failed=failed)
