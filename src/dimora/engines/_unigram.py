"""Cuts texts into the pieces of a unigram vocabulary: the very tokens that llama.cpp makes.

The best cut of a text is the one whose pieces have the largest sum of log-probabilities (arxiv.org/
abs/1808.06226, found as in Viterbi's algorithm). No piece goes on over a space, so each word has a
best cut of its own, and that is remembered: most words of a text were seen before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED = 1, 2, 3, 4, 5
_SPECIAL = (UNKNOWN, CONTROL, USER_DEFINED)
_MATCHED = (NORMAL, USER_DEFINED, UNUSED)
# As in llama.cpp: less likely than the least likely piece, by this much.
_UNKNOWN_PENALTY = 10.0
_SPACE = "▁"
_REMEMBERED_WORDS = 100_000
_REMEMBERED_CHARACTERS = 40
# Two sums this near are equal but for the order they were added in, and that order decides.
_TIE = 1e-8
_FAR_BELOW = -1e300


class Vocabulary(msgspec.Struct, frozen=True, kw_only=True):
    """What a model's file says about its tokens. `kinds` has one byte for each, a kind of above.

    `replacements` are strings that are written in another way first, the longest that fits at a
    place. `first` and `last` are the tokens that begin and end every text, -1 for none.
    """

    pieces: list[str]
    scores: list[float]
    kinds: bytes
    replacements: dict[str, str] = {}
    unknown: int
    first: int = -1
    last: int = -1
    adds_space: bool = False
    merges_spaces: bool = False


class _Cut(msgspec.Struct, frozen=True, gc=False):
    """A word's tokens, the unknown in a row being one, and the scores of all of them."""

    tokens: tuple[int, ...]
    scores: tuple[float, ...]


