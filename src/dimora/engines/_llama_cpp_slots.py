"""Which slot of a llama-server reads a prompt. Pure: it knows slots and prompts, no server.

A slot keeps what it has read until it reads something else, and a prompt that begins alike is read
from where they part. So a conversation returns to its slot, and what one scope has read is never
used for another.
"""

from __future__ import annotations

from typing import NamedTuple

from dimora.engines._beginnings import Words, saved_length


class Place(NamedTuple):
    """A slot that was taken. `ours`: all that it holds was read for the same scope."""

    number: int
    ours: bool


class _Slot:
    def __init__(self, number: int) -> None:
        self.number = number
        self.taken = False
        # Whose words it holds; None when it holds none, or nobody knows whose.
        self.scope: str | None = None
        self.held: Words = ""
        self.last_taken = 0
        # Of the request that it is taken for.
        self.asking = ""
        self.prompt: Words = ""


class Slots:
    """`count` slots, each for one request at a time."""

    def __init__(self, count: int) -> None:
        self._slots = [_Slot(number) for number in range(count)]
        self._taken = 0

    def take(self, scope: str, prompt: Words) -> Place | None:
        """The slot for this prompt until it is released; None while all are taken."""
        free = [slot for slot in self._slots if not slot.taken]
        if not free:
            return None
        slot = _returning(free, scope, prompt) or min(free, key=_least_missed)
        self._taken += 1
        slot.taken, slot.last_taken = True, self._taken
        slot.asking, slot.prompt = scope, prompt
        return Place(slot.number, slot.scope == scope)

    def release(self, place: Place, *, read: bool) -> None:
        """The server has left this slot. `read`: it has read all of the prompt; otherwise what was
        there before may still be there."""
        slot = self._slots[place.number]
        slot.taken = False
        slot.scope = slot.asking if read or place.ours else None
        slot.held = slot.prompt


def _returning(free: list[_Slot], scope: str, prompt: Words) -> _Slot | None:
    """The slot of this scope that saves most."""
    saving = [
        (saved, -slot.last_taken, slot)
        for slot in free
        if slot.scope == scope and (saved := saved_length(slot.held, prompt))
    ]
    return max(saving, key=lambda one: one[:2])[2] if saving else None


def _least_missed(slot: _Slot) -> tuple[bool, int]:
    """Those that hold nothing come first, then those that were taken longest ago."""
    return slot.scope is not None, slot.last_taken
