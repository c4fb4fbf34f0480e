"""Our own terminal's language: a Request as MessagePack in, `core.frames` of Events out.

It says everything the house can say, so nothing is lost on the way to our own client. The client
reads the answer with `FrameReader(event_union())`; an error before the first frame is an HTTP
status with a JSON body `Failure`, one in the middle is a frame `Failure`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from functools import cache, reduce
from operator import or_
from types import ModuleType
from typing import Any

import msgspec

from dimora import tasks
from dimora.core.errors import BadRequest, DimoraError, error_named
from dimora.core.frames import pack
from dimora.core.types import Done, Event, Progress, Queued, Request
from dimora.dialects.base import Asked, Incoming, Route
from dimora.tasks import generation, knowing
from dimora.tasks.ready import base as ready

PATH = "/dimora/v1/ask"
MEDIA_TYPE = "application/x-dimora-frames"


class Failure(Event, frozen=True, kw_only=True, tag="failed"):
    """A DimoraError, taken apart; `kind` is the name of its class. Ends the answer."""

    kind: str
    status: int
    code: str
    message: str
    hint: str = ""
    param: str | None = None
    retry_after_seconds: int | None = None


def failure_of(error: DimoraError) -> Failure:
    return Failure(
        kind=type(error).__name__,
        status=error.status,
        code=error.code,
        message=error.message,
        hint=error.hint,
        param=error.param,
        retry_after_seconds=error.retry_after_seconds,
    )


def error_of(failure: Failure) -> DimoraError:
    """The error a Failure was made of; InternalError where its class is not known here."""
    return error_named(
        failure.kind,
        failure.message,
        hint=failure.hint,
        code=failure.code,
        param=failure.param,
        retry_after_seconds=failure.retry_after_seconds,
    )


def error(error: DimoraError) -> bytes:
    """The JSON body of an error before the first frame: a Failure."""
    return msgspec.json.encode(failure_of(error))


def _defined(module: ModuleType, kind: type) -> Iterator[type]:
    for value in vars(module).values():
        if (
            inspect.isclass(value)
            and issubclass(value, kind)
            and value.__module__ == module.__name__
        ):
            yield value


def _tasks() -> Iterator[ModuleType]:
    yield from tasks.SHELF.all().values()
    yield from tasks.READY.all().values()


@cache
def request_union() -> Any:
    """The union of all Requests of the tasks there are."""
    found = [r for module in _tasks() for r in _defined(module, Request)]
    return reduce(or_, found)


@cache
def event_union() -> Any:
    """The union of all Events an answer may consist of, Failure among them."""
    modules = (generation, knowing, ready, *_tasks())
    found = [e for module in modules for e in _defined(module, Event)]
    return reduce(or_, found, Queued | Progress | Done | Failure)


@cache
def _decoder() -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(request_union())


def decode_request(incoming: Incoming) -> Asked:
    """Raises BadRequest for what is no request of this version."""
    if not incoming.body:
        raise BadRequest("missing request body")
    try:
        request = _decoder().decode(incoming.body)
    except msgspec.ValidationError as why:
        raise BadRequest(
            f"not a request of this version: {why}",
            hint="client and server must be of one version",
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest("the request body is not MessagePack") from None
    return Asked(request, FrameAnswer())


class FrameAnswer:
    """Events as they are."""

    streaming = True
    media_type = MEDIA_TYPE

    def frame(self, event: Event) -> bytes:
        return pack(event)

    def refusal(self, error: DimoraError) -> bytes:
        return msgspec.json.encode(failure_of(error))

    def failure(self, error: DimoraError) -> bytes:
        return pack(failure_of(error))

    def whole(self, events: Sequence[Event]) -> bytes:
        return b"".join(pack(event) for event in events)


ROUTES = (Route(("POST",), PATH, decode_request),)