class Unigram:
    """Texts to tokens and back. For several threads."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._scores = vocabulary.scores
        self._ids: dict[str, int] = {}
        # The longest piece that begins with a character.
        self._longest: dict[str, int] = {}
        specials = []
        for at, (piece, kind) in enumerate(zip(vocabulary.pieces, vocabulary.kinds, strict=True)):
            if kind in _SPECIAL and piece:
                specials.append((piece, at))
            if kind in _MATCHED and piece:
                self._ids[piece] = at
                if len(piece) > self._longest.get(piece[0], 0):
                    self._longest[piece[0]] = len(piece)
        self._specials = sorted(specials, key=lambda pair: -len(pair[0].encode()))
        self._user_defined = {at for _, at in specials if vocabulary.kinds[at] == USER_DEFINED}
        normal = (
            score
            for score, kind in zip(self._scores, vocabulary.kinds, strict=True)
            if kind == NORMAL
        )
        self._unknown_score = min(normal, default=0.0) - _UNKNOWN_PENALTY
        self._words_are_apart = all(_SPACE not in piece[1:] for piece in self._ids)
        self._replace = _Replacing(vocabulary.replacements)
        self._remembered: dict[str, _Cut] = {}

    def encode(self, text: str, *, add_special: bool, limit: int = 0) -> list[int]:
        """Special tokens in the text are one token each. With a `limit`, only so many tokens are
        sure to be there, and of a longer text not many more."""
        tokens: list[int] = []
        for part in self._parts(text):
            if limit and len(tokens) > limit:
                break
            if isinstance(part, int):
                tokens.append(part)
            else:
                tokens += self._encode_plain(part, limit)
        return self.frame(tokens) if add_special else tokens

    def frame(self, tokens: Sequence[int]) -> list[int]:
        """The tokens, with those that begin and end every text."""
        first, last = self._vocabulary.first, self._vocabulary.last
        before, after = [first] if first >= 0 else [], [last] if last >= 0 else []
        return [*before, *tokens, *after]

    def decode(self, tokens: Sequence[int]) -> str:
        """Special tokens are written out. The space before the first word is not."""
        pieces, kinds = self._vocabulary.pieces, self._vocabulary.kinds
        known = [at for at in tokens if 0 <= at < len(pieces)]
        text = "".join(
            pieces[at] if kinds[at] in _SPECIAL else pieces[at].replace(_SPACE, " ") for at in known
        )
        starts_plain = bool(known) and kinds[known[0]] not in _SPECIAL
        strip = self._vocabulary.adds_space and starts_plain
        return text.removeprefix(" ") if strip else text

    def _parts(self, text: str) -> list[str | int]:
        """The text between special tokens, and those; longer ones are looked for first."""
        parts: list[str | int] = [text] if text else []
        for piece, at in self._specials:
            if piece in text:
                parts = [
                    one
                    for part in parts
                    for one in (_around(part, piece, at) if isinstance(part, str) else (part,))
                ]
        return parts

    def _encode_plain(self, text: str, limit: int) -> list[int]:
        tokens: list[int] = []
        total = 0.0
        unknown = self._vocabulary.unknown
        for word in self._words(text):
            cut = self._remembered.get(word) or self._cut(word, total)
            for score in cut.scores:
                total += score
            more = cut.tokens
            if tokens and tokens[-1] == unknown == more[0]:
                more = more[1:]
            tokens += more
            if limit and len(tokens) > limit:
                break
        return tokens

    def _words(self, text: str) -> Iterator[str]:
        """With the mark for a space before each that has one."""
        text = self._replace(text)
        if self._vocabulary.merges_spaces:
            text = "".join(_SPACE + word for word in text.split(" ") if word)
        else:
            words = text.lstrip(" ")
            before = _SPACE * (len(text) - len(words))
            mark = _SPACE if words and self._vocabulary.adds_space else ""
            text = before + mark + words.replace(" ", _SPACE)
        if not self._words_are_apart:
            if text:
                yield text
            return
        first, *others = text.split(_SPACE)
        if first:
            yield first
        for word in others:
            yield _SPACE + word

    def _cut(self, word: str, total: float) -> _Cut:
        """`total` is the score of the words before. It only matters where two cuts are equal but
        for rounding: such a word is not remembered."""
        cut, tied = self._best_cut(word, 0.0)
        if tied:
            return self._best_cut(word, total)[0]
        if len(word) <= _REMEMBERED_CHARACTERS:
            if len(self._remembered) >= _REMEMBERED_WORDS:
                self._remembered = {}
            self._remembered[word] = cut
        return cut

    def _best_cut(self, word: str, total: float) -> tuple[_Cut, bool]:
        length, ids, scores = len(word), self._ids, self._scores
        unknown = self._vocabulary.unknown
        best = [_FAR_BELOW] * (length + 1)
        best[0] = total
        steps: list[tuple[int, int, float]] = [(0, unknown, 0.0)] * (length + 1)
        tied = False

        def offer(end: int, start: int, token: int, score: float) -> None:
            nonlocal tied
            challenger = best[start] + score
            if abs(challenger - best[end]) < _TIE:
                tied = True
            if challenger > best[end]:
                best[end] = challenger
                steps[end] = (start, token, score)

        for start in range(length):
            longest = min(length, start + self._longest.get(word[start], 0))
            for end in range(start + 1, longest + 1):
                token = ids.get(word[start:end])
                if token is not None:
                    score = 0.0 if token in self._user_defined else scores[token]
                    offer(end, start, token, score)
            if word[start] not in ids:
                offer(start + 1, start, unknown, self._unknown_score)
        return self._walk_back(steps), tied

    def _walk_back(self, steps: list[tuple[int, int, float]]) -> _Cut:
        unknown = self._vocabulary.unknown
        tokens: list[int] = []
        scores = []
        at = len(steps) - 1
        while at:
            at, token, score = steps[at]
            scores.append(score)
            if not (tokens and tokens[-1] == token == unknown):
                tokens.append(token)
        return _Cut(tuple(reversed(tokens)), tuple(reversed(scores)))


def _around(text: str, piece: str, token: int) -> Iterator[str | int]:
    for number, part in enumerate(text.split(piece)):
        if number:
            yield token
        if part:
            yield part


class _Replacing:
    """Writes strings in another way: at each place the longest of `replacements` that is there."""

    def __init__(self, replacements: dict[str, str]) -> None:
        self._replacements = replacements
        self._longest = max(map(len, replacements), default=0)
        self._single = str.maketrans({a: b for a, b in replacements.items() if len(a) == 1})
        begins = {text[0] for text in replacements if len(text) > 1}
        goes_on = {character for text in replacements for character in text[1:]}
        self._runs = re.compile(f"({_any_of(begins)}{_any_of(goes_on)}+)") if begins else None

    def __call__(self, text: str) -> str:
        if self._runs is None:
            return text.translate(self._single)
        parts = self._runs.split(text)
        return "".join(
            self._rewrite(part) if number % 2 else part.translate(self._single)
            for number, part in enumerate(parts)
        )

    def _rewrite(self, text: str) -> str:
        at = 0
        written = []
        while at < len(text):
            for length in range(min(self._longest, len(text) - at), 0, -1):
                other = self._replacements.get(text[at : at + length])
                if other is not None:
                    written.append(other)
                    at += length
                    break
            else:
                written.append(text[at])
                at += 1
        return "".join(written)


def _any_of(characters: set[str]) -> str:
    return "[" + "".join(map(re.escape, sorted(characters))) + "]"
