"""Renders Jinja chat templates, which come with model files and are not to be trusted.

Jinja's sandbox keeps a template from the inside of Python; the limits here keep it from using up
time and memory. Every loop, call, filter and joining of texts spends from one budget.
Imported only when a template is rendered: jinja2 is too slow to import at start.
"""

from __future__ import annotations

import functools
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from types import CodeType
from typing import Any, NoReturn, cast

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from dimora.core.errors import BadRequest

MAX_TEMPLATE_CHARACTERS = 256 * 1024
MAX_OUTPUT_CHARACTERS = 8 * 2**20
_MAX_STEPS = 1_000_000
_MAX_COST = 512 * 2**20
_MAX_SECONDS = 5.0
_MAX_RANGE = 10_000
_MAX_ITEMS = 100_000
_MAX_INTEGER = 2**63

# What chat templates use; the others can build large texts out of nothing, or tell of the host.
_FILTERS = (
    "abs capitalize count d default dictsort e escape first float groupby indent int items"
    " last length list lower map max min reject rejectattr replace reverse round safe select"
    " selectattr sort string title trim unique upper urlencode"
).split()
# These write out all that lies in a value; the others only look at it from outside.
_WRITING = frozenset({"tojson", "string", "e", "escape", "replace", "indent", "urlencode"})
_GLOBALS = ("dict", "namespace", "range")
_TEXT_METHODS = frozenset(
    "capitalize casefold count endswith find index isalnum isalpha isdigit islower isspace"
    " isupper lower lstrip partition removeprefix removesuffix replace rfind rindex rpartition"
    " rsplit rstrip split splitlines startswith strip swapcase title upper".split()
)
_ROUNDS = "count_rounds"
_CONCATENATION = "concatenated"
# `{}`, `{0}` and `{name}` are all of Python's format language that cannot make a text grow.
_PLAIN_FORMAT = re.compile(r"(?:[^{}]|\{\{|\}\}|\{\w*\})*+")


class _LimitReached(Exception):
    """The template does more than any honest one."""


class _Refused(Exception):
    """The template itself refused these messages."""


class _Budget:
    """What one rendering may still spend."""

    def __init__(self) -> None:
        self._steps = _MAX_STEPS
        self._cost = _MAX_COST
        self._deadline = time.monotonic() + _MAX_SECONDS

    def spend(self, cost: int = 1) -> None:
        """One step that handles `cost` characters. Raises _LimitReached."""
        self._steps -= 1
        self._cost -= cost
        if self._steps < 0 or self._cost < 0 or cost > MAX_OUTPUT_CHARACTERS:
            raise _LimitReached
        looks_at_clock = cost > 2**16 or self._steps % 64 == 0
        if looks_at_clock and time.monotonic() > self._deadline:
            raise _LimitReached


def _weigh(value: Any) -> int:
    """Characters of a value when it is written out. Raises _LimitReached when that is too long."""
    waiting = [value]
    weight = 0
    while waiting:
        each = waiting.pop()
        weight += 1 + _length(each)
        if isinstance(each, Mapping):
            waiting.extend(each.keys())
            waiting.extend(each.values())
        elif isinstance(each, list | tuple):
            waiting.extend(each)
        elif isinstance(each, int) and abs(each) > _MAX_INTEGER:
            raise _LimitReached
        if weight > MAX_OUTPUT_CHARACTERS:
            raise _LimitReached
    return weight


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str | list | tuple | Mapping) else 0


def _bounded(value: Any) -> Any:
    """The value. Raises _LimitReached when it has grown beyond reason."""
    if isinstance(value, str):
        if len(value) > MAX_OUTPUT_CHARACTERS:
            raise _LimitReached
    elif isinstance(value, int):
        if abs(value) > _MAX_INTEGER:
            raise _LimitReached
    elif _length(value) > _MAX_ITEMS:
        raise _LimitReached
    return value


