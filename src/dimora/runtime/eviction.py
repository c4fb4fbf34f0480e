"""Which idle model leaves memory when another needs the room. Pure, decides and does nothing."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Idle(msgspec.Struct, frozen=True, kw_only=True):
    """A loaded model nobody uses or waits for."""

    seat: str
    keep_alive_seconds: float
    last_used: float
    memory_bytes: int


def choose_victim(idle: Sequence[Idle], missing_bytes: int) -> str | None:
    """The seat to empty first, or None when nothing is idle.

    The shortest keep-alive goes first, as its owner cares least; among equals the one whose
    memory alone is enough, then the one unused for longest.
    """
    if not idle:
        return None
    order = sorted(
        idle,
        key=lambda i: (i.keep_alive_seconds, i.memory_bytes < missing_bytes, i.last_used, i.seat),
    )
    return order[0].seat
