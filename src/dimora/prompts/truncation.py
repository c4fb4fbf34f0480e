"""Chooses which turns of a conversation to leave out when it is too long."""

from __future__ import annotations

from collections.abc import Sequence


def turns_to_drop(
    counts: Sequence[int], fixed: Sequence[bool], answers: Sequence[bool], budget: int
) -> frozenset[int]:
    """Positions to drop, oldest first, until the tokens of the rest are at most `budget`.

    `counts` are tokens by position. `fixed` turns and the last one always stay, even when that is
    too much. `answers` (of tools) go together with the turn they answer, and stay with it.
    """
    total = sum(counts)
    dropped: set[int] = set()
    for group in _groups(answers):
        if total <= budget:
            break
        if any(fixed[at] for at in group) or group[-1] == len(counts) - 1:
            continue
        dropped.update(group)
        total -= sum(counts[at] for at in group)
    return frozenset(dropped)


def _groups(answers: Sequence[bool]) -> list[list[int]]:
    """Every turn with the tool answers that follow it."""
    groups: list[list[int]] = []
    for at, is_answer in enumerate(answers):
        if is_answer and groups:
            groups[-1].append(at)
        else:
            groups.append([at])
    return groups
