"""Makes a model as a recipe says: of an existing one or of files, with what goes on top.

Status words and their order are Ollama's (contract, section 1.6).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING

from dimora.core.errors import BadRequest, Conflict, InternalError, NotFound, UnsupportedFeature
from dimora.core.types import Progress
from dimora.models.converting.peft_adapters import require_fit
from dimora.models.converting.quantizing import named_kind, quantize, source_kind
from dimora.models.formats.facts import facts_of
from dimora.models.formats.folders import folder_layers
from dimora.models.formats.gguf import Header
from dimora.models.layer_changes import LayerChanges
from dimora.models.manifests import StoredManifest
from dimora.models.names import is_file_name, require_name
from dimora.models.sorting import GgufFile, Sorted, sort_adapter, sort_files, stored_paths
from dimora.models.taking import Taken
from dimora.models.template_pins import describe_change
from dimora.tasks.modelfile import is_version
from dimora.tasks.recipe import Recipe

if TYPE_CHECKING:
    from dimora.models.store import ModelStore

_FOLDER_HINT = "create from a GGUF of the same model"
_Steps = AsyncGenerator[Progress | Taken, None]


class Creation:
    """One run of `ModelStore.create`."""

    def __init__(self, store: ModelStore, name: str, recipe: Recipe, warnings: list[str]) -> None:
        self._store = store
        self._target = require_name(name, "name")
        self._recipe = recipe
        self._warnings = warnings
        self._base: StoredManifest | None = None
        self._files: Sorted | None = None
        self._draft_files: Sorted | None = None
        self._adapters: list[GgufFile | None] = []
        self._changes = LayerChanges(store, None)
        # What was made on the way to something else.
        self._between: set[str] = set()

    async def run(self) -> AsyncGenerator[Progress, None]:
        """See ModelStore.create."""
        async with aclosing(self._steps()) as steps:
            async for progress in steps:
                await asyncio.to_thread(self._store.keep_fresh, self._waiting())
                yield progress

    def _waiting(self) -> set[str]:
        """Blobs that no manifest may name before ours does."""
        recipe = self._recipe
        parts = [recipe.files, recipe.draft_files, recipe.documents]
        parts += [part.files for part in recipe.adapters]
        given = {digest for files in parts for digest in files.values()}
        return given | self._changes.made | self._between

    async def _steps(self) -> AsyncGenerator[Progress, None]:
        self._check_words()
        await asyncio.to_thread(self._look_at_files)
        for name in (self._recipe.source, self._recipe.draft):
            if name and self._store.locate(name) is None:
                async with aclosing(self._pull(name)) as steps:
                    async for progress in steps:
                        yield progress
        await asyncio.to_thread(self._begin)
        for part in (self._weights, self._adapt, self._quantize, self._draft):
            async with aclosing(part()) as steps:
                async for progress in steps:
                    yield progress
        await asyncio.to_thread(self._add_words)
        for layer in self._changes.layers:
            made = layer.digest in self._changes.made
            yield Progress(
                status=f"{'creating new' if made else 'using existing'} layer {layer.digest}"
            )
        yield Progress(status="writing manifest")
        await asyncio.to_thread(self._commit)
        yield Progress(status="success")

    def _check_words(self) -> None:
        """Whatever is wrong with the recipe itself, before anything is done."""
        recipe = self._recipe
        if not recipe.source and not recipe.files:
            raise BadRequest("neither 'from' or 'files' was specified", param="from")
        for kind in (recipe.quantize, recipe.draft_quantize):
            if kind:
                named_kind(kind)
        if recipe.draft and recipe.draft_files:
            raise BadRequest("a draft is a model or files, not both", param="draft_files")
        if recipe.draft_quantize and not (recipe.draft or recipe.draft_files):
            raise BadRequest("there is no draft to quantize", param="draft_quantize")
        if not all(math.isfinite(part.scale) for part in recipe.adapters):
            raise BadRequest("the scale of an adapter is a number", param="adapters")
        if recipe.requires:
            self._check_version(recipe.requires)

    def _check_version(self, wanted: str) -> None:
        if not is_version(wanted):
            raise BadRequest("requires must be a version such as 0.14.0", param="requires")
        ours = self._store.ollama_version
        if is_version(ours) and _numbers(wanted) > _numbers(ours):
            raise UnsupportedFeature(
                f"the model requires Ollama {wanted}, and Dimora runs models of Ollama {ours}",
                hint="a newer Dimora may run it",
                param="requires",
            )

    def _look_at_files(self) -> None:
        store, recipe = self._store, self._recipe
        if recipe.files:
            self._files = sort_files(stored_paths(store, recipe.files, "files"))
            if recipe.source and (self._files.kind != "gguf" or self._files.weights is not None):
                raise BadRequest(
                    "the weights come from a model or from files, not from both", param="files"
                )
            if not recipe.source and self._files.kind == "gguf" and self._files.weights is None:
                raise BadRequest("these files are a projector without a model", param="files")
        self._adapters = [
            sort_adapter(stored_paths(store, part.files, "adapters")) for part in recipe.adapters
        ]
        if recipe.draft_files:
            self._draft_files = sort_files(stored_paths(store, recipe.draft_files, "draft_files"))
        stored_paths(store, recipe.documents, "documents")

    async def _pull(self, name: str) -> AsyncGenerator[Progress, None]:
        # A path is not pulled: whoever may name one has brought it as files.
        if is_file_name(name):
            raise _no_model(name)
        # One step behind: that nobody has the model is told before anything else, and its success
        # is not ours.
        last: Progress | None = None
        try:
            async with aclosing(self._store.pull(name)) as steps:
                async for progress in steps:
                    if last is not None:
                        yield last
                    last = progress
        except NotFound as why:
            raise _no_model(name, why.hint) from None

    def _begin(self) -> None:
        if self._recipe.source:
            self._base = self._read(self._recipe.source)
            self._changes = LayerChanges(self._store, self._base)
        if not self._is_gguf():
            self._refuse_additions()
        header = self._known_header()
        if header is not None:
            for file in self._adapters:
                if file is not None:
                    require_fit(file.header, header)
            if self._recipe.quantize:
                _quantizable(header, named_kind(self._recipe.quantize))

    def _is_gguf(self) -> bool:
        """Whether the weights are a GGUF, or will be made into one."""
        if self._files is not None and not self._recipe.source:
            return self._files.kind in ("gguf", "safetensors")
        return self._changes.first("model") is not None

    def _refuse_additions(self) -> None:
        """Raises UnsupportedFeature for what no engine can use with a folder."""
        recipe = self._recipe
        for param, wanted, what, hint in (
            ("adapters", recipe.adapters, "adapters go", _FOLDER_HINT),
            ("draft", recipe.draft or recipe.draft_files, "a draft goes", _FOLDER_HINT),
            ("files", self._files is not None and recipe.source, "a projector goes", _FOLDER_HINT),
            (
                "quantize",
                recipe.quantize,
                "quantizing goes",
                "begin with the GGUF model the folder was made of",
            ),
        ):
            if wanted:
                raise UnsupportedFeature(
                    f"{what} with GGUF models only, and this is a folder of another format",
                    hint=hint,
                    code=f"{param}_unsupported",
                    param=param,
                )

    def _known_header(self) -> Header | None:
        """The header of the weights, where no conversion makes them first."""
        if self._files is not None and self._files.weights is not None:
            return self._files.weights.header
        layer = self._changes.first("model")
        return self._store.assembly.header(layer, self._target.display) if layer else None

    def _read(self, name: str) -> StoredManifest:
        there = self._store.locate(name)
        try:
            if there is not None:
                return self._store.manifests.read(there)
        except FileNotFoundError:
            pass
        raise _no_model(name)

    async def _weights(self) -> AsyncGenerator[Progress, None]:
        files = self._files
        if files is None:
            return
        if files.kind == "gguf":
            yield Progress(status="parsing GGUF")
            for kind, file in (("model", files.weights), ("projector", files.projector)):
                if file is not None:
                    facts_of(file.header)
                    self._put(kind, file, self._recipe.files)
        elif files.kind == "safetensors":
            async with aclosing(self._convert(self._recipe.files)) as steps:
                async for step in steps:
                    if isinstance(step, Progress):
                        yield step
                    else:
                        self._put_made(_role_of(self._store, step), step)
        else:
            layers = await asyncio.to_thread(folder_layers, self._store, self._recipe.files)
            self._changes.layers += layers

    def _convert(self, files: Mapping[str, str]) -> _Steps:
        from dimora.models.converting.importing import convert_folder

        return convert_folder(self._store, files)

    async def _adapt(self) -> AsyncGenerator[Progress, None]:
        for part, file in zip(self._recipe.adapters, self._adapters, strict=True):
            base = self._changes.first("model")
            if base is None:
                raise InternalError("an adapter has no model to go with")
            if file is not None:
                yield Progress(status="parsing GGUF")
                header = self._store.assembly.header(base, self._target.display)
                require_fit(file.header, header)
                digest = part.files[file.name]
                self._changes.put_adapter(digest, file.header.file_bytes, part.scale)
                continue
            from dimora.models.converting.importing import convert_adapter

            async with aclosing(convert_adapter(self._store, part.files, base.digest)) as steps:
                async for step in steps:
                    if isinstance(step, Progress):
                        yield step
                    else:
                        self._changes.made.add(step.digest)
                        self._changes.put_adapter(step.digest, step.size_bytes, part.scale)

    async def _quantize(self) -> AsyncGenerator[Progress, None]:
        if self._recipe.quantize:
            async with aclosing(self._quantized("model", self._recipe.quantize)) as steps:
                async for progress in steps:
                    yield progress

    async def _quantized(self, kind: str, wanted: str) -> AsyncGenerator[Progress, None]:
        """Put a quantized file in the place of the one of this kind of layer."""
        wanted = named_kind(wanted)
        layer = self._changes.first(kind)
        if layer is None:
            raise InternalError(f"there is no {kind} to quantize")
        header = await asyncio.to_thread(self._store.assembly.header, layer, self._target.display)
        if not _quantizable(header, wanted):
            return
        making = quantize(self._store, layer.digest, layer.size, wanted, self._warnings)
        async with aclosing(making) as steps:
            async for step in steps:
                if isinstance(step, Progress):
                    yield step
                else:
                    if layer.digest in self._changes.made:
                        self._between.add(layer.digest)
                    self._put_made(kind, step)

    async def _draft(self) -> AsyncGenerator[Progress, None]:
        files = self._draft_files
        if files is not None and files.kind == "gguf" and files.weights is not None:
            yield Progress(status="parsing GGUF")
            self._put("draft", files.weights, self._recipe.draft_files)
        elif files is not None and files.kind == "safetensors":
            async with aclosing(self._convert(self._recipe.draft_files)) as steps:
                async for step in steps:
                    if isinstance(step, Progress):
                        yield step
                    else:
                        self._put_made("draft", step)
        elif files is not None:
            raise BadRequest("a draft is a GGUF model", param="draft_files")
        elif self._recipe.draft:
            await asyncio.to_thread(self._put_draft_model)
        if files is not None or self._recipe.draft:
            await asyncio.to_thread(self._check_draft)
        if self._recipe.draft_quantize:
            async with aclosing(self._quantized("draft", self._recipe.draft_quantize)) as steps:
                async for progress in steps:
                    yield progress

    def _check_draft(self) -> None:
        """Raises BadRequest for a draft that writes no text; warns of one with other words."""
        draft, model = self._changes.first("draft"), self._changes.first("model")
        if draft is None or model is None:
            raise InternalError("a draft has no model to go with")
        read = self._store.assembly.header
        header = read(draft, self._target.display)
        if "completion" not in facts_of(header).capabilities:
            raise BadRequest("a draft is a model that writes text", param="draft")
        if _vocabulary(header) != _vocabulary(read(model, self._target.display)):
            self._warnings.append(
                "the draft splits text into other pieces than the model: its guesses help little,"
                " or not at all"
            )

    def _put_draft_model(self) -> None:
        weights = self._read(self._recipe.draft).manifest.of_kind("model")
        if not weights:
            raise BadRequest("a draft is a GGUF model", param="draft")
        self._changes.put("draft", weights[0].digest, weights[0].size)

    def _put(self, kind: str, file: GgufFile, digests: Mapping[str, str]) -> None:
        self._changes.put(kind, digests[file.name], file.header.file_bytes)

    def _put_made(self, kind: str, made: Taken) -> None:
        self._changes.made.add(made.digest)
        self._changes.put(kind, made.digest, made.size_bytes)

    def _size_of(self, digest: str) -> int:
        return self._store.blobs.size_of(digest) or 0

    def _add_words(self) -> None:
        """Everything that is small: texts, parameters, words of the config, documents."""
        recipe, changes = self._recipe, self._changes
        if changes.put_text("template", recipe.template):
            changes.config["template_chosen"] = bool(recipe.template)
        changes.put_text("system", recipe.system)
        changes.put_options(recipe.options)
        changes.put_messages(recipe.messages)
        changes.put_licenses(recipe.licenses)
        for name, digest in recipe.documents.items():
            changes.put_file("document", name, digest, self._size_of(digest))
        changes.put_config(renderer=recipe.renderer, parser=recipe.parser, requires=recipe.requires)
        for word in ("renderer", "parser"):
            if changes.config.get(word):
                self._warnings.append(
                    f"the {word} is kept with the model and not used: Dimora renders and reads by"
                    " the model's template"
                )

    def _commit(self) -> None:
        store, changes, base = self._store, self._changes, self._base
        before = store.digests_of(self._target)
        templates = store.templates(self._target)
        with store.changing():
            for layer in changes.layers:
                if store.blobs.size_of(layer.digest) != layer.size:
                    raise Conflict(
                        f"blob {layer.digest} went away meanwhile", hint="create the model again"
                    )
            target = store.manifests.locate(self._target) or self._target
            if base is not None and not changes.changed:
                # The very bytes, so that the same model has the same digest under every name.
                store.manifests.copy(base.name, target)
            else:
                like = base.manifest.config if base is not None else None
                store.writer.write(target, changes.layers, like=like, changes=changes.config)
        after = store.templates(self._target)
        if templates is not None and after is not None:
            change = describe_change(self._target.display, templates, after)
            self._warnings.extend(["\n".join(change)] if change else [])
        store.drop_unreferenced((before | self._between) - store.digests_of(self._target))


def _no_model(name: str, hint: str = "") -> NotFound:
    shown = name[:400]
    hint = hint or f"dimora pull {shown}"
    return NotFound(f"model '{shown}' not found", code="model_not_found", hint=hint)


def _vocabulary(header: Header) -> tuple[object, ...]:
    """What two models have to share for one to guess what the other writes."""
    told = (header.metadata.get(f"tokenizer.ggml.{key}") for key in ("model", "pre"))
    return *told, header.lengths.get("tokenizer.ggml.tokens")


def _quantizable(header: Header, wanted: str) -> bool:
    """False where the weights are as they are wanted. Raises BadRequest when they cannot be."""
    if facts_of(header).details.quantization_level == wanted:
        return False
    source_kind(header, wanted, None)
    return True


def _role_of(store: ModelStore, made: Taken) -> str:
    """Whether a converted file is the model or its projector. Raises InternalError."""
    from dimora.models.sorting import is_projector, read_gguf

    file = read_gguf(store.blobs.path(made.digest), "the converted file")
    if not file.header.architecture:
        raise InternalError("the converter made a file that is no model")
    return "projector" if is_projector(file.header) else "model"


def _numbers(version: str) -> tuple[int, ...]:
    found = [int(part) for part in version.lstrip("v").split(".")]
    return tuple(found + [0] * (3 - len(found)))
