"""What a conversion offers: one function from a file or folder to another."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Conversion(Protocol):
    """The shape of a conversion's file."""

    def convert(self, source: Path, target: Path, **choices: str) -> None:
        """Write `target`, a file or a folder that does not exist yet. Blocks, in its own process.

        A conversion that has choices names them as keyword arguments, and reads them from text.

        Raises InvalidModel when `source` is not what this conversion reads.
        """
