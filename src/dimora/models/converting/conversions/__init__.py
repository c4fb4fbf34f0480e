"""Ways from one kind of model file to another, one file each."""

from dimora.core.shelf import Shelf

SHELF = Shelf("dimora.models.converting.conversions")
