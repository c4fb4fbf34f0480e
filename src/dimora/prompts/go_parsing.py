"""Parses the part of Go's text/template language that models' manifests use."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

import msgspec

_MAX_CHARACTERS = 256 * 1024
_MAX_DEPTH = 100
_MAX_TOKENS = 20_000


class GoSyntaxError(Exception):
    """The template is not Go's language, or uses a part of it that is not known here."""


class Literal(msgspec.Struct, frozen=True):
    value: Any


class Reference(msgspec.Struct, frozen=True):
    """`.A.B`, `$name.A` or `(pipeline).A`: `start` is empty for the dot, a variable, a Pipeline."""

    start: str | Pipeline
    fields: tuple[str, ...] = ()


class Function(msgspec.Struct, frozen=True):
    name: str


Operand = Literal | Reference | Function


class Pipeline(msgspec.Struct, frozen=True):
    """Commands, each given the result of the one before; `names` are set to the last result."""

    commands: tuple[tuple[Operand, ...], ...]
    names: tuple[str, ...] = ()
    declares: bool = False

    def mentions(self, field: str) -> bool:
        """True when the field is read anywhere in it."""
        return any(
            isinstance(o, Reference)
            and (field in o.fields or (isinstance(o.start, Pipeline) and o.start.mentions(field)))
            for command in self.commands
            for o in command
        )


class Words(msgspec.Struct, frozen=True):
    text: str


class Output(msgspec.Struct, frozen=True):
    pipeline: Pipeline


class Branch(msgspec.Struct, frozen=True):
    """`if`, `with` or `range`, by `keyword`."""

    keyword: str
    pipeline: Pipeline
    body: tuple[Statement, ...]
    otherwise: tuple[Statement, ...] = ()


class Jump(msgspec.Struct, frozen=True):
    """`break` or `continue`."""

    keyword: str


