"""Source code: blocks follow functions and classes, `place` tells the lines.

By the lines that begin a definition, not by a parser of each language: what is cut wrongly is
still all there.
"""

from __future__ import annotations

import re

from dimora.documents._blocks import Blocks
from dimora.documents._decoding import decoded, is_text
from dimora.documents.base import Budget, Document

NAME = "source code"
ENDINGS = tuple(
    f".{ending}"
    for ending in "py pyi pyx js mjs cjs jsx ts tsx java kt kts groovy gradle scala c h cc cpp cxx"
    " hh hpp cs fs vb go rs rb php swift m mm dart lua pl pm r jl ex exs erl hs clj ml sh bash zsh"
    " fish ps1 bat cmd sql css scss less vue svelte xml xsd xsl yaml yml toml ini cfg conf"
    " properties proto cmake tf asm s f90 pas".split()
)
MEDIA_TYPES = ("text/x-source",)
EXTRA = ""

_WORDS = (
    "def|class|fn|func|function|fun|struct|enum|trait|impl|interface|module|namespace|object|record"
    "|procedure|sub|protocol|extension|type|mod|macro_rules!|package|create|alter|insert"
)
_BEFORE = (
    "public|private|protected|internal|static|final|abstract|async|export|default|const|unsafe"
    "|pub(?:\\([a-z]+\\))?|override|virtual|inline|extern|sealed|open|data|local|partial|suspend"
)
_DEFINITION = re.compile(
    rf"(?P<indent>[ \t]*)(?:(?:{_BEFORE})\s+)*(?:(?:{_WORDS})\b"
    # C and its relatives: a type, a name, and a list of parameters whose line does not end it.
    r"|(?!return|else|new|throw|if|for|while|switch)[A-Za-z_][\w:<>,*&\[\] \t]{0,80}[ \t*&]"
    r"[A-Za-z_~][\w:~]{0,80}\([^;]{0,200}$)",
    re.IGNORECASE,
)
_LONG_LINE = 1000
# What stands above a definition and belongs to it: decorators, attributes, comments.
_ABOVE = re.compile(r"[ \t]*(?:@|#|//|/\*|\*|--|\[\w)")
# A longer block is cut at the definitions within it, or here if there are none.
_LINES = 120


def is_it(head: bytes, name: str) -> bool:
    return name.lower().endswith(ENDINGS) and is_text(head)


def read(data: bytes, name: str, budget: Budget) -> Document:
    lines = decoded(data).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    blocks = Blocks(budget)
    for first, end in _parts(lines):
        while end > first and not lines[end - 1].strip():
            end -= 1
        blocks.add("code", "\n".join(lines[first:end]), place=f"lines {first + 1}-{end}")
    return Document(name=name, media_type=MEDIA_TYPES[0], blocks=blocks.all())


def _parts(lines: list[str]) -> list[tuple[int, int]]:
    """First line and the one after the last, from 0."""
    outer, inner = _beginnings(lines)
    found: list[tuple[int, int]] = []
    for first, end in _between(outer, len(lines)):
        start = first
        # Small definitions within stay together.
        for place, after in _between([p for p in inner if first < p < end], end, first):
            if after - start > _LINES and place > start:
                found.append((start, place))
                start = place
        found += [(at, min(at + _LINES, end)) for at in range(start, end, _LINES)]
    return found


def _beginnings(lines: list[str]) -> tuple[list[int], list[int]]:
    """Where definitions begin, with what stands above them: at the margin, and within."""
    outer: list[int] = []
    inner: list[int] = []
    for number, line in enumerate(lines):
        found = _DEFINITION.match(line) if len(line) < _LONG_LINE else None
        if found is None:
            continue
        first = number
        while first > 0 and _ABOVE.match(lines[first - 1]):
            first -= 1
        (inner if found["indent"] else outer).append(first)
    return outer, inner


def _between(places: list[int], end: int, first: int = 0) -> list[tuple[int, int]]:
    cuts = sorted({first, *places})
    return list(zip(cuts, [*cuts[1:], end], strict=True))
