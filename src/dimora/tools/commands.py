"""A program of this machine as a tool: an argument vector with typed places, never a shell line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dimora.core.errors import SourceFailed
from dimora.core.tool_tables import ToolTable
from dimora.tasks.acting import ToolOutput
from dimora.tools import _programs
from dimora.tools._parameters import Parameter, problem_of, schema_of, settle
from dimora.tools._templates import Template, read_template
from dimora.tools.base import Keys, SourceTool, cut_output, read_keys, wrong


class CommandKeys(Keys, frozen=True, kw_only=True):
    """`command` is the vector; an element whose parameter was left out is left out too. `folder`
    is where the program runs, `environment` what it finds there beside PATH and LANG."""

    description: str
    command: tuple[str, ...]
    parameters: dict[str, Parameter] = {}
    folder: str = ""
    environment: dict[str, str] = {}
    timeout_seconds: float = 30.0
    output_bytes: int = 16 * 2**10


def read(table: ToolTable) -> Command:
    keys = read_keys(table, CommandKeys)
    why = problem_of(keys.parameters) or _programs.problem_of(keys.command, keys.folder)
    if why:
        raise wrong(table, why)
    if "{" in keys.command[0]:
        raise wrong(table, "command[0], the program, must not hold a parameter")
    templates = []
    for at, part in enumerate(keys.command):
        try:
            templates.append(read_template(part, keys.parameters))
        except ValueError as problem:
            raise wrong(table, f"command[{at}]: {problem}") from None
    return Command(table.name, keys, tuple(templates))


class Command:
    """See tools.base.Source."""

    foreign = False

    def __init__(self, name: str, keys: CommandKeys, templates: tuple[Template, ...]) -> None:
        self._name = name
        self._keys = keys
        self._templates = templates

    async def tools(self) -> Sequence[SourceTool]:
        keys = self._keys
        return [SourceTool(description=keys.description, parameters=schema_of(keys.parameters))]

    def vector(self, arguments: dict[str, Any]) -> list[str]:
        """What is run. Raises BadRequest."""
        values = settle(self._keys.parameters, arguments)
        filled = [template.fill(values) for template in self._templates]
        return [part for part in filled if part is not None]

    async def call(self, tool: str, arguments: dict[str, Any]) -> ToolOutput:
        keys = self._keys
        vector = self.vector(arguments)
        try:
            ended = await _programs.run_program(
                vector,
                folder=keys.folder,
                extra=keys.environment,
                timeout_seconds=keys.timeout_seconds,
                limit_bytes=keys.output_bytes,
            )
        except (OSError, ValueError) as why:
            words = getattr(why, "strerror", None) or "its arguments cannot be passed on"
            raise SourceFailed(f"the program of {self._name} cannot be started: {words}") from None
        text = ended.output.decode("utf-8", "replace")
        if ended.timed_out:
            text += f"\n[ended after {keys.timeout_seconds:g} seconds]"
        elif ended.code:
            text += f"\n[the program ended with code {ended.code}]"
        failed = ended.timed_out or bool(ended.code)
        return cut_output(text, keys.output_bytes + 100, failed=failed, cut=ended.cut)
