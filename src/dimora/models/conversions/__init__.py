"""Ways to make a GGUF of other files, one file each."""

from dimora.core.shelf import Shelf

SHELF = Shelf("dimora.models.conversions")
