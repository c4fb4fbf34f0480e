"""Puts a Model together from its manifest, its small layers and the header of its file."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from dimora.core.errors import BadRequest, DimoraError, InvalidModel
from dimora.core.json_text import BAD_JSON
from dimora.core.types import Message, Role, Text
from dimora.models.formats.facts import Facts, facts_of, in_order, template_capabilities
from dimora.models.formats.folders import Folder, digest_of, read_folder
from dimora.models.formats.gguf import Header, read_header
from dimora.models.manifests import (
    TEXT_LIMIT_BYTES,
    Config,
    Layer,
    Manifest,
    StoredManifest,
    decode_config,
    decode_messages,
    decode_params,
)
from dimora.models.remembered import Remembered, Stamp, Told, stamp_of
from dimora.prompts.template_language import is_jinja
from dimora.storage.blobs import BlobStore, hash_file
from dimora.tasks.base import EmbeddingHabits, Model, ModelDetails, ModelSummary
from dimora.tasks.card import Card
from dimora.tasks.options import Options, options_from

_ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}


class VerifiedFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Paths of a model's files, each found to be what the manifest says.

    `adapters` have their scales; `folder` has the files of a model that is a folder, by name.
    """

    weights: str = ""
    projector: str = ""
    adapters: tuple[tuple[str, float], ...] = ()
    draft: str = ""
    folder: dict[str, str] = {}


def summarize(stored: StoredManifest, config: Config, told: Told | None) -> ModelSummary:
    """One line of the list; `told` is what the file's header tells, if it had to be read."""
    details = told.details if told is not None else ModelDetails()
    family = config.model_family or details.family
    return ModelSummary(
        name=stored.name.display,
        digest=stored.digest,
        size_bytes=stored.manifest.size_bytes,
        modified_at=stored.modified_at,
        details=ModelDetails(
            format=config.model_format or "gguf",
            family=family,
            families=config.model_families or ((family,) if family else ()),
            parameter_size=config.model_type or details.parameter_size,
            quantization_level=_known(config.file_type) or details.quantization_level,
            context_length=config.context_length or details.context_length,
            embedding_length=config.embedding_length or details.embedding_length,
        ),
        capabilities=in_order({*(config.capabilities or ()), *(told.capabilities if told else ())}),
    )


def _known(file_type: str) -> str:
    return "" if file_type == "unknown" else file_type


