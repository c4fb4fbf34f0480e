"""Make a new model: of an existing one, or of files in the store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from dimora.core.errors import DimoraError, UnsupportedFeature
from dimora.core.types import Done, Event, Request
from dimora.prompts.chat import check_template
from dimora.tasks.base import Right, Rooms, readable_or_none
from dimora.tasks.grounding import forget_documents, take_in_documents
from dimora.tasks.knowing import Ingested
from dimora.tasks.recipe import Recipe

RIGHT: Right = "manage"


class CreateModel(Request, frozen=True, kw_only=True, tag="create_model"):
    """`model` is the new name. Answers with Progress events; their status words are Ollama's."""

    recipe: Recipe


async def run(request: CreateModel, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress events, then Done. That no engine here runs the model, or that the one it asks for
    does not, is a warning: it may be made for another machine."""
    if request.recipe.template:
        check_template(request.recipe.template)
    warnings: list[str] = []
    before = readable_or_none(rooms, request.model)
    steps = rooms.models.create(request.model, request.recipe, warnings)
    async with aclosing(steps):
        async for progress in steps:
            yield progress
    model = rooms.models.find(request.model)
    try:
        rooms.forecast(model, model.options)
    except UnsupportedFeature as why:
        warnings.append(f"the model is made, and cannot be run here: {why.text}")
    if before is not None:
        await forget_documents(rooms, before)
    if model.documents:
        try:
            async with aclosing(take_in_documents(rooms, model)) as taken:
                async for step in taken:
                    if isinstance(step, Ingested) and step.document.error:
                        warnings.append(f"{step.document.name}: {step.document.error}")
                    elif not isinstance(step, Ingested):
                        yield step
        except DimoraError as why:
            # The model is made; its documents are taken in when it is first asked.
            warnings.append(f"the documents are kept, and not searched yet: {why.text}")
    yield Done(warnings=(*request.warnings, *warnings))
