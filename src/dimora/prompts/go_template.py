"""Runs Go chat templates, as the manifests of Ollama's library carry them.

A part of Go's text/template, with limits, since templates come from strangers. JSON is written
without Go's escapes for HTML (`<` stays `<`): models read it, not browsers.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from dimora.core.errors import BadRequest
from dimora.core.types import Message, Tool
from dimora.prompts.go_data import Thing, conversation_of, exchanges_of, tool_of
from dimora.prompts.go_functions import FUNCTIONS, is_true, write_text
from dimora.prompts.go_parsing import (
    Branch,
    Function,
    GoSyntaxError,
    Jump,
    Literal,
    Operand,
    Output,
    Pipeline,
    Reference,
    Statement,
    Words,
    parse_go,
)
from dimora.prompts.limits import Budget, LimitReached, TemplateStopped, text_bytes

# They look at no more of their operands than they need.
_LAZY = frozenset({"and", "or"})
_WRITING = frozenset({"print", "printf", "println"})


class _Failed(Exception):
    """The template cannot go on; the words are ours."""


class _Jumped(Exception):
    def __init__(self, keyword: str) -> None:
        super().__init__(keyword)
        self.keyword = keyword


class _AnswerReached(Exception):
    """The place where the model's answer belongs: nothing after it is written."""


def render_go(
    template: str,
    messages: Sequence[Message],
    *,
    tools: Sequence[Tool] = (),
    think: bool | str | None = None,
) -> str:
    """The turns as text, up to where the assistant's next one begins.

    Templates that know no `.Messages` are run once for each exchange.

    Raises:
        BadRequest: code `template_error`.
    """
    try:
        statements = _parse(template)
        budget = Budget()
        common = {
            "Tools": [tool_of(t) for t in tools],
            "Think": bool(think),
            "ThinkLevel": think if isinstance(think, str) else "",
            "IsThinkSet": think is not None,
            "Suffix": "",
        }
        if re.search(r"\.Messages\b", template):
            return _run(statements, {**common, **conversation_of(messages)}, budget)
        rounds = exchanges_of(messages)
        written = [_run(statements, {**common, **r}, budget) for r in rounds[:-1]]
        written.append(_run(statements, {**common, **rounds[-1]}, budget, to_answer=True))
        return "".join(written)
    except LimitReached:
        raise TemplateStopped from None
    except GoSyntaxError as why:
        raise _error(f"the model's template is broken: {why}") from None
    except _Failed as why:
        raise _error(f"the model's template cannot render these messages: {why}") from None
    except RecursionError:
        raise _error("the model's template is nested too deep") from None


def check_go(template: str) -> None:
    """Raises BadRequest, code `template_error`, for what is no Go template that can be run here."""
    try:
        called = set(_functions_in(_parse(template)))
    except GoSyntaxError as why:
        raise _error(f"the model's template is broken: {why}") from None
    except RecursionError:
        raise _error("the model's template is nested too deep") from None
    if unknown := sorted(called - FUNCTIONS.keys() - _LAZY):
        raise _error(
            f"the model's template calls {unknown[0][:40]!r}, and there is no such function"
        )


def _functions_in(node: object) -> Iterator[str]:
    """The names of all functions that are called in a template, or in a part of one."""
    if isinstance(node, Function):
        yield node.name
    parts = msgspec.structs.astuple(node) if isinstance(node, msgspec.Struct) else node
    for part in parts if isinstance(parts, tuple) else ():
        yield from _functions_in(part)


def _error(message: str) -> BadRequest:
    return BadRequest(
        message,
        hint="send other messages, or give the model another template",
        code="template_error",
    )


@functools.lru_cache(maxsize=32)
def _parse(template: str) -> tuple[Statement, ...]:
    statements = parse_go(template)
    if not re.search(r"\.(?:Messages|Response)\b", template):
        answer = Pipeline(((Reference("", ("Response",)),),))
        statements = (*statements, Output(answer))
    return statements


def _run(
    statements: tuple[Statement, ...],
    data: dict[str, Any],
    budget: Budget,
    *,
    to_answer: bool = False,
) -> str:
    run = _Run(data, budget, to_answer=to_answer)
    try:
        run.execute(statements, data)
    except _AnswerReached:
        pass
    except _Jumped:
        raise _Failed("break or continue outside of range") from None
    return "".join(run.written)


