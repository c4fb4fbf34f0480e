"""List the models in the store."""

from __future__ import annotations

from dimora.core.types import Event, Request
from dimora.tasks.base import ModelSummary

RIGHT = "read"


class ListModels(Request, frozen=True, kw_only=True, tag="list_models"):
    """`prefix` keeps the names that begin with it."""

    prefix: str = ""


class ModelsFound(Event, frozen=True, kw_only=True, tag="models_found"):
    """Newest first."""

    models: tuple[ModelSummary, ...]
