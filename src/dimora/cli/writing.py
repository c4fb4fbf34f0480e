"""Writes an answer as it comes: thoughts dim, lines wrapped, figures at the end."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from typing import TextIO

from dimora.cli.words import duration_words, wants_colour
from dimora.core.types import Event, Queued, Usage
from dimora.tasks.generation import CallPiece, Fold, TextPiece, ThoughtPiece

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


class Wrapper:
    """Breaks lines between words at a width; 0 never breaks. Text comes in pieces."""

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
                out.append(self._place())
                if letter == "\n" or self._column + 1 < self._width:
                    out.append(letter)
                    self._column = 0 if letter == "\n" else self._column + 1
                else:
                    out.append("\n")
                    self._column = 0
            else:
                self._word += letter
        return "".join(out)

    def finish(self) -> str:
        return self._place()

    def _place(self) -> str:
        word, self._word = self._word, ""
        broken = "\n" if self._column and self._column + len(word) > self._width else ""
        self._column = len(word) + (0 if broken else self._column)
        return broken + word


def write_answer(
    events: Iterable[Event],
    *,
    out: TextIO = sys.stdout,
    wordwrap: bool = True,
    hide_thinking: bool = False,
) -> Fold:
    """Write what comes; returns the whole answer. On KeyboardInterrupt what came so far."""
    width = shutil.get_terminal_size().columns if wordwrap and out.isatty() else 0
    wrapper = Wrapper(width)
    gathered: list[Event] = []
    thinking = False
    try:
        for event in events:
            gathered.append(event)
            match event:
                case Queued(place=place) if sys.stderr.isatty() and place > 1:
                    print(f"waiting, place {place} in the queue", file=sys.stderr)  # noqa: T201
                case ThoughtPiece(text=text) if not hide_thinking:
                    if not thinking:
                        out.write(_DIM if wants_colour(out) else "Thinking...\n")
                        thinking = True
                    out.write(wrapper.feed(text))
                case TextPiece(text=text):
                    if thinking:
                        out.write(wrapper.finish() + _end_of_thought(out))
                        thinking = False
                    out.write(wrapper.feed(text))
                case CallPiece(call=call):
                    out.write(f"{call.name}({call.arguments})\n")
            out.flush()
    except KeyboardInterrupt:
        if thinking and wants_colour(out):
            out.write(_PLAIN)
    out.write(wrapper.finish())
    out.write("\n")
    out.flush()
    return Fold.of(gathered)


def _end_of_thought(out: TextIO) -> str:
    return f"{_PLAIN}\n\n" if wants_colour(out) else "\n...done thinking.\n\n"


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
            rows.append((f"{name} duration", duration_words(seconds)))
            rate = tokens / seconds if seconds else 0.0
            rows.append((f"{name} rate", f"{rate:.2f} tokens/s"))
    return "\n".join(f"{name + ':':<22}{value}" for name, value in rows)
