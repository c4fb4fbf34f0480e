"""Fetch a model into the store."""

from __future__ import annotations

from dimora.core.types import Request

RIGHT = "manage"


class PullModel(Request, frozen=True, kw_only=True, tag="pull_model"):
    """Answers with Progress events; their status words are Ollama's."""

    insecure: bool = False
