"""List the models in memory."""

from __future__ import annotations

from dimora.core.types import Event, Request
from dimora.tasks.base import Running

RIGHT = "read"


class ListRunning(Request, frozen=True, kw_only=True, tag="list_running"):
    pass


class RunningFound(Event, frozen=True, kw_only=True, tag="running_found"):
    """Latest expiry first."""

    running: tuple[Running, ...]