class _Run:
    """One execution. `to_answer`: stop where `.Response` is written."""

    def __init__(self, data: dict[str, Any], budget: Budget, *, to_answer: bool) -> None:
        self.written: list[str] = []
        self._size = 0
        self._budget = budget
        self._to_answer = to_answer
        self._scopes: list[dict[str, Any]] = [{"$": data}]

    def execute(self, statements: tuple[Statement, ...], dot: Any) -> None:
        for statement in statements:
            self._budget.spend()
            match statement:
                case Words(text=text):
                    self._write(text)
                case Output(pipeline=pipeline):
                    self._output(pipeline, dot)
                case Jump(keyword=keyword):
                    raise _Jumped(keyword)
                case Branch():
                    self._branch(statement, dot)

    def _write(self, text: str) -> None:
        self._size += text_bytes(text)
        self._budget.require_text(self._size)
        self.written.append(text)

    def _output(self, pipeline: Pipeline, dot: Any) -> None:
        value = self._evaluate(pipeline, dot)
        if not pipeline.names:
            self._write(self._made(write_text(value), [value]))
            if self._to_answer and pipeline.mentions("Response"):
                raise _AnswerReached

    def _branch(self, branch: Branch, dot: Any) -> None:
        self._scopes.append({})
        depth = len(self._scopes)
        try:
            if branch.keyword == "range":
                self._range(branch, dot)
                return
            value = self._evaluate(branch.pipeline, dot)
            inner = value if branch.keyword == "with" and is_true(value) else dot
            self.execute(branch.body if is_true(value) else branch.otherwise, inner)
        finally:
            del self._scopes[depth - 1 :]

    def _range(self, branch: Branch, dot: Any) -> None:
        plain = Pipeline(branch.pipeline.commands)
        pairs = _pairs(self._evaluate(plain, dot))
        names = branch.pipeline.names
        is_empty = True
        for key, value in pairs:
            is_empty = False
            self._budget.spend()
            self._scopes.append({})
            depth = len(self._scopes)
            if names:
                self._scopes[-1][names[-1]] = value
            if len(names) == 2:
                self._scopes[-1][names[0]] = key
            try:
                self.execute(branch.body, value)
            except _Jumped as jump:
                if jump.keyword == "break":
                    break
            finally:
                del self._scopes[depth - 1 :]
        if is_empty:
            self.execute(branch.otherwise, dot)

    def _evaluate(self, pipeline: Pipeline, dot: Any) -> Any:
        value: Any = None
        for at, command in enumerate(pipeline.commands):
            self._budget.spend()
            value = self._command(command, dot, [value] if at else [])
        for name in pipeline.names:
            self._assign(name, value, declares=pipeline.declares)
        return value

    def _assign(self, name: str, value: Any, *, declares: bool) -> None:
        if declares:
            self._scopes[-1][name] = value
            return
        for scope in reversed(self._scopes):
            if name in scope:
                scope[name] = value
                return
        raise _Failed("a variable is set that was never declared")

    def _command(self, command: tuple[Operand, ...], dot: Any, piped: list[Any]) -> Any:
        first, *rest = command
        if not isinstance(first, Function):
            if rest or piped:
                raise _Failed("something is called that is no function")
            return self._operand(first, dot)
        if first.name in _LAZY:
            return self._choose(first.name, rest, dot, piped)
        function = FUNCTIONS.get(first.name)
        if function is None:
            raise _Failed("it calls a function that is not known here")
        arguments = [self._operand(o, dot) for o in rest] + piped
        try:
            size = sum(map(text_bytes, arguments))
            self._budget.spend(size)
            if first.name in _WRITING:
                self._budget.require_text(size)
            return self._made(function(*arguments), arguments)
        except (TypeError, ValueError, IndexError, KeyError, AttributeError):
            raise _Failed(f"{first.name} got something it cannot work with") from None

    def _choose(self, name: str, rest: list[Operand], dot: Any, piped: list[Any]) -> Any:
        """`and` and `or` look at no more operands than they need."""
        value: Any = None
        for operand in rest:
            value = self._operand(operand, dot)
            if is_true(value) == (name == "or"):
                return value
        return piped[0] if piped else value

    def _made(self, value: Any, of: list[Any]) -> Any:
        """A value a function has made, noted."""
        self._budget.spend(text_bytes(value))
        return value if any(value is each for each in of) else self._budget.keep(value)

    def _operand(self, operand: Operand, dot: Any) -> Any:
        match operand:
            case Literal(value=value):
                return value
            case Function():
                return self._command((operand,), dot, [])
            case Reference(start=Pipeline() as inner, fields=fields):
                return _field(self._evaluate(inner, dot), fields)
            case Reference(start=name, fields=fields):
                return _field(self._variable(str(name)) if name else dot, fields)

    def _variable(self, name: str) -> Any:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        raise _Failed("a variable is read that was never declared")


def _field(value: Any, fields: tuple[str, ...]) -> Any:
    """Go's own words for what is missing differ by type; here it is nothing in every case."""
    for name in fields:
        if isinstance(value, Thing):
            value = value.fields.get(name)
        else:
            value = value.get(name) if isinstance(value, dict) else None
    return value


def _pairs(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, list):
        return enumerate(value)
    if isinstance(value, dict):
        return value.items()
    if isinstance(value, int) and not isinstance(value, bool):
        return ((n, n) for n in range(value))
    if value is None:
        return ()
    raise _Failed("range got something that has no parts")
