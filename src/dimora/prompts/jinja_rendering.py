"""Renders Jinja chat templates, which come with model files and are not to be trusted.

Jinja's sandbox keeps a template from the inside of Python; the limits here keep it from using up
time and memory. Every loop, call, filter, slice and joining of texts spends from one budget, and
everything a template builds is bounded (`jinja_values.py`, `limits.py`).
Imported only when a template is rendered: jinja2 is too slow to import at start.
"""

from __future__ import annotations

import functools
import json
import re
import string
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from types import CodeType
from typing import Any, NoReturn, cast

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from dimora.core.errors import BadRequest
from dimora.prompts.jinja_values import MAX_NODES, Notes, Values, weigh
from dimora.prompts.limits import (
    MAX_TEXT_BYTES,
    Budget,
    LimitReached,
    TemplateStopped,
    text_bytes,
)

MAX_TEMPLATE_CHARACTERS = 256 * 1024
_MAX_RANGE = 10_000
# What compiling costs, in units of some microseconds and 200 bytes: a tag takes many tokens' worth.
_MAX_COMPILE_COST = 60_000
_TAG_COST = 20

# What chat templates use; the others can build large texts out of nothing, or tell of the host.
_FILTERS = (
    "abs capitalize count d default dictsort e escape first float groupby indent int items"
    " last length list lower map max min reject rejectattr replace reverse round safe select"
    " selectattr sort string title trim unique upper urlencode"
).split()
# These look at all that lies in a value; the others only at it from outside.
_LOOKING_INSIDE = frozenset(
    "tojson string e escape replace indent urlencode sort unique groupby dictsort min max".split()
)
# These take a text for a list of its characters.
_BY_CHARACTER = frozenset(
    "groupby list map max min reject rejectattr select selectattr sort unique".split()
)
_GLOBALS = ("dict", "namespace", "range")
_TEXT_METHODS = frozenset(
    "capitalize casefold count endswith find index isalnum isalpha isdigit islower isspace"
    " isupper lower lstrip partition removeprefix removesuffix replace rfind rindex rpartition"
    " rsplit rstrip split splitlines startswith strip swapcase title upper".split()
)
# Methods that may be called, by what they belong to; nothing else that is not ours may.
_METHODS: tuple[tuple[type | tuple[type, ...], frozenset[str]], ...] = (
    (str, _TEXT_METHODS),
    (Mapping, frozenset({"copy", "get", "items", "keys", "values"})),
    ((list, tuple), frozenset({"copy", "count", "index"})),
    (LoopContext, frozenset({"changed", "cycle"})),
)
_ROUNDS = "count_rounds"
_CONCATENATION = "concatenated"
_BUILT = "built"
_SLICED = "sliced"
_BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
# `{}`, `{0}` and `{name}` are all of Python's format language that cannot make a text grow.
_PLAIN_FORMAT = re.compile(r"(?:[^{}]|\{\{|\}\}|\{\w*\})*+")


class _Refused(Exception):
    """The template itself refused these messages."""


def _length(value: Any) -> int:
    """Bytes of a text, entries of a container."""
    return len(value) if isinstance(value, list | tuple | Mapping) else text_bytes(value)


def _growth(name: str, values: list[Any]) -> int:
    """How many bytes of text a filter or method may make of these values, at most."""
    text = values[0] if values and isinstance(values[0], str) else ""
    if name == "replace" and len(values) > 2:
        times = text.count(str(values[1])) if values[1] else len(text) + 1
        return text_bytes(text) + times * text_bytes(str(values[2]))
    if name == "indent" and len(values) > 1:
        width = values[1] if isinstance(values[1], int) else _length(values[1])
        return text_bytes(text) + (text.count("\n") + 1) * width
    if name in ("e", "escape"):
        return text_bytes(text) + 5 * sum(text.count(mark) for mark in "&<>'\"")
    if name == "urlencode":
        return 9 * text_bytes(text)
    return 0


def _pieces(name: str, values: list[Any]) -> int:
    """Into how many pieces a filter or method cuts a text, about."""
    text = values[0] if values and isinstance(values[0], str) else ""
    if name in _BY_CHARACTER:
        return len(text)
    if name == "splitlines":
        return sum(text.count(mark) for mark in _BREAKS)
    if name in ("split", "rsplit"):
        mark = values[1] if len(values) > 1 else None
        if isinstance(mark, str) and mark:
            return text.count(mark)
    if name in ("split", "rsplit", "title"):
        return len(text) // 2 if not text.isascii() else sum(map(text.count, _BETWEEN_WORDS))
    return 0


