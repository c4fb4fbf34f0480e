"""What a conversion offers: one function from a file or folder to another."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol


class Conversion(Protocol):
    """The shape of a conversion's file."""

    def convert(self, source: Path, target: Path, **choices: str) -> Iterable[str] | None:
        """Write `target`, a file or a folder that does not exist yet. Blocks, in its own process.

        A conversion that has choices names them as keyword arguments, and reads them from text. One
        that takes long is a generator, of a few words on each thing it does next.

        Raises InvalidModel when `source` is not what this conversion reads.
        """
