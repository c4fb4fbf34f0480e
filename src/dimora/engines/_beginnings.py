"""How far two prompts begin alike: what was read of one need not be read again for the other."""

from __future__ import annotations

from bisect import bisect_left

# A text, or the ids of its tokens: each is compared with its like.
Words = str | list[int] | tuple[int, ...]


def shared_length(one: Words, other: Words) -> int:
    """In characters or tokens; 0 when they are not of one kind."""
    if type(one) is not type(other):
        return 0
    # Whole beginnings are compared, each at the speed of memory.
    lengths = range(1, min(len(one), len(other)) + 1)
    return bisect_left(lengths, True, key=lambda length: one[:length] != other[:length])


def saved_length(held: Words, prompt: Words) -> int:
    """What both share, where going on from there forgets at most twice as much of what is held as
    it saves; otherwise 0."""
    shared = shared_length(held, prompt)
    return shared if 3 * shared >= len(held) else 0