_BETWEEN_WORDS = string.whitespace + "-({[<"


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox of one rendering; also used to compile, which spends nothing."""

    intercepted_binops = frozenset({"+", "*", "**", "%", "/", "//", "-"})

    def __init__(self, variables: Mapping[str, Any]) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[loopcontrols, _Generation],
            finalize=self._finalize,
            optimized=False,
        )
        self.budget = Budget(variables)
        self._values = Values(variables)
        # Jinja joins what a block or macro has written with this.
        self.concat = self._concat  # type: ignore[method-assign]
        self.globals = {
            "dict": dict,
            "namespace": Notes,
            "range": _limited_range,
            "raise_exception": _raise_exception,
            "strftime_now": _strftime_now,
        }
        self.filters = {name: self._guarded(name, self.filters[name]) for name in _FILTERS}
        self.filters["tojson"] = self._guarded("tojson", _tojson)
        self.filters["join"] = self._join
        self.filters[_ROUNDS] = self._count_rounds
        self.filters[_CONCATENATION] = self._join
        self.filters[_BUILT] = self._made
        self.filters[_SLICED] = self._slice

    @jinja2.pass_context
    def _finalize(self, context: Context, value: Any) -> Any:
        """Before a value is written. The context only keeps Jinja from doing this at compile."""
        weight = weigh(value)
        self.budget.spend(weight)
        if isinstance(value, str):
            return value
        self.budget.require_text(4 * weight)
        return self.budget.keep(str(value))

    def _made(self, value: Any) -> Any:
        """A value the template has made, noted."""
        return self.budget.keep(self._values.checked(value))

    def _guarded(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            own = (jinja2.Environment, Context, nodes.EvalContext)
            values = [a for a in (*args, *kwargs.values()) if not isinstance(a, own)]
            self._spend_on(name, values)
            result = function(*args, **kwargs)
            return result if any(result is value for value in values) else self._made(result)

        return guarded

    def _spend_on(self, name: str, values: list[Any]) -> None:
        look = weigh if name in _LOOKING_INSIDE else _length
        weight = sum(look(v) for v in values)
        self.budget.spend(weight + 1)
        if any(isinstance(v, int) and v > _MAX_RANGE for v in values[1:]):
            raise LimitReached
        if _pieces(name, values) > MAX_NODES:
            raise LimitReached
        self.budget.require_text(6 * weight if name == "tojson" else _growth(name, values))

    def _count_rounds(self, values: Any, cost: int) -> Iterator[Any]:
        for value in values:
            self.budget.spend(cost)
            yield value

    def _slice(self, value: Any, start: Any, stop: Any, step: Any) -> Any:
        if not isinstance(value, str | list | tuple):
            raise SecurityError("this has no parts")
        self.budget.spend(_length(value))
        return self._made(value[start:stop:step])

    def _join(self, values: Iterable[Any], d: str = "", attribute: Any = None) -> str:
        """Jinja's `join`, measuring each text before it is written."""
        texts = []
        size = 0
        for value in values:
            item = self.getitem(value, attribute) if attribute is not None else value
            weight = weigh(item)
            size += weight if isinstance(item, str) else 4 * weight
            size += text_bytes(d)
            self.budget.spend()
            self.budget.require_text(size)
            texts.append(str(item))
        self.budget.spend(size)
        return self.budget.keep(str(d).join(texts))

    def _concat(self, pieces: Iterable[str]) -> str:
        texts = list(pieces)
        size = sum(map(text_bytes, texts))
        self.budget.spend(size)
        self.budget.require_text(size)
        return self.budget.keep("".join(texts))

    def _format(self, form: str, /, *args: Any, **kwargs: Any) -> str:
        if not _PLAIN_FORMAT.fullmatch(form):
            raise SecurityError("this format is not allowed")
        largest = max((weigh(v) for v in (*args, *kwargs.values())), default=0)
        self.budget.spend(len(form))
        self.budget.require_text(text_bytes(form) + form.count("{") * 4 * largest)
        return self.budget.keep(form.format(*args, **kwargs))

    def call(self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Jinja comes here for every call that a template makes."""
        owner = getattr(__obj, "__self__", None)
        name = getattr(__obj, "__name__", "")
        if owner is not None and not any(
            isinstance(owner, kind) and name in names for kind, names in _METHODS
        ):
            raise SecurityError("this method is not allowed")
        values = [owner, *args, *kwargs.values()] if isinstance(owner, str) else []
        self._spend_on(name if values else "", values)
        result = super().call(__context, __obj, *args, **kwargs)
        if owner is not None and (name == "get" or result is owner):
            return result
        return self._made(result)

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, str) and attribute == "format":
            return functools.partial(self._format, str(obj))
        if isinstance(obj, str) and attribute == "join":
            return functools.partial(self._join, d=str(obj))
        return super().getattr(obj, attribute)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        size = _length(left) + _length(right)
        if operator == "*":
            size = _length(left) * _size(right) + _length(right) * _size(left)
        elif operator == "**" and (_size(left) > 2**16 or _size(right) > 16):
            raise LimitReached
        elif operator == "%" and isinstance(left, str):
            raise SecurityError("formatting with % is not allowed")
        # Entries of lists are fewer than bytes of texts may be.
        self.budget.spend(size)
        is_text = isinstance(left, str) or isinstance(right, str)
        self.budget.require_text(size if is_text else size * (MAX_TEXT_BYTES // MAX_NODES))
        return self._made(super().call_binop(context, operator, left, right))


def _size(number: Any) -> int:
    return abs(number) if isinstance(number, int) else 1


class _Generation(Extension):
    """`{% generation %}`, with which some templates mark what a model wrote."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Metering(NodeTransformer):
    """Puts the counting into loops and joined texts of a parsed template."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        if node.recursive:
            raise jinja2.TemplateSyntaxError("recursive loops are not allowed", node.lineno)
        # A round may write what the loop's body says: that much it costs.
        cost = 1 + sum(len(n.data) for n in node.find_all(nodes.TemplateData))
        self.generic_visit(node)
        values = cast(nodes.Expr, node.iter)
        node.iter = _filter(values, _ROUNDS, nodes.Const(cost), lineno=node.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        joined = nodes.List(list(node.nodes), lineno=node.lineno)
        return _filter(joined, _CONCATENATION, lineno=node.lineno)

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filter(node, _BUILT, lineno=node.lineno)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filter(node, _BUILT, lineno=node.lineno)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        # The names of `for key, value in` are a tuple too.
        return _filter(node, _BUILT, lineno=node.lineno) if node.ctx == "load" else node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        nothing = nodes.Const(None, lineno=node.lineno)
        parts = [p or nothing for p in (node.arg.start, node.arg.stop, node.arg.step)]
        return _filter(node.node, _SLICED, *parts, lineno=node.lineno)


def _filter(value: nodes.Expr, name: str, *args: nodes.Expr, lineno: int) -> nodes.Filter:
    return nodes.Filter(value, name, list(args), [], None, None, lineno=lineno)


@functools.lru_cache(maxsize=32)
def _compile(template: str) -> CodeType:
    environment = _Environment({})
    cost = 0
    for _, kind, _ in environment.lex(template):
        cost += _TAG_COST if kind.endswith("_begin") else kind != "whitespace"
        if cost > _MAX_COMPILE_COST:
            raise LimitReached
    tree = _Metering().visit(environment.parse(template))
    return environment.compile(tree)


def check_jinja(template: str) -> None:
    """Raises BadRequest, code `template_error`, for what is no Jinja or too long."""
    if len(template) > MAX_TEMPLATE_CHARACTERS:
        raise _error("the model's chat template is too long")
    try:
        _compile(template)
    except LimitReached:
        raise TemplateStopped from None
    except jinja2.TemplateSyntaxError as why:
        raise _error(f"the model's chat template is broken in line {why.lineno}") from None
    except Exception as why:  # noqa: BLE001 -- anything may come out of somebody else's program
        raise _error(f"the model's chat template is broken ({type(why).__name__})") from None


def render_jinja(template: str, variables: Mapping[str, Any]) -> str:
    """What the template makes of the variables, values as JSON has them.

    Raises:
        BadRequest: code `template_error`; the template is broken or refuses these messages;
            TemplateStopped, when it does more than a chat template has to.
    """
    check_jinja(template)
    try:
        environment = _Environment(variables)
        compiled = jinja2.Template.from_code(environment, _compile(template), environment.globals)
        return _gather(compiled.generate(variables))
    except LimitReached:
        raise TemplateStopped from None
    except _Refused as why:
        # Its words are told only when they are the template's own: never a piece of a prompt.
        words = str(why)[:200]
        reason = f": {words}" if words and words in template else ""
        raise _error(f"the model's chat template refuses these messages{reason}") from None
    except Exception as why:  # noqa: BLE001 -- anything may come out of somebody else's program
        kind = type(why).__name__
        raise _error(f"the model's chat template cannot render these messages ({kind})") from None


def _gather(pieces: Iterable[str]) -> str:
    gathered: list[str] = []
    size = 0
    for piece in pieces:
        size += text_bytes(piece)
        if size > MAX_TEXT_BYTES:
            raise LimitReached
        gathered.append(piece)
    return "".join(gathered)


def _error(message: str) -> BadRequest:
    return BadRequest(
        message,
        hint="send other messages, or give the model another template",
        code="template_error",
    )


def _limited_range(*args: int) -> range:
    numbers = range(*args)
    if len(numbers) > _MAX_RANGE:
        raise LimitReached
    return numbers


def _raise_exception(message: Any) -> NoReturn:
    raise _Refused(message if isinstance(message, str) else "")


def _strftime_now(form: Any) -> str:
    if not re.fullmatch(r"(?:[^%]|%-?[a-zA-Z%]){0,200}", form, re.DOTALL):
        raise LimitReached
    return datetime.now().strftime(form)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Plain JSON, where Jinja's own would write `<` and quotes as escapes for HTML."""
    if isinstance(indent, str) or (indent or 0) > 16:
        raise LimitReached
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