class Assembly:
    """Reads what belongs to a model; nothing here changes the store."""

    def __init__(self, blobs: BlobStore, remembered: Remembered) -> None:
        self._blobs = blobs
        self._remembered = remembered
        # As the files were whose headers were found sound.
        self._sound: dict[str, Stamp] = {}

    def told(self, stored: StoredManifest) -> tuple[Config, Told | None]:
        """Config, and what the model file adds to it; the file is read at most once ever.

        Raises InvalidModel when the config is damaged; a damaged model file adds nothing.
        """
        config = self.config(stored.manifest, stored.name.display)
        if config.derived:
            return config, None
        weights = stored.manifest.of_kind("model")
        told = self._remembered.told_of(weights[0].digest) if weights else None
        if weights and told is None:
            try:
                facts = facts_of(self.header(weights[0], stored.name.display))
            except DimoraError:
                return config, None
            told = Told(details=facts.details, capabilities=facts.capabilities)
            self._remembered.note_told(weights[0].digest, told)
        if told is None:
            return config, None
        added = self.layer_capabilities(stored.manifest, stored.name.display)
        return config, msgspec.structs.replace(
            told, capabilities=in_order({*told.capabilities, *added})
        )

    def model(self, stored: StoredManifest) -> Model:
        """The whole model. Raises InvalidModel."""
        name, manifest = stored.name.display, stored.manifest
        facts, digest, fields = self.weights(manifest, name)
        config = self.config(manifest, name)
        told = Told(
            details=facts.details,
            capabilities=in_order({*facts.capabilities, *self.layer_capabilities(manifest, name)}),
        )
        return Model(
            summary=summarize(stored, config, told),
            weights_digest=digest,
            options=self.options(manifest, name),
            system=self.text(manifest, "system", name),
            messages=self.messages(manifest, name),
            licenses=self.licenses(manifest, name),
            embedding=_habits(config, facts),
            card=self._card(manifest, name),
            draft=self._draft(manifest, name),
            **self.added_fields(manifest, config),
            **fields | self.template_fields(manifest, config, facts, name),
        )

    def weights(self, manifest: Manifest, name: str) -> tuple[Facts, str, dict[str, Any]]:
        """What the model's files say, the digest that names them, and the fields of a Model they
        fill. Raises InvalidModel when they are damaged or none are there."""
        if layers := manifest.of_kind("model"):
            header = self.header(layers[0], name)
            facts = facts_of(header)
            return facts, layers[0].digest, self.header_fields(header, facts)
        if layers := manifest.of_kind("file"):
            folder = self.folder(layers, name)
            return folder.facts, digest_of(layers), folder.fields
        raise InvalidModel(
            f"model {name!r} has no model file in it",
            hint="GGUF files and the folders of OpenVINO and ONNX Runtime GenAI can be run",
        )

    def _draft(self, manifest: Manifest, name: str) -> Model | None:
        """The draft, as far as its file tells; a damaged one is told when it is to be loaded."""
        layer = next(iter(manifest.of_kind("draft")), None)
        if layer is None:
            return None
        try:
            header = self.header(layer, name)
        except InvalidModel:
            return None
        facts = facts_of(header)
        summary = ModelSummary(
            name=f"the draft of {name}",
            digest=layer.digest,
            size_bytes=layer.size,
            modified_at=0.0,
            details=facts.details,
            capabilities=facts.capabilities,
        )
        fields = self.header_fields(header, facts)
        return Model(summary=summary, weights_digest=layer.digest, **fields)

    def folder(self, layers: Sequence[Layer], name: str) -> Folder:
        """What the files of a folder say, their sizes being right. Raises InvalidModel."""
        paths = {layer.name: self._sized(layer, name) for layer in layers}
        try:
            return read_folder(paths)
        except OSError as why:
            raise InvalidModel(f"a file of {name!r} cannot be read: {why.strerror}") from None
        except InvalidModel as why:
            raise InvalidModel(f"{name!r} is damaged: {why.message}", hint=why.hint) from None

    @staticmethod
    def header_fields(header: Header, facts: Facts) -> dict[str, Any]:
        """The fields of a Model that come from the file's header alone."""
        return {
            "architecture": header.architecture,
            "chat_template": facts.chat_template,
            "bos_token": facts.bos_token,
            "eos_token": facts.eos_token,
            "fim": facts.fim,
            "metadata": header.metadata,
            "tensors": tuple((t.name, t.type, t.shape) for t in header.tensors),
            "tensor_bytes": tuple(t.size_bytes for t in header.tensors),
            "tensor_types": facts.tensor_types,
        }

    @staticmethod
    def added_fields(manifest: Manifest, config: Config) -> dict[str, Any]:
        """The fields of a Model that tell what goes with its weights."""
        return {
            "adapters": tuple((a.digest, a.scale) for a in manifest.of_kind("adapter")),
            "projector_digest": next((p.digest for p in manifest.of_kind("projector")), ""),
            "draft_digest": next((d.digest for d in manifest.of_kind("draft")), ""),
            "documents": tuple(d.name for d in manifest.of_kind("document")),
            "documents_digest": manifest.documents_digest,
            "document_bytes": sum(d.size for d in manifest.of_kind("document")),
            "renderer": config.renderer,
            "parser": config.parser,
            "requires": config.requires,
        }

    def template_fields(
        self, manifest: Manifest, config: Config, facts: Facts, name: str
    ) -> dict[str, str]:
        """The template of the manifest, and the one in the model file unless the former goes first:
        because it is Jinja as well, or because somebody chose it. Raises InvalidModel."""
        template = self.text(manifest, "template", name)
        chat_template = facts.chat_template
        if is_jinja(template):
            chat_template = template
        elif template and config.template_chosen:
            chat_template = ""
        return {"template": template, "chat_template": chat_template}

    def config(self, manifest: Manifest, name: str) -> Config:
        """Raises InvalidModel."""
        return decode_config(self.bytes_of(manifest.config, name), name)

    def header(self, layer: Layer, name: str) -> Header:
        """The header of a GGUF layer, whose size is checked. Raises InvalidModel."""
        try:
            path = self._sized(layer, name)
            stamp = stamp_of(path)
            header = read_header(path)
        except FileNotFoundError:
            raise _damaged(layer, name, "is missing") from None
        except OSError as why:
            raise _damaged(layer, name, f"cannot be read: {why.strerror}") from None
        except InvalidModel as why:
            if layer.digest in why.message:
                raise
            raise _damaged(layer, name, f"is damaged: {why.message}") from None
        self._sound[layer.digest] = stamp
        return header

    def verify(self, layer: Layer, name: str) -> Path:
        """The blob's path, once its size and sha256 were found right. Raises InvalidModel."""
        path = self._sized(layer, name)
        try:
            if self._remembered.is_verified(layer.digest, path):
                return path
            stamp = stamp_of(path)
            digest = hash_file(path)
        except OSError as why:
            raise _damaged(layer, name, f"cannot be read: {why.strerror}") from None
        if digest != layer.digest:
            hint = ""
            if path.stat().st_nlink > 1:
                hint = "a file linked with it was changed: remove the model and create it again"
            raise _damaged(layer, name, f"is damaged: its sha256 is {digest[7:19]}...", hint)
        self._remembered.note_verified(layer.digest, path, stamp)
        return path

    def require_usable(self, layer: Layer, name: str) -> Path:
        """The path of a GGUF blob an engine may open: the right bytes, and a sound header.

        Raises InvalidModel.
        """
        path = self.verify(layer, name)
        if self._sound.get(layer.digest) != stamp_of(path):
            self.header(layer, name)
        return path

    def require_usable_folder(self, layers: Sequence[Layer], name: str) -> dict[str, str]:
        """Paths of a folder's files by name, as an engine may open them. Raises InvalidModel."""
        paths = {layer.name: str(self.verify(layer, name)) for layer in layers}
        if paths:
            self.folder(layers, name)
        return paths

    def layer_capabilities(self, manifest: Manifest, name: str) -> set[str]:
        """What the layers beside the model file add."""
        found = template_capabilities(self.text(manifest, "template", name))
        if manifest.of_kind("projector"):
            found.add("vision")
        return found

    def text(self, manifest: Manifest, kind: str, name: str) -> str:
        """The text of the last layer of a kind, empty without one. Raises InvalidModel."""
        layers = manifest.of_kind(kind)
        return self._text_of(layers[-1], name) if layers else ""

    def params(self, manifest: Manifest, name: str) -> dict[str, Any]:
        """The options in the manifest, as JSON has them. Raises InvalidModel."""
        merged: dict[str, Any] = {}
        for layer in manifest.of_kind("params"):
            merged.update(decode_params(self.bytes_of(layer, name), name))
        return merged

    def bytes_of(self, layer: Layer, name: str) -> bytes:
        """A small layer's bytes. Raises InvalidModel naming the digest."""
        data = self._blobs.read(layer.digest, limit_bytes=TEXT_LIMIT_BYTES)
        if data is None:
            raise _damaged(layer, name, "is missing or damaged")
        return data

    def _text_of(self, layer: Layer, name: str) -> str:
        return self.bytes_of(layer, name).decode("utf-8", "replace")

    def licenses(self, manifest: Manifest, name: str) -> tuple[str, ...]:
        """Raises InvalidModel."""
        return tuple(self._text_of(layer, name) for layer in manifest.of_kind("license"))

    def _sized(self, layer: Layer, name: str) -> Path:
        size = self._blobs.size_of(layer.digest)
        if size is None:
            raise _damaged(layer, name, "is missing")
        if size != layer.size:
            raise _damaged(layer, name, f"has {size} bytes instead of {layer.size}")
        return self._blobs.path(layer.digest)

    def options(self, manifest: Manifest, name: str) -> Options:
        """The options we know. Raises InvalidModel."""
        try:
            return options_from(self.params(manifest, name))[0]
        except InvalidModel:
            raise
        except BadRequest as why:
            raise InvalidModel(f"the parameters of {name} are wrong: {why.message}") from None

    def _card(self, manifest: Manifest, name: str) -> Card | None:
        """What a conversion cost; one that cannot be read is as good as none."""
        for layer in manifest.of_kind("card"):
            with contextlib.suppress(InvalidModel, *BAD_JSON):
                return msgspec.json.decode(self.bytes_of(layer, name), type=Card)
        return None

    def messages(self, manifest: Manifest, name: str) -> tuple[Message, ...]:
        """The messages that open every conversation. Raises InvalidModel."""
        layers = manifest.of_kind("messages")
        if not layers:
            return ()
        stored = decode_messages(self.bytes_of(layers[-1], name), name)
        return tuple(
            Message(_ROLES[m.role], (Text(m.content),)) for m in stored if m.role in _ROLES
        )


def _habits(config: Config, facts: Facts) -> EmbeddingHabits:
    if config.embedding is None:
        return facts.embedding
    return EmbeddingHabits(
        query_prefix=config.embedding.query_prefix,
        passage_prefix=config.embedding.passage_prefix,
        unicode_form=config.embedding.unicode_form,
    )


def _damaged(layer: Layer, name: str, what: str, hint: str = "") -> InvalidModel:
    return InvalidModel(
        f"{layer.kind} file {layer.digest} of {name!r} {what}",
        hint=hint or f"dimora pull {name} fetches it again",
    )
