"""`/v1/tasks`: the ready tasks, their fields as JSON in, their result as JSON out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import Any

import msgspec

from dimora import tasks
from dimora.core.errors import BadRequest, DimoraError, InternalError, NotFound
from dimora.core.types import Done, Event, Progress, Queued
from dimora.dialects._body import (
    Body,
    BodyReader,
    check_integer,
    keep_alive_from,
    quote,
    read_options,
)
from dimora.dialects._writing import encode, find_event, last_done, warning_fields
from dimora.dialects.base import Asked, Fixed, Incoming
from dimora.dialects.openai import words
from dimora.dialects.openai.words import Heading
from dimora.tasks.ready.base import COMMON, Answered, fields_of, request_of, result_schema


class TaskBody(Body, frozen=True, kw_only=True):
    """What every ready task may be told beside its own fields."""

    model: str = ""
    language: str = ""
    batch: bool = False
    stream: bool = False
    options: dict[str, Any] = {}
    keep_alive: Any = None


@cache
def _reader(name: str) -> BodyReader[Any]:
    kind = request_of(tasks.READY.load(name))
    shape = msgspec.structs.fields(kind)
    own = [
        (f.name, f.type) if f.required else (f.name, f.type, f.default)
        for f in shape
        if f.name not in COMMON
    ]
    body = msgspec.defstruct(
        f"{kind.__name__}Body", own, bases=(TaskBody,), frozen=True, kw_only=True
    )
    return BodyReader(body)


def decode_task(incoming: Incoming) -> Asked:
    """Raises BadRequest for fields that are none of the task's, NotFound for no task."""
    name = incoming.path["name"]
    if name not in tasks.READY.names():
        raise NotFound(
            f"there is no task {quote(name)}",
            hint=f"tasks: {', '.join(tasks.READY.names())}",
            code="task_not_found",
            param="name",
        )
    body, warnings = _reader(name).read(incoming.body)
    if not body.model:
        raise BadRequest("model is required", param="model")
    options, about_options = read_options(body.options)
    kind = request_of(tasks.READY.load(name))
    own = {f.name: getattr(body, f.name) for f in fields_of(tasks.READY.load(name))}
    for field, value in own.items():
        check_integer(value, field)
    common = {"model": body.model, "language": body.language, "batch": body.batch}
    try:
        # Read once more: what a field may be is said in the request's type alone.
        request = msgspec.convert({**common, **own, "request": name}, kind)
    except msgspec.ValidationError as why:
        raise BadRequest(str(why), param=str(why).rpartition("$.")[2].strip("`")) from None
    request = msgspec.structs.replace(
        request,
        options=options,
        keep_alive=keep_alive_from(body.keep_alive),
        warnings=(*warnings, *about_options),
    )
    return Asked(request, TaskAnswer(name, body.model, streaming=body.stream))


def decode_tasks(incoming: Incoming) -> Fixed:
    """The list of the ready tasks."""
    del incoming
    listed = [describe(name, tasks.READY.load(name)) for name in tasks.READY.names()]
    return Fixed(encode({"object": "list", "data": listed}))


def describe(name: str, task: ModuleType) -> dict[str, Any]:
    """One task: what it does, its fields, the schema of its result, an example."""
    return {
        "id": name,
        "object": "task",
        "description": (task.__doc__ or "").partition("\n")[0],
        "fields": [msgspec.to_builtins(field) for field in fields_of(task)],
        "result_schema": result_schema(task),
        "example": dict(task.EXAMPLE),
    }


class TaskAnswer:
    """One result; before it, where it is streamed, how far the work is."""

    def __init__(self, name: str, model: str, *, streaming: bool) -> None:
        self.streaming = streaming
        self.media_type = words.EVENTS if streaming else words.JSON
        self._name = name
        self._heading = Heading(
            f"task-{words.make_id()}", "task.result", words.now_seconds(), model
        )
        self._held: list[Event] = []

    def frame(self, event: Event) -> bytes:
        match event:
            case Queued(place=place):
                return f": queued place {place}\n\n".encode()
            case Progress(status=status):
                return words.frame({"object": "task.progress", "status": status})
            case Answered():
                self._held.append(event)
            case Done():
                return b"data: " + self.whole([*self._held, event]) + b"\n\n" + words.END
        return b""

    def refusal(self, error: DimoraError) -> bytes:
        return words.error(words.missing(error, self._heading.model))

    def failure(self, error: DimoraError) -> bytes:
        return b"data: " + self.refusal(error) + b"\n\n"

    def whole(self, events: Sequence[Event]) -> bytes:
        found = find_event(events, Answered)
        if found is None:
            raise InternalError("the task gave no result")
        done = last_done(events)
        return encode(
            self._heading.fields()
            | {
                "task": self._name,
                "language": found.language,
                "result": found.result,
                "usage": words.usage_fields(done.usage),
            }
            | warning_fields(done)
        )
