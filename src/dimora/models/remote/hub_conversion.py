"""Makes a GGUF of the safetensors of a hub, and quantizes it where the tag names a kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from typing import TYPE_CHECKING

from dimora.core.errors import BadRequest, DimoraError, InternalError
from dimora.core.types import Progress
from dimora.models.converting import checkpoints
from dimora.models.converting.importing import convert_folder, require_libraries
from dimora.models.converting.quantizing import named_kind, quantize
from dimora.models.taking import Taken
from dimora.models.toolchain.installed import require_toolchain

if TYPE_CHECKING:
    from dimora.models.store import ModelStore


class Plan:
    """What is to be made of one repository. `kind` is empty for 16 bits, as they come."""

    def __init__(self, store: ModelStore, tag: str, repository: str) -> None:
        """Raises BadRequest for a tag that is no kind."""
        self._store = store
        self._repository = repository
        try:
            self._kind = "" if tag.lower() == "latest" else named_kind(tag)
        except BadRequest as why:
            why.hint = f"{repository} has no GGUF, and the tag says what to make of it; {why.hint}"
            raise

    def check(self, files: Mapping[str, str]) -> None:
        """Whether it can be converted, of the files beside the weights.

        Raises InvalidModel, NotFound where toolchain or libraries are missing.
        """
        try:
            toolchain = require_toolchain(self._store.toolchain_path, "converting safetensors")
            paths = {name: self._store.blobs.path(digest) for name, digest in files.items()}
            config = checkpoints.read_config(paths)
            known = checkpoints.known_architectures(toolchain.converters)
            checkpoints.require_architecture(config, known)
            require_libraries()
        except DimoraError as why:
            why.message = f"{self._repository} has safetensors and no GGUF: {why.message}"
            raise

    async def convert(
        self, files: Mapping[str, str], passing: AbstractSet[str]
    ) -> AsyncGenerator[Progress | Taken, None]:
        """Progress, then one Taken. Blobs that are only `passing` through leave the store again,
        unless a model needs them.

        Raises InvalidModel, NotFound, StorageFull.
        """
        made: Taken | None = None
        waiting = set(files.values())
        async with aclosing(convert_folder(self._store, files)) as steps:
            async for step in steps:
                if isinstance(step, Taken):
                    made = step
                    waiting.add(made.digest)
                else:
                    await asyncio.to_thread(self._store.keep_fresh, waiting)
                    yield step
        if made is None:
            raise InternalError("the converter made nothing")
        between = set(passing)
        if self._kind:
            between.add(made.digest)
            async with aclosing(
                quantize(self._store, made.digest, made.size_bytes, self._kind)
            ) as steps:
                async for step in steps:
                    if isinstance(step, Taken):
                        made = step
                    else:
                        await asyncio.to_thread(self._store.keep_fresh, waiting)
                        yield step
        await asyncio.to_thread(self._store.drop_unreferenced, between - {made.digest})
        yield made
