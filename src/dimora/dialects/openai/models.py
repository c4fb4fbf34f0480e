"""`/v1/models` and `/v1/models/{model}`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dimora.core.errors import DimoraError
from dimora.core.types import Event
from dimora.dialects._writing import encode, find_event
from dimora.dialects.base import Asked, Incoming
from dimora.dialects.openai import words
from dimora.tasks.base import ModelSummary
from dimora.tasks.list_models import ListModels, ModelsFound
from dimora.tasks.show_model import ModelShown, ShowModel


def decode_models(incoming: Incoming) -> Asked:
    """A query or body means nothing here."""
    return Asked(ListModels(), ModelsAnswer())


def decode_model(incoming: Incoming) -> Asked:
    name = incoming.path["model"]
    return Asked(ShowModel(model=name), ModelAnswer(name))


def _model_fields(name: str, summary: ModelSummary) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": int(summary.modified_at),
        "owned_by": summary.name.split("/")[-2] if "/" in summary.name else "library",
    }


class ModelsAnswer:
    streaming = False
    media_type = words.JSON

    def frame(self, event: Event) -> bytes:
        return b""

    def refusal(self, error: DimoraError) -> bytes:
        return words.error(error)

    def failure(self, error: DimoraError) -> bytes:
        return self.refusal(error)

    def whole(self, events: Sequence[Event]) -> bytes:
        found = find_event(events, ModelsFound)
        models = [_model_fields(m.name, m) for m in found.models] if found else []
        return encode({"object": "list", "data": models})


class ModelAnswer(ModelsAnswer):
    """One model, under the name it was asked for by."""

    def __init__(self, name: str) -> None:
        self._name = name

    def refusal(self, error: DimoraError) -> bytes:
        return words.error(words.missing(error, self._name))

    def whole(self, events: Sequence[Event]) -> bytes:
        found = find_event(events, ModelShown)
        return encode(_model_fields(self._name, found.shown.summary) if found else {})
