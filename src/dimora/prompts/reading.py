"""Reads a model's answer as it comes: text, thoughts and tool calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

import msgspec

from dimora.prompts.thinking import Thinking
from dimora.prompts.tool_calls import FALLBACK, SHELF
from dimora.prompts.tool_calls.base import Found, Verdict, read_values

# A call longer than this is read as text: nothing may be held back without end.
_CALL_LIMIT = 256 * 1024
# A candidate is judged again when it is short, or when what came may have completed it.
_SHORT = 96
_COMPLETING = frozenset("}]>`")


class TextOut(msgspec.Struct, frozen=True):
    text: str


class ThoughtOut(msgspec.Struct, frozen=True):
    text: str


class CallOut(msgspec.Struct, frozen=True):
    name: str
    arguments: dict[str, Any]


Piece = TextOut | ThoughtOut | CallOut


class AnswerReader:
    """Cuts an answer into pieces; how the answer is split on the way does not matter.

    `thought_open` says that the prompt ended inside a thought. A thought is read only where the
    answer begins. `tool_format` is the name of a format on the shelf; empty or unknown ones, and
    calls without their tags, are read as bare JSON. Only calls of `tool_names` are calls.
    `schemas` are those of the tools' arguments, for formats whose values are text.
    """

    def __init__(
        self,
        *,
        thinking: Thinking | None,
        thought_open: bool,
        tool_format: str,
        tool_names: frozenset[str],
        schemas: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self._thinking = thinking
        self._text = _TextReader(tool_format, tool_names, schemas or {})
        self._buffer = ""
        self._stage = "text"
        if thinking is not None:
            self._stage = "opened" if thought_open else "start"

    def feed(self, text: str) -> list[Piece]:
        """What is certain after `text`."""
        return self._read(text, ended=False)

    def finish(self) -> list[Piece]:
        """What was held back; the reader is done after this."""
        return self._read("", ended=True)

    def _read(self, text: str, *, ended: bool) -> list[Piece]:
        self._buffer += text
        pieces: list[Piece] = []
        steps = {
            "start": self._read_start,
            "opened": self._read_opened,
            "thought": self._read_thought,
            "closed": self._read_closed,
        }
        while self._stage in steps and steps[self._stage](pieces, ended):
            pass
        if self._stage == "text":
            rest, self._buffer = self._buffer, ""
            pieces.extend(self._text.read(rest, ended=ended))
        return [p for p in _joined(pieces) if not (isinstance(p, TextOut) and not p.text)]

    def _read_start(self, pieces: list[Piece], ended: bool) -> bool:
        """Before the first word: a thought begins, or there is none."""
        opening = self._tags.open
        bare = self._buffer.lstrip()
        if bare.startswith(opening):
            self._buffer = bare[len(opening) :]
            self._stage = "opened"
        elif not ended and opening.startswith(bare):
            return False
        else:
            self._stage = "text"
        return True

    def _read_opened(self, pieces: list[Piece], ended: bool) -> bool:
        """Right after the opening tag, which some models repeat after the prompt wrote it."""
        opening = self._tags.open
        self._buffer = self._buffer.lstrip()
        if self._buffer.startswith(opening):
            self._buffer = self._buffer[len(opening) :]
        elif not ended and opening.startswith(self._buffer):
            return False
        else:
            self._stage = "thought"
        return True

    def _read_thought(self, pieces: list[Piece], ended: bool) -> bool:
        closing = self._tags.close
        thought, tag, rest = self._buffer.partition(closing)
        if tag:
            self._buffer, self._stage = rest, "closed"
        else:
            held = 0 if ended else _held(thought, (closing,))
            at = len(thought) - held
            thought, self._buffer = thought[:at], thought[at:]
        if thought:
            pieces.append(ThoughtOut(thought))
        return bool(tag)

    def _read_closed(self, pieces: list[Piece], ended: bool) -> bool:
        self._buffer = self._buffer.lstrip()
        if not self._buffer and not ended:
            return False
        self._stage = "text"
        return True

    @property
    def _tags(self) -> Thinking:
        return self._thinking or Thinking("", "")


class _TextReader:
    """The part after the thought: text, and calls of the tools there are."""

    def __init__(
        self, tool_format: str, names: frozenset[str], schemas: Mapping[str, Mapping[str, Any]]
    ) -> None:
        self._names = names
        self._schemas = schemas
        self._formats = _formats(tool_format) if names else []
        self._anywhere = [(o, f) for f in self._formats for o in f.OPENERS]
        self._first = self._anywhere + [(o, f) for f in self._formats for o in f.FIRST_OPENERS]
        self._buffer = ""
        self._unjudged = ""
        self._holding = False
        # Nothing but whitespace since the answer began, or since a call.
        self._is_first = True
        self._after_call = False

    def read(self, text: str, *, ended: bool) -> list[Piece]:
        if not self._names:
            return [TextOut(text)]
        self._buffer += text
        self._unjudged += text
        if not ended and self._may_wait():
            return []
        pieces: list[Piece] = []
        while self._take(pieces, ended):
            pass
        self._unjudged = ""
        return pieces

    def _may_wait(self) -> bool:
        """True while a long call is open and nothing came that could complete it."""
        size = len(self._buffer)
        return (
            self._holding and _SHORT < size < _CALL_LIMIT and _COMPLETING.isdisjoint(self._unjudged)
        )

    def _take(self, pieces: list[Piece], ended: bool) -> bool:
        """Take the next text or call from the buffer; False when the rest has to wait."""
        self._holding = False
        at = self._find(ended)
        self._take_words(pieces, at)
        words = len(self._buffer) - len(self._buffer.lstrip())
        candidate = self._buffer[words:]
        matching = [(o, f) for o, f in self._openers if candidate.startswith(o)]
        if not matching:
            return self._end(pieces) if ended else False
        verdict = self._judge(candidate, matching, ended)
        if verdict is Verdict.MORE:
            self._holding = True
            return False
        if isinstance(verdict, Found):
            for name, arguments in verdict.calls:
                if verdict.untyped:
                    arguments = read_values(arguments, self._schemas.get(name, {}))
                pieces.append(CallOut(name, arguments))
            self._buffer = candidate[verdict.end :]
            self._is_first = self._after_call = True
        else:
            opener = max(len(o) for o, _ in matching)
            self._take_words(pieces, words + opener, keep=True)
        return bool(self._buffer)

    @property
    def _openers(self) -> list[tuple[str, ModuleType]]:
        return self._first if self._is_first else self._anywhere

    def _find(self, ended: bool) -> int:
        """Where the first opener stands, or what may become one; else the buffer's end."""
        first_word = len(self._buffer) - len(self._buffer.lstrip())
        if self._is_first:
            word = self._buffer[first_word:]
            openers = [o for o, _ in self._first]
            if any(word.startswith(o) or (o.startswith(word) and not ended) for o in openers):
                return first_word
        found = [at for o, _ in self._anywhere if (at := self._buffer.find(o)) >= 0]
        if found:
            return min(found)
        held = 0 if ended else _held(self._buffer, [o for o, _ in self._anywhere])
        return len(self._buffer) - held

    def _judge(
        self, candidate: str, matching: list[tuple[str, ModuleType]], ended: bool
    ) -> Found | Verdict:
        """What the formats that have one of these openers say; the first with a call wins."""
        whole = ended or len(candidate) >= _CALL_LIMIT
        if not whole and any(o.startswith(candidate) for o, _ in self._openers if o != candidate):
            return Verdict.MORE
        verdicts = []
        for _, module in matching:
            verdict = module.read(candidate[:_CALL_LIMIT], self._names, whole)
            if isinstance(verdict, Found):
                return verdict
            verdicts.append(verdict)
        return Verdict.MORE if Verdict.MORE in verdicts and not whole else Verdict.NO

    def _take_words(self, pieces: list[Piece], at: int, *, keep: bool = False) -> None:
        """Give out the text before `at`, without the whitespace before it unless `keep`."""
        words = self._buffer[:at] if keep else self._buffer[:at].rstrip()
        self._buffer = self._buffer[len(words) :]
        if words:
            pieces.append(TextOut(words))
            self._is_first = self._is_first and not words.strip()

    def _end(self, pieces: list[Piece]) -> bool:
        """Give out the last text; whitespace after a call goes unsaid."""
        if self._buffer.strip() or not (self._after_call and self._is_first):
            self._take_words(pieces, len(self._buffer), keep=True)
        return False


def _formats(tool_format: str) -> list[ModuleType]:
    names = SHELF.names()
    chosen = [tool_format] if tool_format in names and tool_format != FALLBACK else []
    return [SHELF.load(name) for name in (*chosen, FALLBACK)]


def _held(text: str, tags: Iterable[str]) -> int:
    """Length of the longest end of `text` that may begin one of the tags."""
    return max((n for tag in tags for n in range(1, len(tag)) if text.endswith(tag[:n])), default=0)


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Neighbours of one kind as one piece."""
    joined: list[Piece] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if isinstance(piece, TextOut) and isinstance(last, TextOut):
            joined[-1] = TextOut(last.text + piece.text)
        elif isinstance(piece, ThoughtOut) and isinstance(last, ThoughtOut):
            joined[-1] = ThoughtOut(last.text + piece.text)
        else:
            joined.append(piece)
    return joined
