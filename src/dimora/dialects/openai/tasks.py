"""`/v1/tasks`: the ready tasks, their fields as JSON in, their result as JSON out."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import msgspec

from dimora import tasks
from dimora.core.errors import BadRequest, DimoraError, InternalError, NotFound
from dimora.core.types import Done, Event, Progress, Queued
from dimora.dialects._body import quote
from dimora.dialects._ready import ReadyBody, reader_of, request_from
from dimora.dialects._writing import encode, find_event, last_done, warning_fields
from dimora.dialects.base import Asked, Fixed, Incoming
from dimora.dialects.openai import words
from dimora.dialects.openai.words import Heading
from dimora.tasks.ready.base import Answered, fields_of, result_schema


class TaskBody(ReadyBody, frozen=True, kw_only=True):
    """What may be said beside a ready task's own fields."""

    stream: bool = False


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
    body, warnings = reader_of(name, TaskBody).read(incoming.body)
    if not body.model:
        raise BadRequest("model is required", param="model")
    request = request_from(name, body, warnings)
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
