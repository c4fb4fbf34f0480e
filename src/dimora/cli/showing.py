"""Shows the result of a ready task at the terminal, or writes it to a file."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

import click

from dimora.cli.words import harmless
from dimora.core.errors import BadRequest

# What is longer is easier to read one thing a line.
_LINE_CHARACTERS = 100
_NOTHING: tuple[Any, ...] = (None, "", [], (), {})


def show_result(result: dict[str, Any]) -> None:
    """The first thing of a result is what the work was for: it alone goes to standard output when
    that is no terminal, so that a diff or a translation can be piped; all else goes beside it."""
    (_, main), *others = result.items()
    words = _words(main) if main not in _NOTHING else "-"
    click.echo(words, nl=not words.endswith("\n"))
    if rest := _named(others):
        click.echo(f"\n{rest}", err=not sys.stdout.isatty())


def save_result(result: dict[str, Any], path: Path, *, whole: bool) -> None:
    """The first thing of a result into a file, as it is; `whole`: it is a file in base64.

    Raises BadRequest where it cannot be written.
    """
    (_, main), *others = result.items()
    text = main if isinstance(main, str) else f"{_words(main)}\n"
    try:
        path.write_bytes(base64.b64decode(text) if whole else text.encode())
    except OSError as why:
        raise BadRequest(f"{path.name} cannot be written: {why.strerror}", param="save") from None
    if rest := _named(others):
        click.echo(rest, err=True)


def _named(others: list[tuple[str, Any]]) -> str:
    shown = [(name, _words(value)) for name, value in others if value not in _NOTHING]
    return "\n".join(f"{n}:{chr(10) if v.startswith('- ') else ' '}{v}" for n, v in shown)


def _words(value: Any) -> str:
    if isinstance(value, str):
        return harmless(value, prose=True)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, list | tuple):
        return "\n".join(f"- {_words(v)}" for v in value)
    if isinstance(value, dict):
        return _fields(value)
    return f"{value}"


def _fields(value: dict[str, Any]) -> str:
    """On one line where they are short, else each on its own."""
    told = [(n, v) for n, v in value.items() if v not in _NOTHING and v != -1]
    line = ", ".join(f"{n} {_inline(v)}" for n, v in told)
    if len(line) <= _LINE_CHARACTERS and "\n" not in line:
        return line
    return "\n  ".join(f"{n}: {_inline(v)}" for n, v in told)


def _inline(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "; ".join(_inline(v) for v in value)
    return _words(value).replace("\n", "\n    ")
