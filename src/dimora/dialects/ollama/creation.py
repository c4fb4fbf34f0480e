"""`/api/create`: a recipe as Ollama's clients write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from dimora.core.errors import BadRequest, DimoraError, UnsupportedFeature
from dimora.dialects._body import Body, BodyReader, read_options
from dimora.dialects.base import Asked, Incoming
from dimora.dialects.ollama import words
from dimora.dialects.ollama.answers import ProgressAnswer
from dimora.dialects.ollama.messages import MessageBody, read_messages
from dimora.dialects.ollama.words import Wording, is_name
from dimora.tasks.create_model import CreateModel
from dimora.tasks.recipe import AdapterPart, Recipe


class AdapterBody(Body, frozen=True, kw_only=True):
    """Ours: an adapter file with the weight of its effect."""

    digest: str
    scale: float = 1.0


class CreateBody(Body, frozen=True, kw_only=True):
    """`name` and `quantization` are old words for `model` and `quantize`; `draft` (the name of a
    model), `documents` and an object in `adapters` are ours."""

    model: str = ""
    name: str = ""
    source: str = msgspec.field(default="", name="from")
    files: dict[str, str] = {}
    adapters: dict[str, str | AdapterBody] = {}
    quantize: str = ""
    quantization: str = ""
    draft: str = ""
    draft_files: dict[str, str] = {}
    draft_quantize: str = ""
    documents: dict[str, str] = {}
    template: str | None = None
    system: str | None = None
    license: str | list[str] = ""
    parameters: dict[str, Any] = {}
    messages: list[MessageBody] = []
    renderer: str | None = None
    parser: str | None = None
    requires: str | None = None
    remote_host: str = ""
    info: dict[str, Any] = {}
    stream: bool = True


_CREATE = BodyReader(CreateBody)


class CreateAnswer(ProgressAnswer):
    """What is missing may be the model, its draft, or a tool: it is told as it is."""

    def refusal(self, error: DimoraError) -> bytes:
        return words.error(error)


def decode_create(incoming: Incoming) -> Asked:
    """Raises BadRequest; UnsupportedFeature for a model that runs on somebody else's machine."""
    body, warnings = _CREATE.read(incoming.body)
    name = body.model or body.name
    if not is_name(name):
        raise BadRequest("invalid model name", param="model")
    if body.remote_host:
        raise UnsupportedFeature(
            "create with remote_host is not supported: models run here, and nowhere else",
            param="remote_host",
        )
    if not body.source and not body.files:
        raise BadRequest("neither 'from' or 'files' was specified", param="from")
    options, about_options = read_options(body.parameters)
    messages, about_messages = read_messages(body.messages)
    licenses = [body.license] if isinstance(body.license, str) else body.license
    recipe = Recipe(
        source=body.source,
        files=body.files,
        adapters=read_adapters(body.adapters),
        quantize=body.quantize or body.quantization,
        draft=body.draft,
        draft_files=body.draft_files,
        draft_quantize=body.draft_quantize,
        documents=body.documents,
        options=options,
        system=body.system,
        template=body.template,
        messages=messages or None,
        licenses=tuple(text for text in licenses if text),
        renderer=body.renderer,
        parser=body.parser,
        requires=body.requires,
    )
    ignored = ("field 'info' tells of remote models and was ignored",) if body.info else ()
    request = CreateModel(
        model=name,
        recipe=recipe,
        warnings=(*warnings, *about_options, *about_messages, *ignored),
    )
    return Asked(request, CreateAnswer(Wording(), streaming=body.stream))


def read_adapters(adapters: Mapping[str, str | AdapterBody]) -> tuple[AdapterPart, ...]:
    """Every GGUF is an adapter; other files are one together with those of the same folder.

    Raises BadRequest when the files of one folder have different scales.
    """
    parts: dict[str, AdapterPart] = {}
    for path, value in adapters.items():
        body = AdapterBody(digest=value) if isinstance(value, str) else value
        folder, _, file_name = path.rpartition("/")
        alone = path.lower().endswith(".gguf")
        key = path if alone else f"{folder}/"
        there = parts.get(key)
        if there is not None and there.scale != body.scale:
            raise BadRequest(
                "the files of one adapter have different scales", param=f"adapters.{path[:100]}"
            )
        files = {**there.files} if there is not None else {}
        # A path that leads elsewhere is refused further on: it must not become a harmless one here.
        files[path if alone or ".." in folder or path.startswith("/") else file_name] = body.digest
        parts[key] = AdapterPart(files=files, scale=body.scale)
    return tuple(parts.values())
