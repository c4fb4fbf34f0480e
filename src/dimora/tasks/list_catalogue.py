"""Tell which models there are to be had, and under which terms."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from dimora.core.errors import DimoraError
from dimora.core.types import Done, Event, Request
from dimora.tasks.advice import Advice, ModelType, SizeClass, Terms
from dimora.tasks.base import Right, Rooms
from dimora.tasks.options import Options

RIGHT: Right = "read"


class ListCatalogue(Request, frozen=True, kw_only=True, tag="list_catalogue"):
    """What is empty asks for nothing. `model` is a name, for that one alone and its terms;
    `language` a code such as `it`; `licence` a piece of a licence's name."""

    size: SizeClass | None = None
    type: ModelType | None = None
    language: str = ""
    licence: str = ""
    fits: bool = False


class CatalogueFound(Event, frozen=True, kw_only=True, tag="catalogue_found"):
    """In the order of the catalogue. `terms` are of the one model that was asked for."""

    models: tuple[Advice, ...]
    terms: Terms | None = None


async def run(request: ListCatalogue, rooms: Rooms) -> AsyncIterator[Event]:
    """CatalogueFound, then Done."""
    found = [one for one in rooms.models.catalogue() if _is_wanted(one, request)]
    told = [_with_memory(one, rooms) for one in found]
    yield CatalogueFound(
        models=tuple(one for one in told if one.fits or not request.fits),
        terms=rooms.models.terms_of(request.model) if request.model else None,
    )
    yield Done(warnings=request.warnings)


# Models of another type that can do this as well.
_ABLE: dict[ModelType | None, str] = {"vision": "vision", "reasoning": "thinking"}


def _is_wanted(one: Advice, request: ListCatalogue) -> bool:
    return (
        (not request.model or request.model.lower() in (one.name, *one.aliases))
        and request.size in (None, one.size)
        and (request.type in (None, one.type) or _ABLE.get(request.type) in one.capabilities)
        and (not request.language or request.language.lower() in one.languages)
        and request.licence.casefold() in one.license.casefold()
    )


def _with_memory(one: Advice, rooms: Rooms) -> Advice:
    """With what it takes for the usual window, where its shape tells."""
    model = rooms.models.advised(one.name)
    if model is None:
        return one
    try:
        forecast = rooms.forecast(model, Options())
    except DimoraError:
        # No engine here can load it.
        return one
    return msgspec.structs.replace(
        one, memory_bytes=forecast.footprint.needed_bytes, fits=forecast.fits
    )
