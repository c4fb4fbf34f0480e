"""Writes an answer as it comes: thoughts dim, lines wrapped, figures at the end."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from typing import TextIO
from unicodedata import combining, east_asian_width

from dimora.cli.words import duration_words, shown, wants_colour
from dimora.core.errors import DimoraError
from dimora.core.types import Event, Queued, Usage
from dimora.tasks.generation import CallPiece, Fold, TextPiece, ThoughtPiece

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


class Wrapper:
    """Breaks lines between words at a width in cells; 0 never breaks. Text comes in pieces.

    Wide letters, as Chinese and Japanese are written with, are words of their own.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._column = 0
        self._word = ""

    def feed(self, text: str) -> str:
        if not self._width:
            return text
        out = []
        for letter in text:
            if letter in " \n":
                out.append(self._place() + self._space(letter))
            elif cells_of(letter) > 1:
                out.append(self._place())
                self._word = letter
                out.append(self._place())
            else:
                self._word += letter
        return "".join(out)

    def finish(self) -> str:
        return self._place()

    def _space(self, letter: str) -> str:
        fits = letter == " " and self._column + 1 < self._width
        self._column = self._column + 1 if fits else 0
        return " " if fits else "\n"

    def _place(self) -> str:
        word, self._word = self._word, ""
        cells = cells_of(word)
        broken = "\n" if self._column and self._column + cells > self._width else ""
        self._column = cells + (0 if broken else self._column)
        return broken + word


def cells_of(text: str) -> int:
    """How many places of a terminal the text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1 for letter in text
    )


class _Pen:
    """Writes pieces of one answer, and knows whether it is in a thought."""

    def __init__(self, out: TextIO, width: int, *, hide_thinking: bool) -> None:
        self._out = out
        self._wrapper = Wrapper(width)
        self._hide_thinking = hide_thinking
        self._thinking = False
        self.wrote = False

    def write(self, event: Event) -> None:
        match event:
            case Queued(place=place) if sys.stderr.isatty() and place > 1:
                print(f"waiting, place {place} in the queue", file=sys.stderr)  # noqa: T201
            case ThoughtPiece(text=text) if not self._hide_thinking:
                if not self._thinking:
                    self._thinking = True
                    self._put(_DIM if wants_colour(self._out) else "Thinking...\n")
                self._put(self._wrapper.feed(shown(text, self._out)))
            case TextPiece(text=text):
                self._end_thought("\n\n")
                self._put(self._wrapper.feed(shown(text, self._out)))
            case CallPiece(call=call):
                self._end_thought("\n\n")
                told = shown(f"{call.name}({call.arguments})", self._out)
                self._put(f"{self._wrapper.finish()}{told}\n")

    def end(self) -> None:
        """Leaves the terminal as it was, on a line of its own."""
        self._end_thought("")
        self._put(self._wrapper.finish() + "\n")

    def _end_thought(self, gap: str) -> None:
        if self._thinking:
            self._thinking = False
            mark = _PLAIN if wants_colour(self._out) else "\n...done thinking."
            self._put(self._wrapper.finish() + mark + gap)
            # The gap begins a new line, which the wrapper has to know.
            self._wrapper.feed(gap)

    def _put(self, text: str) -> None:
        if text:
            self.wrote = True
            self._out.write(text)
            self._out.flush()


def write_answer(
    events: Iterable[Event],
    *,
    out: TextIO = sys.stdout,
    wordwrap: bool = True,
    hide_thinking: bool = False,
) -> Fold:
    """Write what comes; returns the whole answer. On KeyboardInterrupt what came so far."""
    width = shutil.get_terminal_size().columns if wordwrap and out.isatty() else 0
    pen = _Pen(out, width, hide_thinking=hide_thinking)
    gathered: list[Event] = []
    try:
        for event in events:
            gathered.append(event)
            pen.write(event)
    except KeyboardInterrupt:
        pass
    except DimoraError:
        if pen.wrote:
            pen.end()
        raise
    pen.end()
    return Fold.of(gathered)


def figures(usage: Usage) -> str:
    """What `--verbose` tells, in the lines people know."""
    rows = [("total duration", duration_words(usage.total_seconds))]
    if usage.load_seconds:
        rows.append(("load duration", duration_words(usage.load_seconds)))
    for name, tokens, seconds in (
        ("prompt eval", usage.prompt_tokens, usage.prompt_seconds),
        ("eval", usage.output_tokens, usage.output_seconds),
    ):
        if tokens:
            rows.append((f"{name} count", f"{tokens} token(s)"))
            if seconds:
                rows.append((f"{name} duration", duration_words(seconds)))
                rows.append((f"{name} rate", f"{tokens / seconds:.2f} tokens/s"))
    return "\n".join(f"{name + ':':<22}{value}" for name, value in rows)
