"""Take the models of a signed file into the store; for the person at the terminal alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from dimora.core.types import Done, Event, Progress, Request
from dimora.tasks.base import Right, Rooms
from dimora.tasks.keeping import BundledModel

RIGHT: Right = "manage"


class ImportBundle(Request, frozen=True, kw_only=True, tag="import_bundle"):
    """`replace` other models of the same names. `trust` is the fingerprint of the key it must be
    signed with, `remember` trusts that key from then on."""

    path: str
    replace: bool = False
    trust: str = ""
    remember: bool = False


class ModelImported(Event, frozen=True, kw_only=True, tag="model_imported"):
    """`model.state` is what it was before."""

    model: BundledModel


async def run(request: ImportBundle, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress events, one ModelImported for each model, then Done."""
    steps = rooms.models.import_bundle(
        request.path, replace=request.replace, trust=request.trust, remember=request.remember
    )
    async with aclosing(steps):
        async for step in steps:
            yield step if isinstance(step, Progress) else ModelImported(model=step)
    yield Done(warnings=request.warnings)
