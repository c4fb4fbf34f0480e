"""How things are written at the terminal: sizes, ages, durations, tables, errors."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

import click
import msgspec

from dimora.core.errors import DimoraError

if TYPE_CHECKING:
    from dimora.tasks.knowing import Citation

_SIZES = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "KB"))
_AGES = (
    (86400 * 365, "year"),
    (86400 * 30, "month"),
    (86400 * 7, "week"),
    (86400, "day"),
    (3600, "hour"),
    (60, "minute"),
)
# Spaces between two columns of a table, and what the first may be narrowed to.
_GAP, _NARROW_GAP, _SHORTEST = 4, 2, 26


def size_words(size_bytes: int) -> str:
    """Decimal, as `ollama list` writes it: `98 MB`, `4.7 GB`."""
    for unit, name in _SIZES:
        if size_bytes >= unit:
            amount = size_bytes / unit
            return (
                f"{amount:.1f} {name}" if amount < 10 and unit >= 10**9 else f"{amount:.0f} {name}"
            )
    return f"{size_bytes} B"


def span_words(seconds: float) -> str:
    """`2 days`, `1 hour`, `Less than a minute`."""
    for unit, name in _AGES:
        if seconds >= unit:
            count = int(seconds // unit)
            return f"{count} {name}{'s' if count != 1 else ''}"
    return "Less than a minute" if seconds < 60 else "1 minute"


def age_words(when: float, now: float | None = None) -> str:
    """`2 days ago`, from seconds since 1970."""
    return f"{span_words(max(0.0, (time.time() if now is None else now) - when))} ago"


def until_words(when: float, now: float | None = None) -> str:
    """`4 minutes from now`, `Forever`, `Stopping...`."""
    left = when - (time.time() if now is None else now)
    if left > 86400 * 365 * 10:
        return "Forever"
    return f"{span_words(left)} from now" if left > 0 else "Stopping..."


def duration_words(seconds: float) -> str:
    """As Go prints a duration: `1.5s`, `230.1ms`, `2m3.5s`."""
    if seconds >= 60:
        minutes, rest = divmod(seconds, 60)
        return f"{int(minutes)}m{rest:.3f}".rstrip("0").rstrip(".") + "s"
    if seconds >= 1:
        return f"{seconds:.6f}".rstrip("0").rstrip(".") + "s"
    if seconds >= 1e-3:
        return f"{seconds * 1e3:.4f}".rstrip("0").rstrip(".") + "ms"
    return f"{seconds * 1e6:.1f}µs"


def harmless(text: str, *, prose: bool = False) -> str:
    """The text without what would move the cursor, colour the screen or turn words around: it is
    somebody else's.

    `prose` may have lines, and whatever people write with that only looks like nothing: the
    joiners of emoji, spaces of all widths, letters that are newer than this Python.
    """
    if prose:
        # Before a line end it does nothing, and elsewhere it would write over the line.
        text = text.replace("\r", "")
    return "".join(
        c if c.isprintable() or c == "\t" or (prose and _is_prose(c)) else repr(c)[1:-1]
        for c in text
    )


def _is_prose(letter: str) -> bool:
    return letter in "\n\u200c\u200d" or unicodedata.category(letter) in ("Zs", "Cn", "Co")


def shown(text: str, stream: TextIO) -> str:
    """Somebody else's text for `stream`: harmless at a terminal, and as it is anywhere else."""
    return harmless(text, prose=True) if stream.isatty() else text


def print_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, least: Sequence[str] = ()
) -> None:
    """Columns padded to their widest cell, four spaces apart.

    At a terminal that is too narrow they stand closer, the columns of `least` are left out, the
    first one first, and a long first cell has a line of its own.
    """
    columns = list(zip(heads, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    if sum(widths) + _GAP * (len(widths) - 1) <= room:
        _print_columns(columns, widths, _GAP)
        return
    dropped = []
    for head in (*least, ""):
        widths = [max(map(len, column)) for column in columns]
        first = room - sum(widths[1:]) - _NARROW_GAP * (len(widths) - 1)
        if first >= min(widths[0], _SHORTEST) or not head:
            break
        columns = [column for column in columns if column[0] != head]
        dropped.append(head)
    _print_columns(columns, [max(min(first, widths[0]), len(heads[0])), *widths[1:]], _NARROW_GAP)
    if dropped:
        click.echo(dim(f"without {', '.join(dropped)}: the window is too narrow", sys.stdout))


def _print_columns(columns: Sequence[Sequence[str]], widths: Sequence[int], gap: int) -> None:
    for first, *others in zip(*columns, strict=True):
        if len(first) > widths[0]:
            click.echo(first)
            first = ""
        cells = (cell.ljust(w) for cell, w in zip((first, *others), widths, strict=True))
        click.echo((" " * gap).join(cells).rstrip())


def print_json(value: Any) -> None:
    """Indented JSON of any of our values; an endless time becomes null."""
    told = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    # JSON has to escape the old control characters only; terminals obey these too.
    click.echo(re.sub("[\x7f-\x9f]", lambda found: f"\\u{ord(found[0]):04x}", told))


def show_sources(citations: Sequence[Citation]) -> None:
    """Below an answer: what it stands on, one line each."""
    if citations:
        click.echo("")
    for each in citations:
        click.echo(harmless(f"[{each.number}] {each.passage.where}"))


def wants_colour(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR")


def dim(text: str, stream: TextIO) -> str:
    return f"\x1b[2m{text}\x1b[0m" if wants_colour(stream) else text


def print_error(error: DimoraError) -> None:
    """`Error: what`, and below it what to do."""
    print(f"Error: {shown(error.message, sys.stderr)}", file=sys.stderr)  # noqa: T201
    if error.hint:
        hint = shown(error.hint, sys.stderr)
        print(dim(f"  {hint}", sys.stderr), file=sys.stderr)  # noqa: T201
