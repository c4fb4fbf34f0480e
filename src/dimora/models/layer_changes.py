"""The layers of a model on their way from one manifest to the next, by the rules of a Modelfile.

Parameters override one by one, messages replace, licences and adapters append, an empty text
removes. What would say the same as before is not touched, so that nothing another program wrote
changes its bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from dimora.core.types import Message
from dimora.models.manifests import Layer, StoredManifest, StoredMessage
from dimora.tasks.options import Options

if TYPE_CHECKING:
    from dimora.models.store import ModelStore


class LayerChanges:
    """Starts with the layers of `base`, or with none. Methods block and may raise StorageFull.

    `layers` is what has come of it, `made` the digests that were not in the store before, `config`
    what is to change in the config: an empty value removes.
    """

    def __init__(self, store: ModelStore, base: StoredManifest | None) -> None:
        self.layers: list[Layer] = list(base.manifest.layers) if base else []
        self.made: set[str] = set()
        self.config: dict[str, Any] = {}
        self._store = store
        self._base = base

    @property
    def changed(self) -> bool:
        """Whether anything is other than in the base."""
        if self._base is None or self.config:
            return True
        return tuple(self.layers) != self._base.manifest.layers

    def first(self, kind: str) -> Layer | None:
        """The first layer of a kind as things are now."""
        return next((layer for layer in self.layers if layer.kind == kind), None)

    def put(self, kind: str, digest: str, size_bytes: int, *, name: str = "") -> None:
        """Have one layer of this kind, in the place of the ones there were."""
        self._replace(kind, self._store.writer.layer(kind, digest, size_bytes, name=name))

    def put_adapter(self, digest: str, size_bytes: int, scale: float) -> None:
        """One more adapter; the same again only gets another scale."""
        self._put_named("adapter", digest, size_bytes, scale=scale)

    def put_file(self, kind: str, name: str, digest: str, size_bytes: int) -> None:
        """A file with a name, in the place of the one of that name."""
        self._put_named(kind, digest, size_bytes, name=name)

    def put_text(self, kind: str, text: str | None) -> bool:
        """A text, None for the one there is; True when that is a change."""
        if text is None or text == self._told("text", kind, default=""):
            return False
        self._put_bytes(kind, text.encode())
        return True

    def put_messages(self, messages: Sequence[Message] | None) -> None:
        if messages is None or tuple(messages) == self._told("messages", default=()):
            return
        rows = [StoredMessage(m.role, m.text) for m in messages]
        self._put_bytes("messages", msgspec.json.encode(rows) if rows else b"")

    def put_options(self, options: Options) -> None:
        there: Options = self._told("options", default=Options())
        if options.over(there) == there:
            return
        params = {**self._told("params", default={}), **options.as_dict()}
        self._put_bytes("params", msgspec.json.encode(params))

    def put_licenses(self, licenses: Iterable[str]) -> None:
        known = list(self._told("licenses", default=()))
        for text in licenses:
            if text and text not in known:
                known.append(text)
                self.layers.append(self._text_layer("license", text.encode()))

    def put_config(self, **values: str | None) -> None:
        """Words of the config; None for what there is."""
        there = self._told("config")
        for name, value in values.items():
            if value is not None and value != (getattr(there, name) if there else ""):
                self.config[name] = value

    def _told(self, what: str, *more: str, default: Any = None) -> Any:
        """What the base says, read by the assembly's method of that name."""
        if self._base is None:
            return default
        read = getattr(self._store.assembly, what)
        return read(self._base.manifest, *more, self._base.name.display)

    def _put_named(
        self, kind: str, digest: str, size_bytes: int, *, name: str = "", scale: float = 1.0
    ) -> None:
        layer = self._store.writer.layer(kind, digest, size_bytes, name=name, scale=scale)
        for at, there in enumerate(self.layers):
            same = there.name == name if name else there.digest == digest
            if there.kind == kind and same:
                if (there.digest, there.scale) != (digest, scale):
                    self.layers[at] = layer
                return
        self.layers.append(layer)

    def _put_bytes(self, kind: str, data: bytes) -> None:
        self._replace(kind, self._text_layer(kind, data) if data else None)

    def _replace(self, kind: str, layer: Layer | None) -> None:
        """`layer` where the first of its kind was, or at the end."""
        places = [at for at, there in enumerate(self.layers) if there.kind == kind]
        if len(places) == 1 and layer is not None and self.layers[places[0]].digest == layer.digest:
            return
        kept = [there for there in self.layers if there.kind != kind]
        if layer is not None:
            kept.insert(places[0] if places else len(kept), layer)
        self.layers = kept

    def _text_layer(self, kind: str, data: bytes) -> Layer:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if self._store.blobs.size_of(digest) is None:
            self.made.add(digest)
        return self._store.writer.text_layer(kind, data)
