"""Tell what a model takes before it is loaded, whether that fits, and what would."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Literal

import msgspec

from dimora.core.errors import BadRequest, DimoraError, NotFound
from dimora.core.types import Done, Event, Request
from dimora.tasks.advice import Forecast, Speed
from dimora.tasks.base import Model, Right, Rooms
from dimora.tasks.options import Options

RIGHT: Right = "read"

Change = Literal["context", "parallel", "quantization", "model"]

_SMALLEST_CONTEXT = 512
# Bytes that four-bit weights take of those of wider formats.
_FOUR_BIT_SHARES = {
    "F32": 0.15,
    "BF16": 0.3,
    "F16": 0.3,
    "Q8_0": 0.57,
    "Q6_K": 0.74,
    "Q5_K_M": 0.85,
}
_SMALLER_MODELS = 3


class PlanModel(Request, frozen=True, kw_only=True, tag="plan_model"):
    """`model` may also be a name of the catalogue that is not here. `parallel` 0 is what the
    settings say."""

    options: Options = Options()
    parallel: int = 0


class Remedy(msgspec.Struct, frozen=True, kw_only=True):
    """Something that would fit: `value` is the new window, the number of answers at a time, the
    format of the weights, or another model's name."""

    change: Change
    value: str
    needed_bytes: int


class ModelPlanned(Event, frozen=True, kw_only=True, tag="model_planned"):
    """`total_bytes` is what will be in memory, `needed_bytes` what there must be room for. `here`
    is False for a model that is only known of. `speed` is None for an embedder."""

    name: str
    here: bool
    parameter_size: str
    quantization: str
    forecast: Forecast
    total_bytes: int
    needed_bytes: int
    fits: bool
    speed: Speed | None
    remedies: tuple[Remedy, ...] = ()


async def run(request: PlanModel, rooms: Rooms) -> AsyncIterator[Event]:
    """ModelPlanned, then Done."""
    if request.parallel < 0:
        raise BadRequest("parallel must not be negative", param="parallel")
    model, here = _find(request.model, rooms)
    forecast = rooms.forecast(model, request.options, parallel=request.parallel)
    remedies = () if forecast.fits else tuple(_remedies(request, model, forecast, rooms))
    speed = None if model.can("embedding") else await rooms.speed(model, forecast)
    details = model.summary.details
    yield ModelPlanned(
        name=model.name,
        here=here,
        parameter_size=details.parameter_size,
        quantization=details.quantization_level,
        forecast=forecast,
        total_bytes=forecast.footprint.total_bytes,
        needed_bytes=forecast.footprint.needed_bytes,
        fits=forecast.fits,
        speed=speed,
        remedies=remedies,
    )
    yield Done(warnings=request.warnings)


def _find(name: str, rooms: Rooms) -> tuple[Model, bool]:
    """The model and whether it is here. Raises NotFound."""
    if not name:
        raise BadRequest("model is required", param="model")
    try:
        return rooms.models.find(name), True
    except NotFound:
        known = rooms.models.advised(name)
        if known is None:
            raise
        return known, False


def _remedies(
    request: PlanModel, model: Model, forecast: Forecast, rooms: Rooms
) -> Iterator[Remedy]:
    """One of each kind that would fit, the least change of its kind."""
    yield from _fewer_answers(request, model, forecast, rooms)
    yield from _shorter_window(request, model, forecast, rooms)
    yield from _smaller_weights(model, forecast)
    yield from _smaller_models(model, rooms)


def _fewer_answers(
    request: PlanModel, model: Model, forecast: Forecast, rooms: Rooms
) -> Iterator[Remedy]:
    for parallel in range(forecast.parallel - 1, 0, -1):
        found = rooms.forecast(model, request.options, parallel=parallel)
        if found.fits:
            yield _remedy("parallel", str(parallel), found)
            return


def _shorter_window(
    request: PlanModel, model: Model, forecast: Forecast, rooms: Rooms
) -> Iterator[Remedy]:
    """With one answer at a time, as a window that is shared is worth less."""
    window = forecast.num_ctx
    while window > _SMALLEST_CONTEXT:
        window //= 2
        options = Options(num_ctx=window).over(request.options)
        for parallel in dict.fromkeys((forecast.parallel, 1)):
            found = rooms.forecast(model, options, parallel=parallel)
            if found.fits:
                words = f"{window}" if parallel == forecast.parallel else f"{window} for one answer"
                yield _remedy("context", words, found)
                return


def _smaller_weights(model: Model, forecast: Forecast) -> Iterator[Remedy]:
    share = _FOUR_BIT_SHARES.get(model.summary.details.quantization_level)
    if share is None:
        return
    parts = forecast.footprint
    needed = parts.needed_bytes - round(model.engine_bytes * (1 - share))
    if needed <= forecast.usable_bytes:
        yield Remedy(change="quantization", value="Q4_K_M", needed_bytes=needed)


def _smaller_models(model: Model, rooms: Rooms) -> Iterator[Remedy]:
    """Models of the catalogue that do the same and fit, the largest of them."""
    kinds = {one.type for one in rooms.models.catalogue() if one.name == model.name}
    smaller = sorted(
        (
            one
            for one in rooms.models.catalogue()
            if one.size_bytes < model.summary.size_bytes
            and (one.type in kinds or (not kinds and one.type == _usual_type(model)))
        ),
        key=lambda one: one.size_bytes,
        reverse=True,
    )
    found = 0
    for one in smaller:
        other = rooms.models.advised(one.name)
        if other is None or found == _SMALLER_MODELS:
            continue
        try:
            forecast = rooms.forecast(other, Options())
        except DimoraError:
            continue
        if forecast.fits:
            found += 1
            yield _remedy("model", one.name, forecast)


def _usual_type(model: Model) -> str:
    return "embedding" if model.can("embedding") else "instruct"


def _remedy(change: Change, value: str, found: Forecast) -> Remedy:
    return Remedy(change=change, value=value, needed_bytes=found.footprint.needed_bytes)
