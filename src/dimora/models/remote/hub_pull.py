"""Brings a model of a hub into the store: a GGUF and its projector, a folder that an engine reads
as it is, or a GGUF made of safetensors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from dimora.core.errors import InternalError, InvalidModel, UnsupportedFeature
from dimora.core.types import Progress
from dimora.models.formats.folders import folder_layers
from dimora.models.manifests import Layer
from dimora.models.remote.hub import Hub, Repository
from dimora.models.remote.hub_choice import HubFile, choose, choose_folder, has_gguf
from dimora.models.remote.network import Network
from dimora.models.sorting import sort_files
from dimora.models.sources.base import Brought, Wanted
from dimora.models.taking import Taken
from dimora.storage.disk import disk_errors, require_room

if TYPE_CHECKING:
    from dimora.models.store import ModelStore

_LICENSES = frozenset({"license", "license.txt", "license.md", "licence", "licence.txt"})
_LICENSE_LIMIT_BYTES = 1 << 20
_CONFIG = "config.json"
# What a converter reads beside weights: configuration and vocabulary.
_BESIDE = (".json", ".model", ".jinja", ".tiktoken")
_BESIDE_NAMES = frozenset({"merges.txt", "vocab.txt"})
_BESIDE_LIMIT_BYTES = 64 << 20
_WEIGHTS = ".safetensors"


async def bring(wanted: Wanted, store: ModelStore) -> AsyncGenerator[Progress | Brought, None]:
    """See sources.base.Source.fetch."""
    access = store.access
    hub = Hub(Network(access), access.hub_endpoint, insecure=wanted.insecure)
    repository = await hub.look_up(f"{wanted.name.namespace}/{wanted.name.model}")
    pull = _HubPull(hub, repository, store)
    made: list[Layer] = []
    async with aclosing(pull.layers(wanted.name.tag)) as steps:
        async for step in steps:
            if isinstance(step, Layer):
                made.append(step)
            else:
                yield step
    yield Brought(layers=(*made, *await pull.license_layers()))


class _HubPull:
    """One repository on its way into a store."""

    def __init__(self, hub: Hub, repository: Repository, store: ModelStore) -> None:
        self._hub = hub
        self._repository = repository
        self._store = store
        self._taken: dict[str, Taken] = {}
        self._new: set[str] = set()

    async def layers(self, tag: str) -> AsyncGenerator[Progress | Layer, None]:
        """The layers with weights that the tag means."""
        files, steps = self._repository.files, self._chosen(tag)
        if not has_gguf(files):
            if folder := choose_folder(files, tag, self._repository.name):
                steps = self._folder(folder)
            elif _is_convertible(files):
                steps = self._converted(tag)
        async with aclosing(steps):
            async for step in steps:
                yield step

    async def license_layers(self) -> list[Layer]:
        """What the repository says of its licence, and the file it has with it."""
        repository, found = self._repository, []
        if repository.license:
            told = f"{repository.name} on {self._hub.host}\nLicense: {repository.license}\n"
            if repository.license_url:
                told += f"{repository.license_url}\n"
            found.append(await asyncio.to_thread(self._store.layer, "license", told))
        for file in repository.files:
            if file.name in self._taken or file.name.lower() not in _LICENSES:
                continue
            if file.size_bytes <= _LICENSE_LIMIT_BYTES:
                data = await self._hub.read(repository, file, limit_bytes=_LICENSE_LIMIT_BYTES)
                text = data.decode("utf-8", "replace")
                found.append(await asyncio.to_thread(self._store.layer, "license", text))
                break
        return found

    async def _chosen(self, tag: str) -> AsyncGenerator[Progress | Layer, None]:
        """A GGUF, and its projector."""
        found = choose(self._repository.files, tag, self._repository.name)
        files = [found.weights, *([found.projector] if found.projector else [])]
        async with aclosing(self._fetch(files)) as steps:
            async for progress in steps:
                yield progress
        taken = {file.name: self._taken[file.name] for file in files}
        paths = {name: self._store.blobs.path(one.digest) for name, one in taken.items()}
        kinds = await asyncio.to_thread(sort_files, paths)
        if kinds.weights is None:
            raise InvalidModel(f"{found.weights.name} of {self._repository.name} has no weights")
        for kind, file in (("model", kinds.weights), ("projector", kinds.projector)):
            if file is not None:
                one = taken[file.name]
                yield self._store.writer.layer(kind, one.digest, one.size_bytes)

    async def _folder(self, files: Sequence[HubFile]) -> AsyncGenerator[Progress | Layer, None]:
        """A folder as it is, with the licence in it."""
        async with aclosing(self._fetch(files)) as steps:
            async for progress in steps:
                yield progress
        named = {file.name: self._taken[file.name].digest for file in files}
        for layer in await asyncio.to_thread(folder_layers, self._store, named):
            yield layer

    async def _converted(self, tag: str) -> AsyncGenerator[Progress | Layer, None]:
        """Safetensors, made into a GGUF; a tag that names a kind quantizes it.

        What would fail after hours fails before the weights are fetched.
        """
        # Only these names need the converter and what it imports.
        from dimora.models.remote import hub_conversion

        files = _convertible(self._repository.files)
        beside = [file for file in files if not file.name.endswith(_WEIGHTS)]
        plan = hub_conversion.Plan(self._store, tag, self._repository.name)
        for part in (beside, files):
            async with aclosing(self._fetch(part)) as steps:
                async for progress in steps:
                    yield progress
            named = {file.name: self._taken[file.name].digest for file in part}
            if part is beside:
                await asyncio.to_thread(plan.check, named)
        async with aclosing(plan.convert(named, self._new)) as making:
            async for step in making:
                if isinstance(step, Taken):
                    yield self._store.writer.layer("model", step.digest, step.size_bytes)
                else:
                    yield step

    async def _fetch(self, files: Sequence[HubFile]) -> AsyncGenerator[Progress, None]:
        """Fetch those that did not come yet, after a look whether there is room for all."""
        store = self._store
        missing = [file for file in files if file.name not in self._taken]
        # Those of an earlier try as well, until it is their turn.
        waiting = {file.digest for file in missing if file.digest}
        waiting |= {taken.digest for taken in self._taken.values()}
        with disk_errors("the model store"):
            store.blobs.prepare()
            size = sum(f.size_bytes for f in missing if not self._is_here(f))
            require_room(store.blobs.directory, size, "the model store")
        for file in missing:
            was_here = self._is_here(file)
            async with aclosing(self._hub.fetch(self._repository, file, store.blobs)) as steps:
                async for step in steps:
                    if isinstance(step, Taken):
                        self._taken[file.name] = step
                        waiting.add(step.digest)
                    else:
                        await asyncio.to_thread(store.keep_fresh, waiting)
                        yield step
            if file.name not in self._taken:
                raise InternalError("a file did not come")
            taken = self._taken[file.name]
            if not was_here:
                self._new.add(taken.digest)
            path = store.blobs.path(taken.digest)
            await asyncio.to_thread(store.remembered.note_verified, taken.digest, path)

    def _is_here(self, file: HubFile) -> bool:
        return bool(file.digest) and self._store.blobs.size_of(file.digest) == file.size_bytes


def _is_convertible(files: Sequence[HubFile]) -> bool:
    names = {file.name for file in files}
    return _CONFIG in names and any(file.name.endswith(_WEIGHTS) for file in files)


def _convertible(files: Sequence[HubFile]) -> list[HubFile]:
    """What a converter needs of a repository: the files at its top, weights not twice."""
    top = [file for file in files if "/" not in file.name]
    weights = [file for file in top if file.name.endswith(_WEIGHTS)]
    # Some have the same weights once more, for another program.
    own = [file for file in weights if not file.name.startswith("consolidated")] or weights
    beside = [
        file for file in top if file.name.endswith(_BESIDE) or file.name.lower() in _BESIDE_NAMES
    ]
    if any(file.size_bytes > _BESIDE_LIMIT_BYTES for file in beside):
        raise UnsupportedFeature("a file beside the weights is too large to be configuration")
    return [*beside, *own]
