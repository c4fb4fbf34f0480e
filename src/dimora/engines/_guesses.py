"""Guesses what comes next from what came before: prompt lookup.

Where the last tokens of a text stood in it before, what followed them then may follow now. A step
of a model that checks several tokens takes little longer than one for one token, so a good guess
saves steps, and a bad one costs nothing but time. The idea is of A. Saxena, 2023,
github.com/apoorvumang/prompt-lookup-decoding.
"""

from __future__ import annotations

from collections.abc import Sequence

# So many tokens must be the same before what followed is believed.
_ALIKE = 3
_FIRST_REACH = 4
_LONGEST_REACH = 16
# After guesses that were all wrong, none is made for so many tokens, twice as many each time.
_FIRST_PAUSE = 4
_LONGEST_PAUSE = 256
# What is known of how often guesses are right, before and after every one.
_FIRST_TRUST = 0.7
_REMEMBERED = 0.8


class Guesses:
    """What one text has been so far. `learn` tells how good the last guess was, and `trust` how
    likely the next guessed token is right."""

    def __init__(self) -> None:
        self._tokens: list[int] = []
        # Where what followed these tokens stands, the last time.
        self._after: dict[tuple[int, ...], int] = {}
        self._reach = _FIRST_REACH
        self._pause = 0
        self._next_pause = _FIRST_PAUSE
        self.trust = _FIRST_TRUST

    def extend(self, tokens: Sequence[int]) -> None:
        """These came."""
        for token in tokens:
            if len(self._tokens) >= _ALIKE:
                self._after[tuple(self._tokens[-_ALIKE:])] = len(self._tokens)
            self._tokens.append(token)
        self._pause = max(0, self._pause - len(tokens))

    def next(self, most: int) -> list[int]:
        """Up to `most` tokens that may come next, none when it is better not to guess."""
        if self._pause or most < 1:
            return []
        at = self._after.get(tuple(self._tokens[-_ALIKE:]))
        return [] if at is None else self._tokens[at : at + min(most, self._reach)]

    def learn(self, guessed: int, right: int) -> None:
        """Of so many guessed tokens, the first `right` came."""
        if not guessed:
            return
        tried = min(right + 1, guessed)
        kept = _REMEMBERED**tried
        self.trust = kept * self.trust + (1 - kept) * right / tried
        if right == guessed:
            self._reach = min(2 * self._reach, _LONGEST_REACH)
        else:
            self._reach = max(1, right + 1)
        if right:
            self._next_pause = _FIRST_PAUSE
        else:
            # After it, as if nothing were known: where few are right none would be tried any more.
            self.trust = _FIRST_TRUST
            self._pause = self._next_pause
            self._next_pause = min(2 * self._next_pause, _LONGEST_PAUSE)
