"""Texts that are to be embedded, each brought to the window of its model.

For engines that are told texts; one that makes tokens itself cuts those.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dimora.core.errors import BadRequest
from dimora.tasks.base import TextsToEmbed
from dimora.tasks.writing import surely_fits

# The tokens that begin and end a text have a place in its window, too.
ENDS = 2


class _Tokenizer(Protocol):
    def tokenize(self, text: str, add_special: bool) -> list[int]: ...

    def detokenize(self, tokens: Sequence[int]) -> str: ...


def fit_texts(wanted: TextsToEmbed, tokenizer: _Tokenizer) -> tuple[list[str], tuple[int, ...]]:
    """The texts, and the positions of those that were cut. Raises BadRequest."""
    fitted, cut = [], []
    for at, text in enumerate(wanted.texts):
        if not surely_fits(text, wanted.window):
            tokens = tokenizer.tokenize(text, add_special=False)
            if len(tokens) > wanted.window - ENDS:
                refuse_unless(wanted.truncate)
                text = tokenizer.detokenize(tokens[: max(0, wanted.window - ENDS)])
                cut.append(at)
        fitted.append(text)
    return fitted, tuple(cut)


def refuse_unless(truncate: bool) -> None:
    """Raises BadRequest where a text that is too long may not be cut."""
    if not truncate:
        raise BadRequest("the input length exceeds the context length", code="input_too_long")
