"""Tell all there is to tell of one model."""

from __future__ import annotations

from dimora.core.types import Event, Request
from dimora.tasks.base import Model

RIGHT = "read"


class ShowModel(Request, frozen=True, kw_only=True, tag="show_model"):
    """`verbose` adds the tensors; long arrays of metadata are cut in any case."""

    verbose: bool = False


class ModelShown(Event, frozen=True, kw_only=True, tag="model_shown"):
    """`modelfile` is a Modelfile that makes this model again from its own name."""

    shown: Model
    modelfile: str
    refused_by: dict[str, str] = {}
