"""Make a new model of an existing one: other parameters, system text, messages."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dimora.core.types import Done, Event, Message, Progress, Request
from dimora.tasks.base import Right, Rooms
from dimora.tasks.options import Options

RIGHT: Right = "manage"


class CreateModel(Request, frozen=True, kw_only=True, tag="create_model"):
    """`model` is the new name, `source` the existing one; what is None is kept from it.
    Parameters override one by one, messages replace, licences append.
    """

    source: str
    options: Options = Options()
    system: str | None = None
    template: str | None = None
    messages: tuple[Message, ...] | None = None
    licenses: tuple[str, ...] = ()


async def run(request: CreateModel, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress events, then Done."""
    rooms.models.create(
        request.model,
        request.source,
        options=request.options,
        system=request.system,
        template=request.template,
        messages=request.messages,
        licenses=request.licenses,
    )
    yield Progress(status="writing manifest")
    yield Progress(status="success")
    yield Done(warnings=request.warnings)
