"""What changes the store: pull, copy, delete, create."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dimora.core.errors import BadRequest, UnsupportedFeature
from dimora.core.types import Event
from dimora.dialects._body import Body, BodyReader, read_options
from dimora.dialects._writing import clip_name
from dimora.dialects.base import Asked, Incoming
from dimora.dialects.ollama.answers import OneObject, ProgressAnswer
from dimora.dialects.ollama.messages import MessageBody, read_messages
from dimora.dialects.ollama.words import PULL_MISSING, QUOTED, Wording, is_name
from dimora.tasks.copy_model import CopyModel
from dimora.tasks.create_model import CreateModel
from dimora.tasks.delete_model import DeleteModel
from dimora.tasks.pull_model import PullModel
from dimora.tasks.recipe import Recipe


class PullBody(Body, frozen=True, kw_only=True):
    """`name` is an old word for `model`. User and password do nothing, as upstream."""

    model: str = ""
    name: str = ""
    insecure: bool = False
    stream: bool = True
    username: str = ""
    password: str = ""


class CopyBody(Body, frozen=True, kw_only=True):
    source: str = ""
    destination: str = ""


class DeleteBody(Body, frozen=True, kw_only=True):
    model: str = ""
    name: str = ""


class CreateBody(Body, frozen=True, kw_only=True):
    """The `Any` fields from `files` on are known and refused."""

    model: str = ""
    name: str = ""
    source: str = msgspec.field(default="", name="from")
    template: str | None = None
    system: str | None = None
    license: str | list[str] = ""
    parameters: dict[str, Any] = {}
    messages: list[MessageBody] = []
    stream: bool = True
    files: Any = None
    adapters: Any = None
    draft_files: Any = None
    draft_quantize: Any = None
    quantize: Any = None
    quantization: Any = None
    renderer: Any = None
    parser: Any = None
    requires: Any = None
    remote_host: Any = None
    info: Any = None


_REFUSED = (
    "files",
    "adapters",
    "draft_files",
    "draft_quantize",
    "quantize",
    "quantization",
    "renderer",
    "parser",
    "requires",
    "remote_host",
    "info",
)

_PULL = BodyReader(PullBody)
_COPY = BodyReader(CopyBody)
_DELETE = BodyReader(DeleteBody)
_CREATE = BodyReader(CreateBody)


def decode_pull(incoming: Incoming) -> Asked:
    """Raises BadRequest."""
    body, warnings = _PULL.read(incoming.body)
    name = body.model or body.name
    if not name:
        raise BadRequest("model is required", param="model")
    if not is_name(name):
        raise BadRequest("invalid model name", param="model")
    ignored = [n for n in ("username", "password") if getattr(body, n)]
    request = PullModel(
        model=name,
        insecure=body.insecure,
        warnings=(*warnings, *(f"field '{n}' does nothing and was ignored" for n in ignored)),
    )
    return Asked(request, ProgressAnswer(Wording(name, PULL_MISSING), streaming=body.stream))


def decode_copy(incoming: Incoming) -> Asked:
    """Raises BadRequest."""
    body, warnings = _COPY.read(incoming.body)
    for word, name in (("source", body.source), ("destination", body.destination)):
        if not is_name(name):
            raise BadRequest(f'{word} "{clip_name(name)}" is invalid', param=word)
    request = CopyModel(model=body.source, destination=body.destination, warnings=warnings)
    return Asked(request, OneObject(_say_nothing, Wording(body.source, QUOTED)))


def decode_delete(incoming: Incoming) -> Asked:
    """Raises BadRequest."""
    body, warnings = _DELETE.read(incoming.body)
    name = body.model or body.name
    if not is_name(name):
        raise BadRequest(f'name "{clip_name(name)}" is invalid', param="model")
    request = DeleteModel(model=name, warnings=warnings)
    return Asked(request, OneObject(_say_nothing, Wording(name)))


def decode_create(incoming: Incoming) -> Asked:
    """Raises BadRequest; UnsupportedFeature for what needs more than an existing model."""
    body, warnings = _CREATE.read(incoming.body)
    name = body.model or body.name
    if not is_name(name):
        raise BadRequest("invalid model name", param="model")
    for field in _REFUSED:
        if getattr(body, field):
            raise UnsupportedFeature(
                f"create with {field} is not supported yet",
                hint="create from an existing model, with the field from",
                param=field,
            )
    if not body.source:
        raise BadRequest("neither 'from' or 'files' was specified", param="from")
    options, about_options = read_options(body.parameters)
    messages, about_messages = read_messages(body.messages)
    licenses = [body.license] if isinstance(body.license, str) else body.license
    recipe = Recipe(
        source=body.source,
        options=options,
        system=body.system,
        template=body.template,
        messages=messages or None,
        licenses=tuple(text for text in licenses if text),
    )
    request = CreateModel(
        model=name,
        recipe=recipe,
        warnings=(*warnings, *about_options, *about_messages),
    )
    return Asked(request, ProgressAnswer(Wording(body.source), streaming=body.stream))


def _say_nothing(events: Sequence[Event]) -> bytes:
    """Upstream answers an empty body; warnings, if any, are in a header."""
    return b""
