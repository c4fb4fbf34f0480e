"""Keeps the models: names, manifests and blobs in one directory of Ollama's layout."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dimora.core.errors import BadRequest, DimoraError, InvalidModel, NotFound
from dimora.core.types import Progress
from dimora.models.assembly import Assembly, VerifiedFiles, summarize
from dimora.models.bare_models import BareModels
from dimora.models.catalogue import Catalogue
from dimora.models.manifests import Layer, Manifest, Manifests, StoredManifest
from dimora.models.names import Name, parse_name, require_name
from dimora.models.remembered import Remembered, stamp_of
from dimora.models.remote.access import SourceAccess
from dimora.models.template_pins import TemplatePins, Templates
from dimora.models.writing import ModelWriter
from dimora.storage.blobs import GRACE_SECONDS, BlobStore, hash_file
from dimora.storage.disk import disk_errors, make_private_directory, sweep_temporaries
from dimora.storage.locks import held
from dimora.tasks.advice import Advice, Terms
from dimora.tasks.base import Model, ModelSummary, StoredBlob, ToolchainState
from dimora.tasks.card import Card, Difference
from dimora.tasks.keeping import BundledModel, BundleKey, BundleTold, Fault, StoreTold
from dimora.tasks.recipe import Recipe

if TYPE_CHECKING:
    from dimora.models.bundles.keys import BundleKeys
    from dimora.models.sharing import Sharing
    from dimora.models.sources.base import Brought

_PLACE = "the model store"
# A blob as old as this is made young again while its manifest is on its way.
_FRESH_SECONDS = GRACE_SECONDS / 4


class ModelStore:
    """The models below `root`, which may be a directory that Ollama filled.

    `cache_path` is a directory for what can be found out again, `toolchain_path` the one of the
    llama.cpp toolchain. `link_files` lets local files be linked instead of copied, see
    models.taking. `ollama_version` is the version whose models we can run. `pins_path` is a file
    that remembers chat templates. Methods block, except those that are asynchronous; threads and
    processes may share a store.
    """

    def __init__(
        self,
        root: Path,
        *,
        cache_path: Path | None = None,
        catalogue: Catalogue | None = None,
        access: SourceAccess | None = None,
        toolchain_path: Path | None = None,
        keys_path: Path | None = None,
        trusted_keys: Sequence[str] = (),
        link_files: bool = False,
        ollama_version: str = "",
        pins_path: Path | None = None,
    ) -> None:
        self.root = root
        self.toolchain_path = toolchain_path or root.parent / "toolchain"
        self._keys_path = keys_path or root.parent / "keys"
        self._trusted_keys = trusted_keys
        self.link_files = link_files
        self.ollama_version = ollama_version
        self.access = access or SourceAccess()
        self.blobs = BlobStore(root)
        self.manifests = Manifests(root)
        self.catalogue = catalogue or Catalogue()
        self.remembered = Remembered(cache_path)
        self._pins = TemplatePins(pins_path, root)
        self.assembly = Assembly(self.blobs, self.remembered)
        self.writer = ModelWriter(self.blobs, self.manifests, self.assembly)
        self._found: dict[Name, tuple[StoredManifest, Model]] = {}
        self._bare = BareModels()
        self._lock = threading.Lock()

    def all(self) -> list[ModelSummary]:
        """Every model whose manifest can be read, newest first."""
        rows = []
        for name in self.manifests.names():
            with contextlib.suppress(DimoraError, FileNotFoundError):
                stored = self.manifests.read(name)
                rows.append(summarize(stored, *self.assembly.told(stored)))
        return sorted(rows, key=lambda row: (-row.modified_at, row.name))

    def find(self, name: str) -> Model:
        """The model of this name, in any case.

        Raises:
            NotFound: there is none, or the name is no name.
            InvalidModel: its manifest or its model file is damaged; the digest is named.
        """
        there = self.locate(name)
        if there is None:
            raise _not_found(name)
        with self._lock:
            known = self._found.get(there)
        try:
            if known is not None and known[0].stamp == self.manifests.stamp(there):
                return known[1]
            stored = self.manifests.read(there)
        except FileNotFoundError:
            raise _not_found(name) from None
        model = self.assembly.model(stored)
        pin = self._pins.note(there.display, _templates_of(model))
        model = msgspec.structs.replace(
            model, template_digest=pin.digest, template_changed_at=pin.changed_at
        )
        with self._lock:
            self._found[there] = (stored, model)
        return model

    def templates(self, name: Name) -> Templates | None:
        """The chat templates of a model as it is now, which are remembered; None without one."""
        with contextlib.suppress(DimoraError):
            return _templates_of(self.find(name.display))
        return None

    def find_file(self, path: Path) -> Model:
        """The model in a GGUF file or a folder that is not in the store.

        Raises NotFound when there is none, InvalidModel when it is damaged.
        """
        return self._bare.find(path)

    def verified_files(self, model: Model) -> VerifiedFiles:
        """The files an engine needs, after a check of size and sha256 of each.

        Reads all of a file that was not checked since it was last changed: slow the first time.

        Raises InvalidModel naming the digest that is missing, truncated or altered.
        """
        if model.weights_digest.startswith("file:"):
            return self._bare.files(model)
        manifest = self._manifest_of(model)

        def paths(kind: str) -> list[str]:
            layers = manifest.of_kind(kind)
            return [str(self.assembly.require_usable(layer, model.name)) for layer in layers]

        scales = [layer.scale for layer in manifest.of_kind("adapter")]
        return VerifiedFiles(
            weights=next(iter(paths("model")), ""),
            projector=next(iter(paths("projector")), ""),
            adapters=tuple(zip(paths("adapter"), scales, strict=True)),
            draft=next(iter(paths("draft")), ""),
            folder=self.assembly.require_usable_folder(manifest.of_kind("file"), model.name),
        )

    def documents(self, model: Model) -> list[tuple[str, str, str]]:
        """Name, digest and path of each document that belongs to a model, checked like its files.

        Raises InvalidModel.
        """
        if model.weights_digest.startswith("file:"):
            return []
        return [
            (
                layer.name or layer.digest.replace(":", "-"),
                layer.digest,
                str(self.assembly.verify(layer, model.name)),
            )
            for layer in self._manifest_of(model).of_kind("document")
        ]

    def documents_digests(self) -> set[str]:
        """Of every model that has documents, see Model; one that cannot be read is passed over."""
        found = set()
        with disk_errors(_PLACE):
            for name in self.manifests.names():
                with contextlib.suppress(InvalidModel, FileNotFoundError):
                    found.add(self.manifests.read(name).manifest.documents_digest)
        return found - {""}

    def copy(self, source: str, destination: str) -> None:
        """Give a model a second name. Raises NotFound, BadRequest, StorageFull."""
        require_name(source, "source")
        target = require_name(destination, "destination")
        with self.changing():
            there = self.locate(source)
            if there is None:
                raise NotFound(f'model "{source}" not found', code="model_not_found")
            self.manifests.copy(there, self.manifests.locate(target) or target)
        self.templates(target)

    def delete(self, name: str) -> None:
        """Remove a name, and the blobs no other name needs. Raises NotFound, BadRequest."""
        require_name(name, "name")
        with self.changing():
            there = self.locate(name)
            if there is None:
                raise _not_found(name)
            digests: set[str] = set()
            with contextlib.suppress(InvalidModel):
                digests = self.manifests.read(there).manifest.digests
            self.manifests.remove(there)
            self._pins.forget(there.display)
            self._drop_unreferenced(digests)

    async def create(
        self, name: str, recipe: Recipe, warnings: list[str]
    ) -> AsyncGenerator[Progress, None]:
        """Make a model as the recipe says, with Ollama's status words; `success` comes last.

        What was done otherwise than asked is added to `warnings`.

        Raises NotFound, BadRequest, InvalidModel, StorageFull.
        """
        from dimora.models.creating import Creation

        async with contextlib.aclosing(Creation(self, name, recipe, warnings).run()) as steps:
            async for progress in steps:
                yield progress

    async def optimize(
        self, name: str, source: str, bits: int, group: int, warnings: list[str]
    ) -> AsyncGenerator[Progress, None]:
        """Make the OpenVINO form of a model, with status words; `success` comes last.

        `bits` of a weight, `group` weights that share a scale (0: the usual number). What is not as
        good as it could be is added to `warnings`.

        Raises NotFound, BadRequest, UnsupportedFeature, InvalidModel, StorageFull.
        """
        from dimora.models.converting.optimizing import Optimization

        work = Optimization(self, name, source, bits=bits, group=group, warnings=warnings)
        async with contextlib.aclosing(work.run()) as steps:
            async for progress in steps:
                yield progress

    async def difference(self, before: Model, after: Model, text: str) -> Difference:
        """How two forms of a model predict a text. See models.converting.scoring."""
        from dimora.models.converting.scoring import Scoring

        return await Scoring(self, self._find_tool).difference(before, after, text)

    def _find_tool(self, name: str) -> Path:
        from dimora.models.toolchain.installed import require_toolchain

        return require_toolchain(self.toolchain_path, "comparing predictions").program(name)

    def keep_card(self, name: str, card: Card) -> None:
        """Put a card into the manifest, in the place of an older one. Raises NotFound."""
        layer = self.writer.text_layer("card", msgspec.json.encode(card))
        with self.changing():
            there = self.locate(name)
            if there is None:
                raise _not_found(name)
            manifest = self.manifests.read(there).manifest
            others = tuple(known for known in manifest.layers if known.kind != "card")
            self.manifests.write(there, msgspec.structs.replace(manifest, layers=(*others, layer)))

    def sharing(self) -> Sharing:
        """What neighbours may read."""
        from dimora.models.sharing import Sharing

        return Sharing(self.manifests, self.blobs)

    def import_file(self, path: Path, name: str) -> None:
        """Take a GGUF file into the store under `name`; the file itself stays where it is.

        Raises BadRequest, NotFound, InvalidModel, StorageFull.
        """
        from dimora.models.taking import take

        target = require_name(name, "name")
        self.find_file(path)
        with self._preparing():
            taken = take(path, self.blobs)
            layer = self.writer.layer("model", taken.digest, taken.size_bytes)
        with self.changing():
            self.writer.write(self.manifests.locate(target) or target, [layer])
        self.remembered.note_verified(taken.digest, self.blobs.path(taken.digest))
        self.templates(target)

    async def pull(self, name: str, *, insecure: bool = False) -> AsyncGenerator[Progress, None]:
        """Fetch a model into the store, with Ollama's status words; `success` comes last.

        Nothing is visible under the name before all of it is on the disk; what a broken pull
        left is used by the next. `insecure` allows a registry without encryption.

        Raises NotFound, Forbidden, SourceFailed, StorageFull, InvalidModel.
        """
        # Only a pull needs the network library and asyncio, and `list` shall start fast.
        from dimora.models.pulling import Pull

        async with contextlib.aclosing(Pull(self).run(name, insecure=insecure)) as steps:
            async for progress in steps:
                yield progress

    async def install_toolchain(self, jobs: int) -> AsyncGenerator[Progress, None]:
        """See tasks.base.Models."""
        from dimora.models.toolchain.installing import Installation

        installation = Installation(self.toolchain_path, self.access, jobs=jobs)
        async with contextlib.aclosing(installation.run()) as steps:
            async for progress in steps:
                yield progress

    def toolchain(self) -> ToolchainState:
        from dimora.models.toolchain.installed import state_of

        return state_of(self.toolchain_path)

    def remove_toolchain(self) -> bool:
        """True when there was something. Raises Conflict."""
        from dimora.models.toolchain.installed import remove_toolchain

        return remove_toolchain(self.toolchain_path)

    async def push(self, name: str, *, insecure: bool = False) -> AsyncGenerator[Progress, None]:
        """Send a model to the registry of its name, with Ollama's status words.

        Raises NotFound, BadRequest, Forbidden, SourceFailed, InvalidModel.
        """
        from dimora.models.pushing import Push

        async with contextlib.aclosing(Push(self).run(name, insecure=insecure)) as steps:
            async for progress in steps:
                yield progress

    def advice(self) -> list[Advice]:
        """What the catalogue says of every model it knows."""
        from dimora.models.advising import advice_of

        return advice_of(self)

    def terms_of(self, name: str) -> Terms | None:
        """The licence of a model or of its family, as the catalogue knows it."""
        from dimora.models.advising import terms_of

        return terms_of(self, name)

    def advised(self, name: str) -> Model | None:
        """A model of the catalogue to plan with, made of its shape; it cannot be loaded."""
        from dimora.models.advising import advised_model

        return advised_model(self, name)

    def commit(self, target: Name, brought: Brought) -> None:
        """Write the manifest of a pulled model, once all its blobs are here.

        Raises InvalidModel when one went missing meanwhile, StorageFull.
        """
        with self.changing():
            for layer in brought.layers:
                if self.blobs.size_of(layer.digest) != layer.size:
                    raise InvalidModel(f"blob {layer.digest} is missing", hint="pull again")
            there = self.manifests.locate(target) or target
            if brought.manifest:
                self.manifests.write_bytes(there, brought.manifest)
            else:
                self.writer.write(there, brought.layers, embedding=brought.embedding)

    def layer(self, kind: str, text: str) -> Layer:
        """Store a small text as a layer. Raises StorageFull."""
        return self.writer.text_layer(kind, text)

    def digests_of(self, name: Name) -> set[str]:
        """What the model of this name refers to now; nothing when it is not there."""
        there = self.manifests.locate(name)
        with contextlib.suppress(InvalidModel, FileNotFoundError):
            return self.manifests.read(there).manifest.digests if there else set()
        return set()

    def drop_unreferenced(self, digests: set[str]) -> bool:
        """Remove those of the blobs that no manifest needs; True when one was removed."""
        if not digests:
            return False
        with self.changing():
            return self._drop_unreferenced(digests)

    def sweep(self, *, grace_seconds: float = GRACE_SECONDS) -> int:
        """Remove old files nobody refers to; gives how many went.

        Does nothing while a manifest cannot be read, since it may refer to any of them.
        """
        if not self.blobs.directory.is_dir():
            return 0
        with self.changing():
            removed = self.manifests.sweep(grace_seconds=grace_seconds)
            removed += self.remembered.sweep(grace_seconds=grace_seconds)
            removed += self._pins.sweep(grace_seconds=grace_seconds)
            removed += sweep_temporaries(self._keys_path, grace_seconds=grace_seconds)
            try:
                referenced = self.manifests.references()
            except InvalidModel:
                return removed
            return removed + self.blobs.sweep(referenced, grace_seconds=grace_seconds)

    def unneeded(self) -> dict[str, int]:
        """Bytes of the files no model needs, by their names; nothing while that is unknown."""
        try:
            return self.blobs.unneeded(self.manifests.references())
        except InvalidModel:
            return {}

    def is_verified(self, digest: str) -> bool:
        """Whether the blob was hashed since it was last changed, and was right."""
        with contextlib.suppress(OSError):
            return self.remembered.is_verified(digest, self.blobs.path(digest))
        return False

    def verify_blob(self, digest: str) -> bool:
        """Hash a blob anew; True when it is here and right."""
        path = self.blobs.path(digest)
        with contextlib.suppress(OSError):
            stamp = stamp_of(path)
            if hash_file(path) == digest:
                self.remembered.note_verified(digest, path, stamp)
                return True
        self.remembered.forget_verified(digest)
        return False

    def find_blob(self, digest: str) -> int | None:
        """Bytes of a blob that is here and right, else None. Raises BadRequest for no digest.

        A sweep leaves it alone for a while, since whoever asks is going to use it.
        """
        if not self.is_verified(digest) and not self.verify_blob(digest):
            return None
        self._touch(digest)
        return self.blobs.size_of(digest)

    def keep_fresh(self, digests: Iterable[str]) -> None:
        """Keep a sweep from blobs whose manifest is not written yet; missing ones are passed over.

        For work that may take longer than a sweep waits. Cheap: to be called again and again.
        """
        for digest in digests:
            with contextlib.suppress(OSError):
                if self.blobs.age_seconds(digest) >= _FRESH_SECONDS:
                    self._touch(digest)

    def _touch(self, digest: str) -> None:
        """Set a blob's clock anew; what is known of its bytes stays known."""
        known = self.is_verified(digest)
        self.blobs.touch(digest)
        if known and not self.is_verified(digest):
            self.remembered.note_verified(digest, self.blobs.path(digest))

    async def store_blob(
        self, digest: str, content: AsyncIterator[bytes], size_bytes: int | None
    ) -> StoredBlob:
        """Take an upload into the store. Raises BadRequest, StorageFull."""
        from dimora.models.uploading import store_blob

        return await store_blob(self, digest, content, size_bytes)

    async def take_file(self, path: Path) -> AsyncGenerator[Progress | StoredBlob, None]:
        """Take a file of this machine into the store. Raises NotFound, BadRequest, StorageFull."""
        from dimora.models.taking import take_file

        async with contextlib.aclosing(take_file(path, self)) as steps:
            async for step in steps:
                yield step

    async def export_bundle(
        self, names: Sequence[str], path: Path, *, replace: bool = False
    ) -> AsyncGenerator[Progress, None]:
        """See tasks.base.Models."""
        from dimora.models.bundles.writing import export_bundle
        from dimora.models.converting.stepping import in_threads

        work = export_bundle(self, self._bundle_keys(), names, path, replace=replace)
        async with contextlib.aclosing(in_threads(work)) as steps:
            async for step in steps:
                yield step

    async def import_bundle(
        self, path: Path, *, replace: bool = False, trust: str = "", remember: bool = False
    ) -> AsyncGenerator[Progress | BundledModel, None]:
        """See tasks.base.Models."""
        from dimora.models.bundles.reading import BundleImport
        from dimora.models.converting.stepping import in_threads

        keys = self._bundle_keys()
        work = BundleImport(self, keys, replace=replace, trust=trust, remember=remember)
        async with contextlib.aclosing(in_threads(work.run(path))) as steps:
            async for step in steps:
                yield step

    def tell_bundle(self, path: Path) -> BundleTold:
        """See tasks.base.Models."""
        from dimora.models.bundles.reading import tell_bundle

        return tell_bundle(self, self._bundle_keys(), path)

    def bundle_key(self) -> BundleKey:
        """See tasks.base.Models."""
        return self._bundle_keys().told()

    def _bundle_keys(self) -> BundleKeys:
        from dimora.models.bundles.keys import BundleKeys

        return BundleKeys(self._keys_path, self._trusted_keys)

    async def verify(
        self, names: Sequence[str] = (), *, repair: bool = False
    ) -> AsyncGenerator[Progress | Fault | StoreTold, None]:
        """See tasks.base.Models."""
        from dimora.models.repairing import verify

        async with contextlib.aclosing(verify(self, names, repair=repair)) as steps:
            async for step in steps:
                yield step

    def locate(self, text: str) -> Name | None:
        name = parse_name(text)
        return None if name is None else self.manifests.locate(name)

    def _manifest_of(self, model: Model) -> Manifest:
        with self._lock:
            for stored, known in self._found.values():
                if known is model or stored.digest == model.summary.digest:
                    return stored.manifest
        there = self.locate(model.name)
        stored_now = self.manifests.read(there) if there else None
        if stored_now is None or stored_now.digest != model.summary.digest:
            raise InvalidModel(f"model {model.name!r} was changed meanwhile", hint="ask again")
        return stored_now.manifest

    def _drop_unreferenced(self, digests: set[str]) -> bool:
        try:
            needed = self.manifests.references()
        except InvalidModel:
            return False
        removed = False
        for digest in digests - needed:
            # A file in use cannot be removed on Windows; a later sweep takes it.
            with contextlib.suppress(OSError, BadRequest):
                removed |= self.blobs.remove(digest)
        return removed

    @contextlib.contextmanager
    def _preparing(self) -> Iterator[None]:
        with disk_errors(_PLACE):
            make_private_directory(self.blobs.directory)
            yield

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """One change of names and references at a time, over all processes."""
        with disk_errors(_PLACE):
            make_private_directory(self.root)
            with held(self.root / ".dimora.lock", what=_PLACE):
                yield


def _templates_of(model: Model) -> Templates:
    return Templates(jinja=model.chat_template, go=model.template)


def _not_found(name: str) -> NotFound:
    shown = name[:400]
    return NotFound(
        f"model '{shown}' not found", code="model_not_found", hint=f"dimora pull {shown}"
    )
