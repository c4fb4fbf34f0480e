"""What a dialect offers: a table of routes, and the form of its errors.

A dialect is a module (or a folder, once it outgrew a file) with

    ROUTES: tuple[Route, ...]
    def error(error: DimoraError) -> bytes          the JSON body of an error

It may also have

    HEADERS: tuple[tuple[str, str], ...]            on every answer to a path of this language
    CHALLENGE: str                                  how a caller without a key is told to prove who
                                                    they are; `Bearer` where nothing is said
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from dimora.core.errors import DimoraError
from dimora.core.types import Event, Request


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP request as a dialect sees it; `path` holds the values of `{name}` in the route.

    `headers` are those the route names, in small letters. `default_model` is the house's choice
    for callers whose language lets them name none.
    """

    method: str
    body: bytes = b""
    path: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    version: str = ""
    default_model: str = ""


class Answer(Protocol):
    """Writes one answer; may keep state between frames (an id, an index, what is said
    at the end), never more."""

    streaming: bool
    media_type: str

    def frame(self, event: Event) -> bytes:
        """The bytes of one event in a stream, empty when this language has no word for it."""

    def refusal(self, error: DimoraError) -> bytes:
        """The whole body of an error before the first byte, in the words of this route."""

    def failure(self, error: DimoraError) -> bytes:
        """The bytes that end a stream which fails in the middle."""

    def whole(self, events: Sequence[Event]) -> bytes:
        """The whole body, folded from all events, when not streaming."""


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """How an answer begins. With `length_bytes` the body has exactly that many bytes."""

    status: int = 200
    media_type: str = ""
    length_bytes: int | None = None
    headers: tuple[tuple[str, str], ...] = ()


@runtime_checkable
class Opens(Protocol):
    """An Answer whose status and headers depend on what is found."""

    def opening(self, first: Event) -> Opening:
        """Of the first event of the answer."""


@runtime_checkable
class Wraps(Protocol):
    """An Answer in whose language an error is told inside an answer like any other."""

    refusal_status: int


class Asked(msgspec.Struct, frozen=True):
    """The house is asked something."""

    request: Request
    answer: Answer


class Fixed(msgspec.Struct, frozen=True):
    """Answered by the dialect itself: greetings and version numbers, nothing of anyone's."""

    body: bytes
    media_type: str = "application/json"
    status: int = 200


class Route(msgspec.Struct, frozen=True):
    """One line of a dialect's table; `path` may hold `{name}` or `{name:path}`.

    `form`: the body is a form with a file in it (multipart/form-data), not JSON; `bare`: there is
    none, whatever the method. `uploads`: the body may be of any size. It is not there when `decode`
    is called, but handed to the task as its content, piece by piece. `headers` are those of the
    request that `decode` wants to see, in small letters.
    """

    methods: tuple[str, ...]
    path: str
    decode: Callable[[Incoming], Asked | Fixed]
    uploads: bool = False
    form: bool = False
    bare: bool = False
    headers: tuple[str, ...] = ()
