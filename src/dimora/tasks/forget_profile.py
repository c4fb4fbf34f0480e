"""Forget what was measured of a model, so that the usual rule chooses its engine again."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dimora.core.errors import NotFound
from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms

RIGHT: Right = "manage"


class ForgetProfile(Request, frozen=True, kw_only=True, tag="forget_profile"):
    pass


async def run(request: ForgetProfile, rooms: Rooms) -> AsyncIterator[Event]:
    """Done alone. Raises NotFound when no measurement decides."""
    model = rooms.models.find(request.model)
    if not await rooms.forget_profile(model):
        raise NotFound(
            f"no measurement decides which engine runs '{model.name}'",
            hint=f"`dimora bench {model.name} --apply` makes one",
            code="profile_not_found",
        )
    yield Done(warnings=request.warnings)
