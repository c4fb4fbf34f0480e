"""Pairs of measurements, and what may be said of them."""

from __future__ import annotations

import statistics
from typing import NamedTuple

# Of fewer pairs the middle says nothing.
LEAST_PAIRS = 5
# Servers differ in whether they count the token that begins a text.
NEAR_TOKENS = 2


class Reading(NamedTuple):
    """One measurement: a value, and how many tokens were read and written for it; or a `fault`, why
    there is none."""

    value: float
    prompt_tokens: int = 0
    output_tokens: int = 0
    fault: str = ""


class Aim(NamedTuple):
    """What the ratio of ours to theirs should be; `at_most`, else at least."""

    ratio: float
    at_most: bool

    def __str__(self) -> str:
        return f"{'at most' if self.at_most else 'at least'} {self.ratio:g}"

    def is_met(self, ratio: float) -> bool:
        return ratio <= self.ratio if self.at_most else ratio >= self.ratio


def objection(
    ours: list[Reading], theirs: list[Reading], *, asked_tokens: int, least: int = LEAST_PAIRS
) -> str:
    """Why no ratio may be made of these, "" when one may."""
    if min(len(ours), len(theirs)) < least:
        return f"{min(len(ours), len(theirs))} pairs, and {least} are needed"
    for one, other in zip(ours, theirs, strict=True):
        if fault := one.fault or other.fault:
            return fault
        if abs(one.prompt_tokens - other.prompt_tokens) > NEAR_TOKENS:
            return f"read {one.prompt_tokens} and {other.prompt_tokens} tokens"
        if asked_tokens and min(one.output_tokens, other.output_tokens) < asked_tokens:
            written = f"{one.output_tokens} and {other.output_tokens}"
            return f"an answer was cut short: {written} of {asked_tokens} tokens"
    return ""


def ratios(ours: list[Reading], theirs: list[Reading]) -> list[float]:
    """Ours by theirs, pair by pair."""
    return [one.value / other.value for one, other in zip(ours, theirs, strict=True)]


def row(title: str, unit: str, aim: Aim, ours: list[Reading], theirs: list[Reading],
        asked_tokens: int) -> str:  # fmt: skip
    """A line of the table: work, aim, ours, peer, ratio with its spread, whether it is met."""
    told = [_middle([r.value for r in side if not r.fault]) for side in (ours, theirs)]
    words = f"| {title}, {unit} | {aim} | {told[0]} | {told[1]} | "
    why_not = objection(ours, theirs, asked_tokens=asked_tokens)
    if why_not:
        return f"{words}no ratio: {why_not} | |"
    found = ratios(ours, theirs)
    middle = statistics.median(found)
    spread = f"{min(found):.2f}-{max(found):.2f}"
    return f"{words}{middle:.2f} ({spread}) | {'yes' if aim.is_met(middle) else 'no'} |"


def _middle(values: list[float]) -> str:
    return f"{statistics.median(values):.3g}" if values else "-"
