"""Pulls a model: from its name to a manifest in the store, by whichever source has it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dimora.core.errors import DimoraError, Forbidden, InternalError, NotFound, SourceFailed
from dimora.core.types import Progress
from dimora.models.catalogue import Entry, HubFile
from dimora.models.manifests import Layer, with_layer
from dimora.models.names import (
    Name,
    is_file_name,
    name_of_path,
    parse_name,
    path_of,
    without_scheme,
)
from dimora.models.sources import SHELF
from dimora.models.sources.base import Brought, Source, Wanted
from dimora.models.template_pins import Templates, describe_change

if TYPE_CHECKING:
    from dimora.models.store import ModelStore


# How much alike two names are of which one may be meant for the other (difflib).
_NEAR = 0.8


class Pull:
    """Pulls into one store. Status words and their order are Ollama's (contract, section 1.7)."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store

    async def run(self, name: str, *, insecure: bool) -> AsyncGenerator[Progress, None]:
        """See ModelStore.pull."""
        yield Progress(status="pulling manifest")
        wanted, source = self._choose(name, insecure)
        before = await asyncio.to_thread(self._store.digests_of, wanted.name)
        templates = await asyncio.to_thread(self._store.templates, wanted.name)
        brought: Brought | None = None
        try:
            async with contextlib.aclosing(source.fetch(wanted, self._store)) as steps:
                async for step in steps:
                    if isinstance(step, Brought):
                        brought = step
                    else:
                        yield step
        except (NotFound, Forbidden, SourceFailed) as why:
            raise self._advise(why, wanted) from None
        if brought is None:
            raise InternalError("the source brought no model")
        yield Progress(status="verifying sha256 digest")
        for layer in brought.layers:
            await asyncio.to_thread(self._verify, layer)
        entry = self._store.catalogue.find(wanted.name)
        if entry is not None:
            check_pinned(brought, entry)
            brought = await asyncio.to_thread(self._with_notice, brought, entry)
        yield Progress(status="writing manifest")
        await asyncio.to_thread(self._store.commit, wanted.name, brought)
        for line in await asyncio.to_thread(self._changed, wanted.name, templates):
            yield Progress(status=line)
        unused = before - await asyncio.to_thread(self._store.digests_of, wanted.name)
        if await asyncio.to_thread(self._store.drop_unreferenced, unused):
            yield Progress(status="removing unused layers")
        yield Progress(status="success")

    def _choose(self, text: str, insecure: bool) -> tuple[Wanted, Source]:
        is_file = is_file_name(text) and path_of(text).is_file()
        name = name_of_path(Path(text)) if is_file else parse_name(without_scheme(text))
        if name is not None:
            entry = self._store.catalogue.pinned(name)
            wanted = Wanted(text=text, name=name, entry=entry, insecure=insecure, is_file=is_file)
            for source in SHELF.all().values():
                if source.accepts(wanted):
                    return wanted, source
        raise _not_found("check the name")

    def _advise(self, why: DimoraError, wanted: Wanted) -> DimoraError:
        """An error of a source; where nobody spoke of its host, perhaps the name is wrong."""
        if wanted.name.host in wanted.text:
            return why
        why.hint = " ".join(word for word in (self._near(wanted.text), why.hint) if word)
        if why.code != "host_not_allowed":
            return why
        return _not_found(f"{why.message}; {why.hint}")

    def _near(self, text: str) -> str:
        """A word on models of the catalogue that are called nearly so, where there are some."""
        names = [entry.name for entry in self._store.catalogue.all()]
        text = text.lower()
        if text in names:
            return ""
        family = text.partition(":")[0]
        near = get_close_matches(text, names, cutoff=_NEAR) or [
            name for name in names if get_close_matches(family, [name.partition(":")[0]], 1, _NEAR)
        ]
        return f"did you mean {' or '.join(near[:3])}?" if near else ""

    def _with_notice(self, brought: Brought, entry: Entry) -> Brought:
        """With a licence among its layers, of our words where the source brought none."""
        if any(layer.kind == "license" for layer in brought.layers):
            return brought
        layer = self._store.layer("license", entry.license_text)
        manifest = brought.manifest and with_layer(brought.manifest, layer)
        return msgspec.structs.replace(brought, layers=(*brought.layers, layer), manifest=manifest)

    def _changed(self, name: Name, before: Templates | None) -> list[str]:
        """What is to be said of the model's chat template, which is remembered now."""
        after = self._store.templates(name)
        if before is None or after is None:
            return []
        return describe_change(name.display, before, after)

    def _verify(self, layer: Layer) -> None:
        if not self._store.is_verified(layer.digest) and not self._store.verify_blob(layer.digest):
            raise SourceFailed(f"digest mismatch, file must be downloaded again: {layer.digest}")


def _not_found(hint: str) -> NotFound:
    return NotFound(
        "pull model manifest: file does not exist",
        code="model_not_found",
        hint=f"`dimora catalogue` lists models that can be pulled; {hint}",
    )


def check_pinned(brought: Brought, entry: Entry) -> None:
    """Raises SourceFailed when the catalogue knows the model's file, and this is another."""
    pinned = entry.place.sha256 if isinstance(entry.place, HubFile) else ""
    if pinned and all(layer.digest != f"sha256:{pinned}" for layer in brought.layers):
        raise SourceFailed(
            f"{entry.name} came with another sha256 than the catalogue knows",
            hint="its owner may have changed the file, or something on the way did",
        )