Statement = Words | Output | Branch | Jump

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    | (?P<text>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
    | (?P<number>[-+]?\d+(?:\.\d+)?)
    | (?P<variable>\$\w*(?:\.\w+)*)
    | (?P<field>(?:\.[A-Za-z_]\w*)+|\.)
    | (?P<word>[A-Za-z_]\w*)
    | (?P<mark>:=|[=|(),])
    """,
    re.VERBOSE,
)
_OPENING = re.compile(r"\{\{(?:-(?=\s))?")
_CLOSING = re.compile(r"(?:\s-)?\}\}")
_COMMENT = re.compile(r"\s*/\*.*?\*/\s*", re.DOTALL)
_BLOCKS = ("if", "with", "range")
_CONSTANTS = {"true": True, "false": False, "nil": None}


class _Token(msgspec.Struct, frozen=True):
    kind: str
    text: str


def parse_go(template: str) -> tuple[Statement, ...]:
    """The template's statements. Raises GoSyntaxError."""
    if len(template) > _MAX_CHARACTERS:
        raise GoSyntaxError("the template is too long")
    return _Parser(_pieces(template)).parse()


def _pieces(template: str) -> Iterator[str | list[_Token]]:
    """Words between actions as text, actions as tokens; trim markers already applied."""
    at = 0
    left = _MAX_TOKENS
    trims = False
    while True:
        opening = _OPENING.search(template, at)
        words = template[at : opening.start() if opening else len(template)]
        if trims:
            words = words.lstrip()
        if opening is None:
            yield words
            return
        yield words.rstrip() if opening[0].endswith("-") else words
        tokens, closing = _scan(template, opening.end())
        left -= len(tokens) + 1
        if left < 0:
            raise GoSyntaxError("the template is too long")
        yield tokens
        trims = "-" in closing[0]
        at = closing.end()


def _scan(template: str, at: int) -> tuple[list[_Token], re.Match[str]]:
    """Tokens of the action at `at`, and where it closes."""
    tokens: list[_Token] = []
    if comment := _COMMENT.match(template, at):
        # A marker that trims needs its space, which the comment must not swallow.
        at = comment.end() - len(comment[0]) + len(comment[0].rstrip())
    while True:
        if closing := _CLOSING.match(template, at):
            return tokens, closing
        token = _TOKEN.match(template, at)
        if token is None or token.lastgroup is None:
            raise GoSyntaxError("an action cannot be read")
        if token.lastgroup != "space":
            tokens.append(_Token(token.lastgroup, token[0]))
        at = token.end()
        # `x -}}`: the space belongs to the marker.
        if token.lastgroup == "space" and template.startswith("-}}", at):
            at -= 1


class _Parser:
    """Puts pieces together to statements."""

    def __init__(self, pieces: Iterator[str | list[_Token]]) -> None:
        self._pieces = pieces

    def parse(self) -> tuple[Statement, ...]:
        statements, end = self._body(0)
        if end is not None:
            raise GoSyntaxError("there is an end or else too many")
        return statements

    def _body(self, depth: int) -> tuple[tuple[Statement, ...], list[_Token] | None]:
        """Statements up to `end` or `else`, and that action; None at the template's end."""
        if depth > _MAX_DEPTH:
            raise GoSyntaxError("blocks are nested too deep")
        statements: list[Statement] = []
        for piece in self._pieces:
            if isinstance(piece, str):
                if piece:
                    statements.append(Words(piece))
                continue
            if not piece:
                continue
            word = piece[0].text if piece[0].kind == "word" else ""
            if word in ("end", "else"):
                return tuple(statements), piece
            if word in _BLOCKS:
                statements.append(self._branch(piece, depth))
            elif word in ("break", "continue") and len(piece) == 1:
                statements.append(Jump(word))
            elif word in ("define", "template", "block"):
                raise GoSyntaxError(f"{word} is not known here")
            else:
                statements.append(Output(_read_pipeline(piece)))
        return tuple(statements), None

    def _branch(self, action: list[_Token], depth: int) -> Branch:
        keyword = action[0].text
        pipeline = _read_pipeline(action[1:])
        body, end = self._body(depth + 1)
        otherwise: tuple[Statement, ...] = ()
        if end and end[0].text == "else":
            if len(end) > 1:
                if end[1].text not in ("if", "with"):
                    raise GoSyntaxError("there is a strange else")
                # `else if` is an `if` of its own, and has the same `end`.
                return Branch(keyword, pipeline, body, (self._branch(end[1:], depth + 1),))
            otherwise, end = self._body(depth + 1)
        if end is None or end[0].text != "end" or len(end) > 1:
            raise GoSyntaxError(f"{keyword} has no end")
        return Branch(keyword, pipeline, body, otherwise)


def _read_pipeline(tokens: list[_Token]) -> Pipeline:
    reader = _PipelineReader(tokens)
    pipeline = reader.read(0)
    if reader.peek() is not None:
        raise GoSyntaxError("there is something after an action's end")
    return pipeline


class _PipelineReader:
    """Reads one pipeline from an action's tokens."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def peek(self, ahead: int = 0) -> str | None:
        at = self._at + ahead
        return self._tokens[at].text if at < len(self._tokens) else None

    def read(self, depth: int) -> Pipeline:
        if depth > _MAX_DEPTH:
            raise GoSyntaxError("brackets are nested too deep")
        names, declares = self._names()
        commands = [self._command(depth)]
        while self.peek() == "|":
            self._at += 1
            commands.append(self._command(depth))
        return Pipeline(tuple(commands), names, declares)

    def _names(self) -> tuple[tuple[str, ...], bool]:
        """`$a :=`, `$a =` or `$a, $b :=` before a pipeline."""
        count = 2 if self.peek(1) == "," else 1
        mark = self.peek(3 if count == 2 else 1)
        if mark not in (":=", "=") or not (self.peek() or "").startswith("$"):
            return (), False
        names = tuple(self.peek(at) or "" for at in range(0, 2 * count, 2))
        self._at += 2 * count
        return names, mark == ":="

    def _command(self, depth: int) -> tuple[Operand, ...]:
        operands: list[Operand] = []
        while self.peek() not in (None, "|", ")"):
            operands.append(self._operand(depth))
        if not operands:
            raise GoSyntaxError("a command is empty")
        return tuple(operands)

    def _operand(self, depth: int) -> Operand:
        token = self._tokens[self._at]
        self._at += 1
        if token.text == "(":
            return self._brackets(depth)
        if token.kind == "text":
            return Literal(_unquoted(token.text))
        if token.kind == "number":
            return Literal(float(token.text) if "." in token.text else int(token.text[:20]))
        if token.kind == "variable":
            name, *fields = token.text.split(".")
            return Reference(name, tuple(fields))
        if token.kind == "field":
            return Reference("", tuple(f for f in token.text.split(".") if f))
        if token.kind == "word":
            if token.text in _CONSTANTS:
                return Literal(_CONSTANTS[token.text])
            return Function(token.text)
        raise GoSyntaxError(f"{token.text} is out of place")

    def _brackets(self, depth: int) -> Reference:
        inner = self.read(depth + 1)
        if self.peek() != ")":
            raise GoSyntaxError("a bracket is not closed")
        self._at += 1
        following = self._tokens[self._at] if self.peek() is not None else None
        # `(x).Name` is a field of x, but in `(x) .Name` Go sees two operands: rare, and no loss.
        if following and following.kind == "field" and following.text != ".":
            self._at += 1
            return Reference(inner, tuple(following.text[1:].split(".")))
        return Reference(inner)


def _unquoted(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]
    try:
        return str(ast.literal_eval(text))
    except (ValueError, SyntaxError):
        raise GoSyntaxError("a text cannot be read") from None
