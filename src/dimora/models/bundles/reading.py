"""Takes the models of a bundle into the store, once all of it was found right."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dimora.core.errors import BadRequest, Conflict, Forbidden, InvalidModel, NotFound
from dimora.core.types import Progress
from dimora.models.bundles.form import BundleModel, Contents, blob_name, read_contents
from dimora.models.bundles.keys import BundleKeys, fingerprint, same_fingerprint
from dimora.models.bundles.tar import BundleReader
from dimora.models.names import Name
from dimora.models.template_pins import describe_change
from dimora.models.verifying import unsound_layers
from dimora.storage.blobs import CHUNK_BYTES
from dimora.storage.disk import disk_errors, open_plain, require_room
from dimora.tasks.keeping import BundledModel, BundleTold

if TYPE_CHECKING:
    from dimora.models.store import ModelStore

_PLACE = "the model store"
_STEP_BYTES = 8 * CHUNK_BYTES


def tell_bundle(store: ModelStore, keys: BundleKeys, path: Path) -> BundleTold:
    """What is in a bundle, by its signed index; the models' files are not read.

    Raises NotFound, InvalidModel.
    """
    with _opened(path) as file:
        contents = read_contents(BundleReader(file))
    return BundleTold(
        models=tuple(_told(store, model) for model in contents.models),
        fingerprint=fingerprint(contents.signer),
        trusted=keys.is_trusted(contents.signer),
    )


def _told(store: ModelStore, model: BundleModel) -> BundledModel:
    there = store.manifests.locate(model.name)
    state: Literal["new", "here", "other"] = "new"
    if there is not None:
        state = "here" if _digest_at(store, there) == model.digest else "other"
    return BundledModel(
        name=(there or model.name).display,
        digest=model.digest.removeprefix("sha256:"),
        size_bytes=model.manifest.size_bytes,
        state=state,
    )


def _digest_at(store: ModelStore, name: Name) -> str:
    """The digest of the manifest in the store; empty when it is damaged or just went away."""
    with contextlib.suppress(InvalidModel, FileNotFoundError):
        return f"sha256:{store.manifests.read(name).digest}"
    return ""


class BundleImport:
    """One run of `ModelStore.import_bundle`.

    `trust` is the fingerprint of the one who must have signed, `remember` trusts that key from
    then on. `replace` allows to put models in the place of others of their names.
    """

    def __init__(
        self,
        store: ModelStore,
        keys: BundleKeys,
        *,
        replace: bool = False,
        trust: str = "",
        remember: bool = False,
    ) -> None:
        self._store = store
        self._keys = keys
        self._replace = replace
        self._trust = trust
        self._remember = remember
        self._brought: set[str] = set()

    def run(self, path: Path) -> Generator[Progress | BundledModel, None, None]:
        """Progress, then what became of each model.

        Raises NotFound, Forbidden, Conflict, InvalidModel, StorageFull.

        What a refused bundle brought is removed; what one brought that a full disk or the caller
        ended stays for the next try, and a sweep takes it if there is none.
        """
        if self._remember and not self._trust:
            raise BadRequest("only a key that is trusted by name can be remembered", param="trust")
        yield Progress(status="checking the signature")
        with _opened(path) as file:
            reader = BundleReader(file)
            contents = read_contents(reader)
            self._require_trust(contents.signer)
            self._require_free_names(contents)
            try:
                yield from self._take_blobs(contents, reader)
                yield Progress(status="checking models")
                for model in contents.models:
                    self._check(model)
                yield Progress(status="writing manifests")
                templates = [self._store.templates(model.name) for model in contents.models]
                imported = self._commit(contents)
            except (BadRequest, Conflict):
                self._store.drop_unreferenced(self._brought)
                raise
        for model, row, before in zip(contents.models, imported, templates, strict=True):
            after = self._store.templates(model.name)
            if before is not None and after is not None:
                for line in describe_change(row.name, before, after):
                    yield Progress(status=line)
        if self._remember:
            self._keys.remember(contents.signer)
        yield Progress(status="success")
        yield from imported

    def _require_trust(self, signer: bytes) -> None:
        told = fingerprint(signer)
        if self._trust and not same_fingerprint(self._trust, signer):
            raise Forbidden(
                f"the bundle is signed by another key than you named: its fingerprint is {told}",
                code="unknown_signer",
                hint="compare all of it with what `dimora bundle key` shows where it was made",
            )
        if not self._trust and not self._keys.is_trusted(signer):
            raise Forbidden(
                f"the bundle is signed by a key this house does not know: {told}",
                code="unknown_signer",
                hint="compare it, over another way than the bundle came, with what"
                " `dimora bundle key` shows where it was made; if they are the same, add"
                f" --trust {told}, and --remember to trust it from then on",
            )

    def _require_free_names(self, contents: Contents) -> None:
        others = [
            told.name for m in contents.models if (told := _told(self._store, m)).state == "other"
        ]
        if others and not self._replace:
            raise Conflict(
                f"there are other models of these names: {', '.join(others)[:400]}",
                hint="--replace puts those of the bundle in their place",
            )

    def _take_blobs(
        self, contents: Contents, reader: BundleReader
    ) -> Generator[Progress, None, None]:
        store, members = self._store, contents.members
        total = sum(size for _, size in members)
        missing = sum(size for digest, size in members if store.blobs.size_of(digest) != size)
        with disk_errors(_PLACE):
            store.blobs.prepare()
            require_room(store.blobs.directory, missing, _PLACE)
        done = 0
        waiting: list[str] = []
        for digest, size in members:
            reader.enter(blob_name(digest), size)
            if store.find_blob(digest) != size:
                for count in self._take(digest, size, reader):
                    store.keep_fresh(waiting)
                    yield _progress(done + count, total)
            waiting.append(digest)
            done += size
            yield _progress(done, total)
        reader.finish()

    def _take(self, digest: str, size: int, reader: BundleReader) -> Generator[int, None, None]:
        """Make one blob; yields now and then how many of its bytes there are."""
        told = 0
        try:
            with self._store.blobs.writing(digest) as writer:
                while writer.written_bytes < size:
                    writer.write(reader.read(min(CHUNK_BYTES, size - writer.written_bytes)))
                    if writer.written_bytes - told >= _STEP_BYTES:
                        told = writer.written_bytes
                        yield told
        except BadRequest as why:
            if why.code != "digest_mismatch":
                raise
            raise InvalidModel(
                f"blob {digest} in the bundle was altered or damaged", hint="copy it again"
            ) from None
        self._brought.add(digest)
        self._store.remembered.note_verified(digest, self._store.blobs.path(digest))

    def _check(self, model: BundleModel) -> None:
        """Raises InvalidModel for files that are no model's, though their bytes are right."""
        for layer, problem in unsound_layers(self._store.blobs, model.manifest):
            raise InvalidModel(
                f"{layer.kind} {layer.digest} of {model.name.display}: {problem}",
                hint="`dimora verify` tells more where the bundle was made",
            )

    def _commit(self, contents: Contents) -> list[BundledModel]:
        store = self._store
        before: set[str] = set()
        with store.changing():
            self._require_free_names(contents)
            told = [_told(store, model) for model in contents.models]
            for model in contents.models:
                for layer in (model.manifest.config, *model.manifest.layers):
                    if store.blobs.size_of(layer.digest) != layer.size:
                        raise Conflict(
                            f"blob {layer.digest} went away meanwhile", hint="import again"
                        )
            for model, row in zip(contents.models, told, strict=True):
                if row.state != "here":
                    before |= store.digests_of(model.name)
                    there = store.manifests.locate(model.name) or model.name
                    store.manifests.write_bytes(there, model.data)
        store.drop_unreferenced(before)
        return told


def _progress(count: int, total: int) -> Progress:
    return Progress(status="importing", total_bytes=total, completed_bytes=count)


@contextlib.contextmanager
def _opened(path: Path) -> Generator[BufferedReader, None, None]:
    """Raises NotFound, InvalidModel when it cannot be read or is no plain file."""
    try:
        file = open_plain(path)
    except FileNotFoundError:
        raise NotFound(f"there is no file {path.name!r}", code="file_not_found") from None
    except OSError as why:
        raise InvalidModel(f"{path.name!r} cannot be read: {why.strerror}") from None
    with file:
        yield file
