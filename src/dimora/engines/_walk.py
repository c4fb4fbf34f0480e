"""Follows a text through a grammar letter by letter: whether it may go on so, how it must go on,
and what grammar is left."""

from __future__ import annotations

from collections.abc import Iterable

from dimora.engines._expressions import (
    Chain,
    Choice,
    Expression,
    Letter,
    Named,
    Repeat,
    names_in,
    read_rules,
    write_rule,
)

# What is known of places is forgotten when there are so many: texts can be long.
_MOST_PLACES = 20_000
# A text that must go on for ever is told in pieces.
_MOST_FORCED = 2000


class _Place:
    """An expression that comes next, and the place after it; None is the end."""

    __slots__ = ("expression", "rest")

    def __init__(self, expression: Expression, rest: _Place | None) -> None:
        self.expression = expression
        self.rest = rest


class State:
    """Where a text may be in the grammar: at one of several places."""

    __slots__ = ("after", "can_end", "heads", "places")

    def __init__(
        self,
        places: frozenset[_Place | None],
        heads: list[tuple[Letter, _Place | None]],
        can_end: bool,
    ) -> None:
        self.places = places
        # Letters that may follow, each with the place behind it.
        self.heads = heads
        self.can_end = can_end
        self.after: dict[str, State | None] = {}

    @property
    def is_complete(self) -> bool:
        """Nothing can follow."""
        return self.can_end and not self.heads


class Walk:
    """The ways through one grammar; not for several threads at a time."""

    def __init__(self, grammar: str) -> None:
        self._rules = read_rules(grammar)
        self._places: dict[tuple[Expression, _Place | None], _Place] = {}
        self._states: dict[frozenset[_Place | None], State] = {}
        self._written: dict[tuple[str, bool], str] = {}
        self.start = self._state([self._place(self._rules["root"], None)])

    def follow(self, state: State, text: str) -> tuple[int, State]:
        """How many letters of the text the grammar allows, and the state after them."""
        for count, letter in enumerate(text):
            after = state.after.get(letter)
            if after is None:
                if letter in state.after or (found := self._step(state, letter)) is None:
                    return count, state
                after = found
            state = after
        return len(text), state

    def forced(self, state: State) -> tuple[str, State]:
        """The text that must come next, "" where there is a choice, and the state after it."""
        letters: list[str] = []
        while len(letters) < _MOST_FORCED and (letter := _only_letter(state)):
            letters.append(letter)
            state = self.follow(state, letter)[1]
        return "".join(letters), state

    def rest(self, state: State, *, exact: bool) -> str:
        """The grammar of what may follow; where it need not be exact, it is one that engines are
        quick with and that allows longer runs."""
        ways = [_expression_of(place) for place in state.places]
        texts = sorted(write_rule(way, exact=exact) for way in ways)
        lines = [f"root ::= {' | '.join(texts)}\n"]
        known = {"root"}
        todo = [name for way in ways for name in names_in(way)]
        while todo:
            name = todo.pop()
            if name in known:
                continue
            known.add(name)
            lines.append(self._rule(name, exact=exact))
            todo += names_in(self._rules[name])
        return lines[0] + "".join(sorted(lines[1:]))

    def _rule(self, name: str, *, exact: bool) -> str:
        if (name, exact) not in self._written:
            text = write_rule(self._rules[name], exact=exact)
            self._written[name, exact] = f"{name} ::= {text}\n"
        return self._written[name, exact]

    def _step(self, state: State, letter: str) -> State | None:
        code = ord(letter)
        places = [
            place
            for head, place in state.heads
            if any(low <= code <= high for low, high in head.ranges)
        ]
        after = state.after[letter] = self._state(places) if places else None
        return after

    def _place(self, expression: Expression, rest: _Place | None) -> _Place:
        place = self._places.get((expression, rest))
        if place is None:
            place = self._places[expression, rest] = _Place(expression, rest)
        return place

    def _state(self, places: Iterable[_Place | None]) -> State:
        key = frozenset(places)
        state = self._states.get(key)
        if state is None:
            if len(self._places) > _MOST_PLACES:
                self._places.clear()
                self._states.clear()
            state = self._states[key] = State(key, *self._heads(key))
        return state

    def _heads(
        self, places: Iterable[_Place | None]
    ) -> tuple[list[tuple[Letter, _Place | None]], bool]:
        """The letters that may come next, and whether the text may end."""
        heads: list[tuple[Letter, _Place | None]] = []
        todo = list(places)
        seen = set(todo)
        while todo:
            place = todo.pop()
            if place is None:
                continue
            if isinstance(place.expression, Letter):
                heads.append((place.expression, place.rest))
                continue
            new = [each for each in self._opened(place) if each not in seen]
            seen.update(new)
            todo += new
        return heads, None in seen

    def _opened(self, place: _Place) -> list[_Place | None]:
        """The same place, one step nearer to its letters."""
        rest = place.rest
        match place.expression:
            case Named(name=name):
                return [self._place(self._rules[name], rest)]
            case Choice(choices=choices):
                return [self._place(choice, rest) for choice in choices]
            case Chain(parts=parts):
                for part in reversed(parts):
                    rest = self._place(part, rest)
                return [rest]
            case Repeat(part=part, least=least, most=most) as repeat:
                ways = [] if least else [rest]
                if most is None or most > 0:
                    ways.append(self._place(part, self._place(repeat.less(), rest)))
                return ways
            case _:
                return []


def _only_letter(state: State) -> str:
    """The one letter that may follow; "" where there are several, or the text may end."""
    if state.can_end or not state.heads:
        return ""
    only = {head.single for head, _ in state.heads}
    return only.pop() if len(only) == 1 else ""


def _expression_of(place: _Place | None) -> Chain:
    parts: list[Expression] = []
    while place is not None:
        part = place.expression
        parts += part.parts if isinstance(part, Chain) else (part,)
        place = place.rest
    return Chain(tuple(parts))
