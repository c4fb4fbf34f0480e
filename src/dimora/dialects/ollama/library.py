"""What changes the store: pull, copy, delete. Creating has a file of its own."""

from __future__ import annotations

from collections.abc import Sequence

from dimora.core.errors import BadRequest
from dimora.core.types import Event
from dimora.dialects._body import Body, BodyReader
from dimora.dialects._writing import clip_name
from dimora.dialects.base import Asked, Incoming
from dimora.dialects.ollama.answers import OneObject, ProgressAnswer
from dimora.dialects.ollama.words import PULL_MISSING, QUOTED, Wording, is_name
from dimora.tasks.copy_model import CopyModel
from dimora.tasks.delete_model import DeleteModel
from dimora.tasks.pull_model import PullModel
from dimora.tasks.push_model import PushModel


class PullBody(Body, frozen=True, kw_only=True):
    """`name` is an old word for `model`. User and password do nothing, as upstream."""

    model: str = ""
    name: str = ""
    insecure: bool = False
    stream: bool = True
    username: str = ""
    password: str = ""


class PushBody(PullBody, frozen=True, kw_only=True):
    """The same words as for a pull."""


class CopyBody(Body, frozen=True, kw_only=True):
    source: str = ""
    destination: str = ""


class DeleteBody(Body, frozen=True, kw_only=True):
    model: str = ""
    name: str = ""


_PULL = BodyReader(PullBody)
_PUSH = BodyReader(PushBody)
_COPY = BodyReader(CopyBody)
_DELETE = BodyReader(DeleteBody)


def decode_pull(incoming: Incoming) -> Asked:
    """Raises BadRequest."""
    body, warnings = _PULL.read(incoming.body)
    name, more = _transfer(body)
    request = PullModel(model=name, insecure=body.insecure, warnings=(*warnings, *more))
    return Asked(request, ProgressAnswer(Wording(name, PULL_MISSING), streaming=body.stream))


def decode_push(incoming: Incoming) -> Asked:
    """Raises BadRequest."""
    body, warnings = _PUSH.read(incoming.body)
    name, more = _transfer(body)
    request = PushModel(model=name, insecure=body.insecure, warnings=(*warnings, *more))
    return Asked(request, ProgressAnswer(Wording(name), streaming=body.stream))


def _transfer(body: PullBody) -> tuple[str, list[str]]:
    """The name, and warnings."""
    name = body.model or body.name
    if not name:
        raise BadRequest("model is required", param="model")
    if not is_name(name.partition("://")[2] or name):
        raise BadRequest("invalid model name", param="model")
    ignored = [n for n in ("username", "password") if getattr(body, n)]
    return name, [f"field '{n}' does nothing and was ignored" for n in ignored]


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


def _say_nothing(events: Sequence[Event]) -> bytes:
    """Upstream answers an empty body; warnings, if any, are in a header."""
    return b""
