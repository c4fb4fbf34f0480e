"""Texts with places for parameters: `{name}`; a brace itself is written twice.

Not a kind of tool itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

import msgspec

_PARTS = re.compile(r"\{\{|\}\}|\{([a-z][a-z0-9_]*)\}|[{}]")


class Template(msgspec.Struct, frozen=True):
    """Pieces of text, and the names that stand between them: text, name, text, ..., text."""

    pieces: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return self.pieces[1::2]

    def fill(
        self, values: Mapping[str, str], change: Callable[[str], str] = lambda text: text
    ) -> str | None:
        """The text, each value changed first; None where one of its parameters was left out."""
        if any(name not in values for name in self.names):
            return None
        return "".join(
            change(values[piece]) if at % 2 else piece for at, piece in enumerate(self.pieces)
        )


def read_template(text: str, known: Collection[str]) -> Template:
    """Raises ValueError for a single brace, or a name that no parameter has."""
    pieces, at = [""], 0
    for found in _PARTS.finditer(text):
        pieces[-1] += text[at : found.start()]
        at = found.end()
        if found[0] in ("{{", "}}"):
            pieces[-1] += found[0][0]
        elif found[1] is None:
            raise ValueError("a brace stands alone; write it twice, or a parameter within")
        elif found[1] not in known:
            raise ValueError(f"there is no parameter {found[1]!r}")
        else:
            pieces += [found[1], ""]
    pieces[-1] += text[at:]
    return Template(tuple(pieces))
