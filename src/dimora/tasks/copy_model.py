"""Give a model a second name."""

from __future__ import annotations

from dimora.core.types import Request

RIGHT = "manage"


class CopyModel(Request, frozen=True, kw_only=True, tag="copy_model"):
    destination: str
