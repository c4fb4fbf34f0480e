"""Asks a model for the translation of lines, keeps what must be kept, and notes what is doubtful.

Not a task itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from dimora.tasks.ready._desk import Desk, quoted
from dimora.tasks.ready._faithful import numbers_of
from dimora.tasks.ready._placeholders import (
    between,
    holds_choice,
    mask,
    placeholders_of,
    put_together,
    unmask,
)

# What is longer is translated a few sentences at a time.
_CHARACTERS_AT_ONCE = 1200
# Most languages need less than half as much again; what is much longer is talk about the words.
_LONGER_AT_MOST = 2.5
_SHORT_CHARACTERS = 40
# Shorter lines are often the same in both languages: names, titles.
_STAYING_WORDS = 4


class Translator:
    """Translates lines, each for itself."""

    def __init__(
        self, desk: Desk, words: Mapping[str, str], target: str, tone: str, glossary: dict[str, str]
    ) -> None:
        self.notes: list[str] = []
        self._desk = desk
        self._words = words
        self._target = words.get(target, target)
        self._tone = words[tone] if tone else ""
        self._glossary = glossary

    async def line(self, text: str, number: int) -> str:
        """One line, with all its placeholders."""
        masked, kept = mask(text)
        told = unmask(await self._long(masked), kept)
        if told is None:
            told = await self._piecewise(text)
        self._look_at(text, told, number)
        return told

    async def stretches(self, parts: Sequence[str], number: int) -> list[str]:
        """Parts of one line that look different, as many as there were.

        The line is translated as a whole with a mark where its look changes; where the marks do
        not come back in their order, each part is translated for itself.
        """
        whole = "".join(parts)
        marked = "".join(f"{'<r>' if at else ''}{part}" for at, part in enumerate(parts))
        if len(parts) > 1 and "<r>" not in whole:
            masked, kept = mask(marked)
            told = unmask(await self._long(masked), kept)
            found = told.split("<r>") if told is not None else []
            if len(found) == len(parts) and all(
                new.strip() or not old.strip() for new, old in zip(found, parts, strict=True)
            ):
                self._look_at(whole, "".join(found), number)
                return found
        return [await self._apart(part, number) for part in parts]

    async def _apart(self, part: str, number: int) -> str:
        """One part with the blanks around it."""
        words = part.strip()
        if not any(piece.speaks for piece in between(words)):
            return part
        start = part.index(words)
        return part[:start] + await self.line(words, number) + part[start + len(words) :]

    def _look_at(self, text: str, told: str, number: int) -> None:
        notes = []
        if numbers_of(told) != numbers_of(text):
            notes.append("the numbers differ")
        for source, wanted in self._used(text).items():
            if wanted.casefold() not in told.casefold():
                notes.append(f"the glossary's {source!r} was not kept")
        if holds_choice(text):
            notes.append("a plural or choice stayed as it was")
        elif told.casefold() == text.casefold() and len(text.split()) >= _STAYING_WORDS:
            notes.append("it stayed as it was")
        if len(told) > max(_LONGER_AT_MOST * len(text), len(text) + _SHORT_CHARACTERS):
            notes.append("it is much longer than before")
        self.notes += [f"line {number}: {note}" for note in notes]

    async def _piecewise(self, text: str) -> str:
        pieces = between(text)
        for piece in pieces:
            if piece.speaks:
                told = await self._long(piece.text)
                # No placeholder may come out of words that had none.
                piece.text = piece.text if placeholders_of(told) else told
        return put_together(pieces)

    async def _long(self, text: str) -> str:
        """A text of any length, a few sentences at a time."""
        parts: list[str] = []
        for sentence in re.findall(r".+?(?:[.!?…]\s+|$)", text, re.DOTALL) or [text]:
            if parts and len(parts[-1]) + len(sentence) <= _CHARACTERS_AT_ONCE:
                parts[-1] += sentence
            else:
                parts.append(sentence)
        return " ".join([await self._ask(part.strip()) for part in parts])

    async def _ask(self, text: str) -> str:
        rules = self._tone + "".join(
            self._words["glossary"].format(source=source, wanted=wanted)
            for source, wanted in self._used(text).items()
        )
        system = self._words["system"].format(target=self._target, rules=rules)
        question = f"{self._words['ask'].format(target=self._target)}\n\n{quoted(text)}"
        size = await self._desk.count(text)
        answer = await self._desk.write(system, question, most_tokens=3 * size + 32)
        lines = [re.sub(r"</?text>", "", line).strip() for line in answer.text.splitlines()]
        told = " ".join(line for line in lines if line)
        return told or text

    def _used(self, text: str) -> dict[str, str]:
        return {s: w for s, w in self._glossary.items() if s.casefold() in text.casefold()}
