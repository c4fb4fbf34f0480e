"""What a conversion offers: one function from a file to a GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Conversion(Protocol):
    """The shape of a conversion's file."""

    def convert(self, source: Path, target: Path) -> None:
        """Write `target`, which does not exist yet; equal input gives equal bytes. Blocks.

        Raises InvalidModel when `source` is not what this conversion reads.
        """
