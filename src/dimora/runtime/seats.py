"""A model's place in memory, those whose answers it writes and those who wait. Pure.

A ready model has as many *places* as it writes answers at a time. A workspace alone uses every
place. In company, that is while others were here lately, it leaves the last place to those who hold
none, and begins no answer while a prompt is being read: so whoever comes next is read at once, and
nobody's prompt is before his but the one that is being read.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from dimora.runtime.queueing import FairQueue, Waiting
from dimora.runtime.waits import Habits, Promises
from dimora.tasks.options import LoadOptions

# One who was here so long ago is expected back.
COMPANY_SECONDS = 600.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How a model would be loaded. `insisted` names the options the caller set on purpose."""

    engine: str
    reason: str
    options: LoadOptions
    insisted: frozenset[str] = frozenset()
    estimate_bytes: int = 0

    def serves(self, other: Plan) -> bool:
        """Whether a model loaded by this plan is good for a request that came with `other`."""
        # A window is never less than expected, also by those who name none: what one client loaded
        # for a short question would cut the texts of another.
        if self.options.num_ctx < other.options.num_ctx:
            return False
        for name in other.insisted - {"num_ctx"}:
            if name == "engine":
                if self.engine != other.engine:
                    return False
            elif getattr(self.options, name) != getattr(other.options, name):
                return False
        return True


class Active(msgspec.Struct):
    """One who holds a place, granted when `together` were held, this one counted. `reading` is
    over when the first of the answer is there."""

    workspace: str
    batch: bool
    granted: float
    together: int
    reading: bool = True


class Seat:
    """A model's place in memory, those who hold its places and those who wait for one."""

    def __init__(self, name: str, keep_alive_seconds: float, habits: Habits) -> None:
        self.name = name
        self.state: Literal["empty", "loading", "ready", "stopping"] = "empty"
        self.plan: Plan | None = None
        self.queue = FairQueue()
        self.active: dict[int, Active] = {}
        self.seen: dict[str, float] = {}
        self.left: dict[str, float] = {}
        self.promises = Promises()
        self.closing = False
        self.loading_since = 0.0
        self.loaded_at = 0.0
        self.keep_alive_seconds = keep_alive_seconds
        self.last_used = 0.0
        # `own_bytes` of them would be free without it: the pages of a mapped file are free anyway.
        self.memory_bytes = 0
        self.own_bytes = 0
        self.habits = habits

    @property
    def in_memory(self) -> bool:
        return self.state != "empty"

    @property
    def is_idle(self) -> bool:
        return self.state == "ready" and not self.active and not len(self.queue)

    @property
    def expires_at(self) -> float:
        return self.last_used + self.keep_alive_seconds

    @property
    def parallel(self) -> int:
        return self.plan.options.parallel if self.plan else 1

    def note_visit(self, workspace: str, now: float) -> None:
        self.seen = {w: at for w, at in self.seen.items() if now - at < COMPANY_SECONDS}
        self.left = {w: at for w, at in self.left.items() if w in self.seen}
        self.seen[workspace] = now

    def note_end(self, workspace: str, now: float) -> None:
        self.note_visit(workspace, now)
        self.left[workspace] = now

    def may_begin(self, waiting: Waiting, now: float) -> bool:
        """Whether a free place may be given to this one, or is kept for others."""
        if not self.active:
            return True
        held = {a.workspace for a in self.active.values() if not a.batch}
        reading = [a for a in self.active.values() if a.reading]
        if not waiting.batch and waiting.workspace not in held:
            # One who was answered while another's prompt was being read lets that be read first.
            left = self.left.get(waiting.workspace, -math.inf)
            return all(a.batch or left <= a.granted for a in reading)
        others = {w for w, at in self.seen.items() if now - at < COMPANY_SECONDS}
        if not waiting.batch:
            others.discard(waiting.workspace)
        if not others:
            return True
        return not reading and (self.parallel - len(self.active) > 1 or others <= held)
