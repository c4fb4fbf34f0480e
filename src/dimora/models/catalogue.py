"""The models Dimora knows of: reads the packaged `catalogue.toml`.

An entry advises. Only one whose place is a pinned package decides where a model comes from; every
other name means what it means at its source.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from dimora.models.names import Name, parse_name
from dimora.tasks.advice import ModelType, Shape
from dimora.tasks.base import EmbeddingHabits

_OTHER_HOSTS = {"huggingface.co": "hf.co"}
# Licences that ask nothing of who only runs a model but to keep the notice.
OPEN_LICENSES = frozenset(
    {"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-4.0", "CC0-1.0", "ISC", "MIT"}
)


class Product(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A GGUF that is made from what was fetched; `conversion` is a file on that shelf."""

    conversion: str
    sha256: str
    size_bytes: int


class PythonPackage(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="source",
    tag="python_index",
):
    """A file in a wheel, pinned. `file` is its exact name inside of `package` `version`, `sha256`
    and `size_bytes` are that file's, `package_bytes` is the size of what has to be fetched.
    """

    package: str
    version: str
    platforms: tuple[str, ...] = ("any",)
    package_bytes: int
    file: str
    sha256: str
    size_bytes: int
    product: Product | None = None

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

    @property
    def words(self) -> str:
        return f"Python package {self.package} {self.version}"


class RegistryModel(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="source",
    tag="ollama",
):
    """A model of the Ollama registry, where it has the very name of its entry."""

    @property
    def words(self) -> str:
        return "Ollama registry"


class HubFile(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="source",
    tag="hub",
):
    """A GGUF of a hub: the entry's name is `hf.co/` and the repository; `file` is what its tag
    means there. With `sha256` only this very file is taken."""

    repository: str
    file: str
    sha256: str = ""

    @property
    def words(self) -> str:
        return f"hub {self.repository}"


Place = PythonPackage | RegistryModel | HubFile


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model: what it is, under which licence, and where to get it.

    `parameters` counts weights, `active_parameters` those that work on one token where that is
    not all. `size_bytes` is the model file's; with `rounded` it is only about that, and so is
    `parameters`. `license` is an SPDX expression, or the licence's own name with `license_url`
    where it is read; `notice` are our own words about it.
    """

    name: str
    aliases: tuple[str, ...] = ()
    description: str
    type: ModelType
    parameters: int
    active_parameters: int = 0
    quantization: str
    size_bytes: int
    rounded: bool = False
    context_length: int
    capabilities: tuple[str, ...] = ()
    languages: tuple[str, ...]
    license: str
    license_url: str = ""
    notice: str
    place: Place
    embedding: EmbeddingHabits = EmbeddingHabits()
    shape: Shape | None = None

    @property
    def is_open(self) -> bool:
        """Whether nobody has to agree to anything before using it."""
        return self.license in OPEN_LICENSES

    @property
    def license_text(self) -> str:
        """What is kept with a model whose source brings no licence."""
        where = f"{self.license_url}\n" if self.license_url else ""
        return f"{self.notice}\n{'SPDX' if self.is_open else 'License'}: {self.license}\n{where}"


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
        """The entry of a name or alias, in any case."""
        wanted = _folded(name)
        return next((entry for entry, known in self._named() if _folded(known) == wanted), None)

    def pinned(self, name: Name) -> Entry | None:
        """The entry of a name, if it is the catalogue that says where this model is."""
        entry = self.find(name)
        return entry if entry and isinstance(entry.place, PythonPackage) else None

    def terms_of(self, name: Name) -> Entry | None:
        """An entry under whose licence the model of this name stands: its own, or that of others
        of its family (`llama3.2:3b-instruct-q8_0`), if all of them have the same."""
        own = self.find(name)
        if own is not None:
            return own
        wanted = _folded(name)[:3]
        family = [entry for entry, known in self._named() if _folded(known)[:3] == wanted]
        return family[0] if len({entry.license for entry in family}) == 1 else None

    def _named(self) -> Iterator[tuple[Entry, Name]]:
        for entry in self.all():
            for text in (entry.name, *entry.aliases):
                name = parse_name(text)
                if name is not None:
                    yield entry, name


def _folded(name: Name) -> tuple[str, str, str, str]:
    """Equal for two ways to write a name."""
    host, namespace, model, tag = name.folded
    return (_OTHER_HOSTS.get(host, host), namespace, model, tag)


def read_catalogue(text: bytes) -> tuple[Entry, ...]:
    """Entries of a catalogue in TOML. Raises msgspec.ValidationError."""
    return msgspec.toml.decode(text, type=_File).model
