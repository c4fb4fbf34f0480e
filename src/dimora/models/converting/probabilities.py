"""Files of what a model thinks comes next, and how two models differ in it.

The format is that of llama.cpp's `llama-perplexity --save-all-logits`: eight letters, then window
length, vocabulary size and number of windows as 32-bit integers, then the tokens of all windows,
then one row for each position of the second half of each window but the last one. A row is the
step and the least log-probability as 32-bit floats, then one 16-bit number of steps per word of
the vocabulary, and one more if their number is odd.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from dimora.core.errors import InternalError, InvalidModel
from dimora.tasks.card import Difference

if TYPE_CHECKING:
    import numpy

_MAGIC = b"_logits_"
_STEPS = 65535
# Words less likely than this many nats below the best one are all taken for equally unlikely.
_DEPTH_NATS = 16.0


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """The words that were scored: windows of `window_tokens`, one after the other."""

    window_tokens: int
    vocabulary: int
    tokens: tuple[int, ...]

    @property
    def windows(self) -> int:
        return len(self.tokens) // self.window_tokens

    def scored(self) -> Iterator[tuple[int, int]]:
        """Window and place in it of every position that has a row, in the order of the rows."""
        for window in range(self.windows):
            for place in range(self.window_tokens // 2, self.window_tokens - 1):
                yield window, place

    def next_token(self, window: int, place: int) -> int:
        return self.tokens[window * self.window_tokens + place + 1]


class Reader:
    """Reads one file, row by row, as a context. Raises InternalError when it is no such file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def __enter__(self) -> Reader:
        self._file = self._path.open("rb")
        if self._file.read(len(_MAGIC)) != _MAGIC:
            raise InternalError("the file of probabilities is not one")
        self.text = self._read_text()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.close()

    def rows(self) -> Iterator[numpy.ndarray]:
        """Log-probabilities over the vocabulary, for each scored position."""
        import numpy as np

        vocabulary = self.text.vocabulary
        size = 2 * (_padded(vocabulary) + 4)
        for _ in self.text.scored():
            row = self._take(size)
            step, least = np.frombuffer(row, "<f4", 2)
            steps = np.frombuffer(row, "<u2", vocabulary, 8)
            yield steps.astype(np.float32) * step + least

    def _read_text(self) -> Text:
        import numpy as np

        window, vocabulary, windows = np.frombuffer(self._take(12), "<i4").tolist()
        if min(window, vocabulary) < 2 or windows < 1 or window * windows > 1 << 24:
            raise InternalError("the file of probabilities is damaged")
        tokens = np.frombuffer(self._take(4 * window * windows), "<i4").tolist()
        return Text(window_tokens=window, vocabulary=vocabulary, tokens=tuple(tokens))

    def _take(self, count: int) -> bytes:
        data = self._file.read(count) if self._file is not None else b""
        if len(data) != count:
            raise InternalError("the file of probabilities ends too early")
        return data


def write_probabilities(path: Path, text: Text, rows: Iterator[numpy.ndarray]) -> None:
    """Write such a file of raw scores (logits), one array per scored position."""
    import numpy as np

    spare = _padded(text.vocabulary) - text.vocabulary
    with path.open("wb") as file:
        file.write(_MAGIC)
        shape = (text.window_tokens, text.vocabulary, text.windows)
        file.write(np.asarray(shape, "<i4").tobytes())
        file.write(np.asarray(text.tokens, "<i4").tobytes())
        for logits in rows:
            best = float(logits.max())
            least = max(float(logits.min()), best - _DEPTH_NATS)
            total = float(np.log(np.exp(logits - best, dtype=np.float64).sum()))
            step = (best - least) / _STEPS
            file.write(np.asarray((step, least - best - total), "<f4").tobytes())
            steps = np.rint((np.maximum(logits, least) - least) / step if step else logits * 0)
            file.write(steps.astype("<u2").tobytes() + b"\0\0" * spare)


def compare(before: Path, after: Path) -> Difference:
    """How two models differ over one text. Blocks: about a millisecond per position.

    Raises InvalidModel when they do not split the text into the same tokens.
    """
    import numpy as np

    with Reader(before) as first, Reader(after) as second:
        if first.text != second.text:
            raise InvalidModel(
                "the two models split the text into different tokens, so they cannot be compared",
                hint="compare a model with another form of itself",
            )
        losses = np.zeros(2)
        same, divergence, positions = 0, 0.0, 0
        rows = zip(first.text.scored(), first.rows(), second.rows(), strict=True)
        for (window, place), p, q in rows:
            actual = first.text.next_token(window, place)
            losses -= (p[actual], q[actual])
            same += int(p.argmax() == q.argmax())
            divergence += float((np.exp(p) * (p - q)).sum())
            positions += 1
    return Difference(
        positions=positions,
        perplexity_before=math.exp(losses[0] / positions),
        perplexity_after=math.exp(losses[1] / positions),
        top_agreement=same / positions,
        kl_divergence=max(0.0, divergence / positions),
    )


def _padded(vocabulary: int) -> int:
    return 2 * ((vocabulary + 1) // 2)
