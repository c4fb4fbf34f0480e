"""Reads what a ready task is asked: its own fields, and those that all of them have.

Shared by the JSON dialects; not a dialect itself.
"""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import msgspec

from dimora import tasks
from dimora.core.errors import BadRequest
from dimora.dialects._body import Body, BodyReader, check_integer, keep_alive_from, read_options
from dimora.tasks.ready.base import COMMON, ReadyRequest, fields_of, request_of


class ReadyBody(Body, frozen=True, kw_only=True):
    """What every ready task may be told beside its own fields."""

    model: str = ""
    language: str = ""
    batch: bool = False
    options: dict[str, Any] = {}
    keep_alive: Any = None


def body_type(name: str, base: type[ReadyBody]) -> type[ReadyBody]:
    """The body of one task: the fields of `base`, and the task's own."""
    kind = request_of(tasks.READY.load(name))
    own = [
        (f.name, f.type) if f.required else (f.name, f.type, f.default)
        for f in msgspec.structs.fields(kind)
        if f.name not in COMMON
    ]
    made = msgspec.defstruct(f"{kind.__name__}Body", own, bases=(base,), frozen=True, kw_only=True)
    return cast("type[ReadyBody]", made)


@cache
def reader_of(name: str, base: type[ReadyBody]) -> BodyReader[Any]:
    return BodyReader(body_type(name, base))


def request_from(name: str, body: Any, warnings: tuple[str, ...]) -> ReadyRequest:
    """The request of a task. Raises BadRequest for values that its type does not allow."""
    options, about_options = read_options(body.options)
    task = tasks.READY.load(name)
    own = {f.name: getattr(body, f.name) for f in fields_of(task)}
    for field, value in own.items():
        check_integer(value, field)
    common = {"model": body.model, "language": body.language, "batch": body.batch}
    try:
        # Read once more: what a field may be is said in the request's type alone.
        request = msgspec.convert({**common, **own, "request": name}, request_of(task))
    except msgspec.ValidationError as why:
        raise BadRequest(str(why), param=str(why).rpartition("$.")[2].strip("`")) from None
    return msgspec.structs.replace(
        request,
        options=options,
        keep_alive=keep_alive_from(body.keep_alive),
        warnings=(*warnings, *about_options),
    )
