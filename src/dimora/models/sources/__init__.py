"""Where models come from, one file each. Only a pull or an import loads a file of this shelf."""

from dimora.core.shelf import Shelf

SHELF = Shelf("dimora.models.sources")
