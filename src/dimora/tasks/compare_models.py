"""Measure what a conversion of a model cost and brought, and keep the card with the result."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing

import msgspec

from dimora.core.errors import DimoraError
from dimora.core.types import Done, Event, Progress, Request
from dimora.prompts.prompt import Prompt
from dimora.tasks.base import Finish, Model, Right, Rooms, Token
from dimora.tasks.card import Card, Measured
from dimora.tasks.options import Options, sampling_from

RIGHT: Right = "manage"

_OUTPUT_TOKENS = 64
_PROMPT_CHARACTERS = 1500


class CompareModels(Request, frozen=True, kw_only=True, tag="compare_models"):
    """`model` is a converted form of `source`. `text` is what they are to predict, empty for the
    one that comes with the house; `title` names it. `keep` stores the card with `model`.
    """

    source: str
    text: str = ""
    title: str = ""
    keep: bool = True


class CardMade(Event, frozen=True, kw_only=True, tag="card_made"):
    card: Card


async def run(request: CompareModels, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress events, a CardMade, then Done. What cannot be measured is a note on the card."""
    before, after = rooms.models.find(request.source), rooms.models.find(request.model)
    notes: list[str] = []
    yield Progress(status="measuring predictions")
    text = request.text or await rooms.models.scoring_text()
    try:
        scores = await rooms.models.difference(before, after, text)
    except DimoraError as why:
        scores = None
        notes.append(f"predictions were not compared: {why.text}")
    sides = []
    for model in (before, after):
        yield Progress(status=f"measuring speed of {model.name}")
        side = await _measure(model, rooms, text, notes)
        sides.append(side)
    if scores is not None:
        perplexities = (scores.perplexity_before, scores.perplexity_after)
        sides = [
            msgspec.structs.replace(side, perplexity=perplexity)
            for side, perplexity in zip(sides, perplexities, strict=True)
        ]
    card = Card(
        before=sides[0],
        after=sides[1],
        text=request.title or ("a text of yours" if request.text else "the text of the house"),
        positions=scores.positions if scores else 0,
        top_agreement=scores.top_agreement if scores else None,
        kl_divergence=scores.kl_divergence if scores else None,
        measured_at=time.time(),
        processor=rooms.processor(),
        notes=tuple(notes),
    )
    if request.keep:
        await rooms.models.keep_card(request.model, card)
    yield CardMade(card=card)
    yield Done(warnings=request.warnings)


async def _measure(model: Model, rooms: Rooms, text: str, notes: list[str]) -> Measured:
    """Size, and the speed of one stream on the engine that the rule chooses."""
    details = model.summary.details
    side = Measured(
        name=model.name,
        format=details.format,
        quantization=details.quantization_level,
        size_bytes=model.summary.size_bytes,
    )
    try:
        engine, finish = await _run_once(model, rooms, text)
    except DimoraError as why:
        notes.append(f"the speed of {model.name} was not measured: {why.text}")
        return side
    return msgspec.structs.replace(
        side,
        engine=engine,
        prompt_tokens_per_second=_rate(finish.prompt_tokens, finish.prompt_seconds),
        # The first token comes with the prompt.
        output_tokens_per_second=_rate(finish.output_tokens - 1, finish.output_seconds),
    )


async def _run_once(model: Model, rooms: Rooms, text: str) -> tuple[str, Finish]:
    sampling = sampling_from(
        Options(temperature=0.0, num_predict=_OUTPUT_TOKENS, seed=1), shift=True, logprobs=None
    )
    finish = Finish(reason="stop")
    async with rooms.reserve(model, model.options, keep_alive=0) as reservation:
        async for _ in reservation.wait():
            pass
        loan = reservation.loan
        for words in ("Hello", text[:_PROMPT_CHARACTERS]):
            # The first run is for warming up.
            stream = loan.generate(Prompt(text=words), sampling)
            async with aclosing(stream):
                async for item in stream:
                    if not isinstance(item, Token):
                        finish = item
        return loan.engine, finish


def _rate(count: int, seconds: float) -> float | None:
    return round(count / seconds, 1) if count > 0 and seconds > 0 else None
