"""Remove a model's name, and the files no other name needs."""

from __future__ import annotations

from dimora.core.types import Request

RIGHT = "manage"


class DeleteModel(Request, frozen=True, kw_only=True, tag="delete_model"):
    pass
