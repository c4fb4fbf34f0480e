"""The values a Jinja template works with, kept small enough to be compared, sorted and written.

A list that holds another one twice is twice as large to whoever walks through it, and a few dozen
such steps make one that nobody ever gets to the end of. So everything a template builds knows how
many entries it has inside, and cannot grow beyond a bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2.exceptions import SecurityError
from jinja2.runtime import Undefined
from jinja2.utils import Namespace

from dimora.prompts.limits import MAX_TEXT_BYTES, LimitReached, text_bytes, walk

# The most entries that all lists inside of one value may have together.
MAX_NODES = 100_000
MAX_INTEGER = 2**63
_WRITABLE = (str, int, float, list, tuple, Mapping, type(None), Undefined)


class _Built:
    """A container that knows how many entries are inside; it never changes."""

    # A name that no template reads.
    _entries_inside: int


class _List(list[Any], _Built):
    pass


class _Tuple(tuple[Any, ...], _Built):
    pass


class _Dict(dict[Any, Any], _Built):
    pass


class Values:
    """Of one rendering; `given` are the variables, honest values as JSON has them."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given
        self._known: dict[int, int] | None = None
        self._limit = MAX_NODES

    def checked(self, value: Any) -> Any:
        """The value; a container as one that knows its size.

        Raises LimitReached when it is too large.
        """
        if isinstance(value, int) and abs(value) > MAX_INTEGER:
            raise LimitReached
        if isinstance(value, _Built) or not isinstance(value, list | tuple | dict):
            return value
        nodes = self._nodes(value)
        if nodes > self._limit:
            raise LimitReached
        # Tuples with names are left as they are.
        kinds = {list: _List, tuple: _Tuple, dict: _Dict}
        kind = kinds.get(type(value))
        if kind is None:
            return value
        built = kind(value)
        built._entries_inside = nodes
        return built

    def _nodes(self, value: Any) -> int:
        """How many entries are inside, those of shared containers again and again."""
        if isinstance(value, _Built):
            return value._entries_inside
        if isinstance(value, Namespace):
            raise SecurityError("a namespace holds no other")
        if not isinstance(value, list | tuple | Mapping):
            return 1
        known = self._of_given().get(id(value))
        if known is not None:
            return known
        inside = [*value.keys(), *value.values()] if isinstance(value, Mapping) else value
        return 1 + sum(self._nodes(each) for each in inside)

    def _of_given(self) -> dict[int, int]:
        """The containers among the variables; all live as long as the rendering does."""
        if self._known is None:
            self._known = {}
            everything = list(walk(self._given))
            for each in reversed(everything):
                if isinstance(each, Mapping):
                    inside = [*each.keys(), *each.values()]
                elif isinstance(each, list | tuple):
                    inside = list(each)
                else:
                    continue
                self._known[id(each)] = 1 + sum(self._known.get(id(i), 1) for i in inside)
            self._limit = MAX_NODES + len(everything)
        return self._known


class Notes(Namespace):
    """`namespace()`, which holds plain values only and is never written out as text."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        Namespace.__init__(*args, **kwargs)
        if any(isinstance(value, Namespace) for value in dict(*args[1:], **kwargs).values()):
            raise SecurityError("a namespace holds no other")

    def __setitem__(self, name: str, value: Any) -> None:
        if isinstance(value, Namespace):
            raise SecurityError("a namespace holds no other")
        Namespace.__setitem__(self, name, value)

    def __repr__(self) -> str:
        return "<namespace>"


def weigh(value: Any) -> int:
    """Bytes of a value when it is written out, about.

    Raises LimitReached when that is too long, SecurityError when it is nothing to be written.
    """
    if isinstance(value, str):
        weight = text_bytes(value)
    else:
        weight = 0
        for each in walk(value):
            weight += 8 + text_bytes(each)
            if weight > MAX_TEXT_BYTES:
                break
            if not isinstance(each, _WRITABLE):
                raise SecurityError("this is nothing that can be written")
    if weight > MAX_TEXT_BYTES:
        raise LimitReached
    return weight
