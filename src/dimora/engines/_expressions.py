"""What a grammar is made of, read from its text and written down again.

The notation is the part of GBNF that our own grammars use.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from dimora.engines._letters import Range, char_class, literal

# Bounds above this are left to who follows the answer: engines pay for each count.
_FEW = 16
_SIGNS = re.compile(
    r'\s*("(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|[a-z][a-z0-9]*|\{\d+(?:,\d*)?\}|[()|*+?])'
)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_TIMES: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}


@dataclass(eq=False, slots=True)
class Letter:
    """One letter out of these ranges."""

    ranges: tuple[Range, ...]

    @property
    def single(self) -> str:
        """The letter itself where no other is meant, "" otherwise."""
        low, high = self.ranges[0]
        return chr(low) if low == high and len(self.ranges) == 1 else ""


@dataclass(eq=False, slots=True)
class Chain:
    """One after another; nothing where there are none."""

    parts: tuple[Expression, ...]


@dataclass(eq=False, slots=True)
class Choice:
    """One of these."""

    choices: tuple[Expression, ...]


@dataclass(eq=False, slots=True)
class Repeat:
    """From `least` to `most` times, None without end."""

    part: Expression
    least: int
    most: int | None
    _less: Repeat | None = field(default=None, repr=False)

    def less(self) -> Repeat:
        """What is left of it after one time; always the same object."""
        if self._less is None:
            most = None if self.most is None else self.most - 1
            endless = most is None and not self.least
            self._less = self if endless else Repeat(self.part, max(0, self.least - 1), most)
        return self._less


@dataclass(eq=False, slots=True)
class Named:
    """The rule of this name."""

    name: str


Expression = Letter | Chain | Choice | Repeat | Named


def read_rules(grammar: str) -> dict[str, Expression]:
    """The rules of a grammar, by name."""
    rules = {}
    for line in grammar.splitlines():
        name, _, text = line.partition(" ::= ")
        rules[name] = _Reader(text).choice()
    return rules


class _Reader:
    """Recursive descent over the signs of one rule."""

    def __init__(self, text: str) -> None:
        self._signs = _SIGNS.findall(text)
        self._at = 0

    def choice(self) -> Expression:
        choices = [self._chain()]
        while self._peek() == "|":
            self._at += 1
            choices.append(self._chain())
        return choices[0] if len(choices) == 1 else Choice(tuple(choices))

    def _peek(self) -> str:
        return self._signs[self._at] if self._at < len(self._signs) else ""

    def _chain(self) -> Expression:
        parts: list[Expression] = []
        while self._peek() not in ("", "|", ")"):
            part = self._repeated(self._one())
            parts += part.parts if isinstance(part, Chain) else (part,)
        return parts[0] if len(parts) == 1 else Chain(tuple(parts))

    def _one(self) -> Expression:
        sign = self._peek()
        self._at += 1
        if sign == "(":
            inner = self.choice()
            self._at += 1
            return inner
        if sign[0] == '"':
            codes = [code for code, _ in _codes(sign[1:-1])]
            letters: list[Expression] = [Letter(((code, code),)) for code in codes]
            return letters[0] if len(letters) == 1 else Chain(tuple(letters))
        if sign[0] == "[":
            return Letter(tuple(_ranges(sign[1:-1])))
        return Named(sign)

    def _repeated(self, part: Expression) -> Expression:
        sign = self._peek()
        if sign[:1] not in ("*", "+", "?", "{") or not sign:
            return part
        self._at += 1
        if sign in _TIMES:
            return Repeat(part, *_TIMES[sign])
        least, comma, most = sign[1:-1].partition(",")
        return Repeat(part, int(least), int(most) if most else None if comma else int(least))


def _codes(text: str) -> Iterator[tuple[int, bool]]:
    """Code points, and whether each was escaped."""
    at = 0
    while at < len(text):
        escape = _ESCAPE.match(text, at)
        if escape is None:
            yield ord(text[at]), False
            at += 1
            continue
        short, long, sign = escape.groups()
        yield ({"n": 0x0A, "r": 0x0D, "t": 0x09}.get(sign, ord(sign)) if sign
               else int(short or long, 16)), True  # fmt: skip
        at = escape.end()


def _ranges(text: str) -> Iterator[Range]:
    codes = list(_codes(text))
    at = 0
    while at < len(codes):
        low = codes[at][0]
        if at + 2 < len(codes) and codes[at + 1] == (ord("-"), False):
            yield low, codes[at + 2][0]
            at += 3
        else:
            yield low, low
            at += 1


def write_rule(expression: Expression, *, exact: bool) -> str:
    """The text of a rule. Where it need not be exact, long runs lose their bounds."""
    if isinstance(expression, Choice):
        return " | ".join(write_rule(each, exact=exact) for each in expression.choices)
    if not isinstance(expression, Chain):
        return _write(expression, exact=exact)
    words: list[str] = []
    for plain, parts in itertools.groupby(expression.parts, lambda part: bool(_single(part))):
        if plain:
            words.append(literal("".join(map(_single, parts))))
        else:
            words += [_write(part, exact=exact) for part in parts]
    return " ".join(words) or '""'


def _write(expression: Expression, *, exact: bool) -> str:
    match expression:
        case Letter(ranges=ranges, single=single):
            return literal(single) if single else char_class(ranges)
        case Named(name=name):
            return name
        case Repeat(part=part, least=least, most=most):
            return _write_repeat(_write(part, exact=exact), least, most, exact=exact)
        case _:
            return f"({write_rule(expression, exact=exact)})"


def _write_repeat(part: str, least: int, most: int | None, *, exact: bool) -> str:
    if not exact:
        least = min(least, _FEW)
        most = None if most is None or most > _FEW else most
    if most == 0:
        return '""'
    if most is None:
        return f"{part}{{{least}}} {part}*" if least else f"{part}*"
    return f"{part}{{{least},{most}}}" if least != most else f"{part}{{{least}}}"


def _single(expression: Expression) -> str:
    return expression.single if isinstance(expression, Letter) else ""


def names_in(expression: Expression) -> Iterator[str]:
    """The rules it needs itself."""
    match expression:
        case Named(name=name):
            yield name
        case Chain(parts=parts) | Choice(choices=parts):
            for part in parts:
                yield from names_in(part)
        case Repeat(part=part):
            yield from names_in(part)
