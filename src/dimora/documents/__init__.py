"""File types, one file each: bytes to text with its structure. Reading is done in a process of
its own, see `reading`; nothing here knows models or collections."""

from dimora.core.shelf import Shelf

SHELF = Shelf(
    "dimora.documents",
    furniture=frozenset({"kinds", "limits", "messages", "opening", "reading", "refusals"})
    | {"visible", "worker"},
)
# Reads what is text and nothing better is known of.
FALLBACK = "text"