def _growth(name: str, values: list[Any]) -> int:
    """How long a text a filter or method may make of these values, at most."""
    if name == "replace" and len(values) > 2:
        return (_length(values[0]) + 1) * (_length(values[2]) + 1)
    if name == "indent" and len(values) > 1:
        width = values[1] if isinstance(values[1], int) else _length(values[1])
        return (str(values[0]).count("\n") + 1) * width
    if name in ("split", "rsplit", "splitlines"):
        # Each piece becomes an item, which takes as much as many characters.
        mark = values[1] if len(values) > 1 and values[1] else " "
        items = str(values[0]).count(str(mark))
        return items * (MAX_OUTPUT_CHARACTERS // _MAX_ITEMS)
    return 0


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox of one rendering; also used to compile, which spends nothing."""

    intercepted_binops = frozenset({"+", "*", "**", "%", "/", "//", "-"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[loopcontrols, _Generation],
            finalize=self._finalize,
            optimized=False,
        )
        self.budget = _Budget()
        self.globals = {name: self.globals[name] for name in _GLOBALS}
        self.globals |= {
            "range": _limited_range,
            "raise_exception": _raise_exception,
            "strftime_now": _strftime_now,
        }
        self.filters = {name: self._guarded(name, self.filters[name]) for name in _FILTERS}
        self.filters["tojson"] = self._guarded("tojson", _tojson)
        self.filters["join"] = self._join
        self.filters[_ROUNDS] = self._count_rounds
        self.filters[_CONCATENATION] = self._join

    @jinja2.pass_context
    def _finalize(self, context: Context, value: Any) -> Any:
        """Before a value is written. The context only keeps Jinja from doing this at compile."""
        self.budget.spend(_weigh(value))
        return value

    def _guarded(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            own = (jinja2.Environment, Context, nodes.EvalContext)
            self._spend_on(name, [a for a in (*args, *kwargs.values()) if not isinstance(a, own)])
            return _bounded(function(*args, **kwargs))

        return guarded

    def _spend_on(self, name: str, values: list[Any]) -> None:
        weigh = _weigh if name in _WRITING else _length
        self.budget.spend(sum(weigh(v) for v in values) + 1)
        if any(isinstance(v, int) and v > _MAX_RANGE for v in values[1:]):
            raise _LimitReached
        self.budget.spend(_growth(name, values))

    def _count_rounds(self, values: Any, cost: int) -> Iterator[Any]:
        for value in values:
            self.budget.spend(cost)
            yield value

    def _join(self, values: Iterable[Any], d: str = "", attribute: Any = None) -> str:
        """Jinja's `join`, measuring each text before it is written."""
        texts = []
        size = 0
        for value in values:
            item = self.getitem(value, attribute) if attribute is not None else value
            size += _weigh(item) + len(d)
            if size > MAX_OUTPUT_CHARACTERS:
                raise _LimitReached
            texts.append(str(item))
        self.budget.spend(size)
        return str(d).join(texts)

    def _format(self, form: str, /, *args: Any, **kwargs: Any) -> str:
        if not _PLAIN_FORMAT.fullmatch(form):
            raise jinja2.exceptions.SecurityError("this format is not allowed")
        largest = max((_weigh(v) for v in (*args, *kwargs.values())), default=0)
        self.budget.spend(len(form) + form.count("{") * largest)
        return form.format(*args, **kwargs)

    def call(self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Jinja comes here for every call that a template makes."""
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, str):
            name = getattr(__obj, "__name__", "")
            if name not in _TEXT_METHODS:
                raise jinja2.exceptions.SecurityError("this method of text is not allowed")
            self._spend_on(name, [owner, *args, *kwargs.values()])
        else:
            self.budget.spend()
        result = super().call(__context, __obj, *args, **kwargs)
        self.budget.spend(_length(result))
        return _bounded(result)

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, str) and attribute == "format":
            return functools.partial(self._format, str(obj))
        if isinstance(obj, str) and attribute == "join":
            return functools.partial(self._join, d=str(obj))
        return super().getattr(obj, attribute)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        self.budget.spend(_length(left) + _length(right))
        if operator == "*":
            self.budget.spend(_length(left) * _size(right) + _length(right) * _size(left))
        elif operator == "**" and (_size(left) > 2**16 or _size(right) > 16):
            raise _LimitReached
        elif operator == "%" and isinstance(left, str):
            raise jinja2.exceptions.SecurityError("formatting with % is not allowed")
        return _bounded(super().call_binop(context, operator, left, right))


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


def _filter(value: nodes.Expr, name: str, *args: nodes.Expr, lineno: int) -> nodes.Filter:
    return nodes.Filter(value, name, list(args), [], None, None, lineno=lineno)


@functools.lru_cache(maxsize=32)
def _compile(template: str) -> CodeType:
    environment = _Environment()
    tree = _Metering().visit(environment.parse(template))
    return environment.compile(tree)


def check_jinja(template: str) -> None:
    """Raises BadRequest, code `template_error`, for what is no Jinja or too long."""
    if len(template) > MAX_TEMPLATE_CHARACTERS:
        raise _error("the model's chat template is too long")
    try:
        _compile(template)
    except jinja2.TemplateSyntaxError as why:
        raise _error(f"the model's chat template is broken in line {why.lineno}") from None
    except Exception as why:  # noqa: BLE001 -- anything may come out of somebody else's program
        raise _error(f"the model's chat template is broken ({type(why).__name__})") from None


def render_jinja(template: str, variables: Mapping[str, Any]) -> str:
    """What the template makes of the variables.

    Raises:
        BadRequest: code `template_error`; the template is broken, refuses these messages, or does
            more than a chat template has to.
    """
    check_jinja(template)
    try:
        environment = _Environment()
        compiled = jinja2.Template.from_code(environment, _compile(template), environment.globals)
        return _gather(compiled.generate(variables))
    except _LimitReached:
        raise _error("the model's chat template does more than a chat template may") from None
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
        size += len(piece)
        if size > MAX_OUTPUT_CHARACTERS:
            raise _LimitReached
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
        raise _LimitReached
    return numbers


def _raise_exception(message: Any) -> NoReturn:
    raise _Refused(message)


def _strftime_now(form: str) -> str:
    if not re.fullmatch(r"(?:[^%]|%-?[a-zA-Z%]){0,200}", str(form), re.DOTALL):
        raise _LimitReached
    return datetime.now().strftime(form)


def _format(form: str, /, *args: Any, **kwargs: Any) -> str:
    if not _PLAIN_FORMAT.fullmatch(form):
        raise jinja2.exceptions.SecurityError("this format is not allowed")
    return form.format(*args, **kwargs)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Plain JSON, where Jinja's own would write `<` and quotes as escapes for HTML."""
    if isinstance(indent, str) or (indent or 0) > 16:
        raise _LimitReached
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
