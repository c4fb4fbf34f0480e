"""Load a model before it is needed, keep it longer, or let go of it."""

from __future__ import annotations

from dimora.core.types import Request
from dimora.tasks.options import Options

RIGHT = "use"


class HoldModel(Request, frozen=True, kw_only=True, tag="hold_model"):
    """`keep_alive` 0 unloads, else loads. Ends in a GenerationDone with reason load or unload."""

    keep_alive: float | None = None
    options: Options = Options()
