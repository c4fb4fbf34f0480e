"""Grammars of numbers between two limits, as JSON writes numbers."""

from __future__ import annotations

import math
from decimal import Decimal

# Longer numbers are only ever written by a model that cannot stop.
_DIGITS = 15
_LARGEST = 10**_DIGITS - 1
_MOST_DECIMALS = 6
# Decimals written where the limits themselves have none.
_USUAL_DECIMALS = (0, 1, 2)

INTEGER = f'"-"? ("0" | [1-9] [0-9]{{0,{_DIGITS - 1}}})'
NUMBER = f'{INTEGER} ("." [0-9]{{1,{_DIGITS}}})? ([eE] [-+]? [0-9]{{1,2}})?'


def numbers_between(low: Decimal | None, high: Decimal | None, *, whole: bool) -> str:
    """Numbers from `low` to `high`, both included; None is no limit on that side.

    Fractions have up to two decimals, or as many as the limits have.
    Raises ValueError when there is none.
    """
    if low is None:
        low = Decimal(-_LARGEST) if high is None or high >= 0 else high * 10
    if high is None:
        high = Decimal(_LARGEST) if low <= 0 else max(low * 10, Decimal(_LARGEST))
    scales = {0} if whole else {*_USUAL_DECIMALS, _decimals_of(low), _decimals_of(high)}
    choices = []
    for decimals in sorted(scales):
        first = math.ceil(low.scaleb(decimals))
        last = math.floor(high.scaleb(decimals))
        if first <= last:
            choices.append(_signed(first, last, decimals))
    if not choices:
        raise ValueError("no number lies between the limits")
    return " | ".join(choices)


def _decimals_of(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return min(max(0, -exponent), _MOST_DECIMALS) if isinstance(exponent, int) else 0


def _signed(first: int, last: int, decimals: int) -> str:
    """Whole numbers from first to last, written with a point before the last `decimals` digits."""
    choices = []
    if last >= 0:
        choices.append(_unsigned(max(first, 0), last, decimals))
    if first < 0:
        choices.append(f'"-" ({_unsigned(max(1, -last), -first, decimals)})')
    return " | ".join(choices)


def _unsigned(first: int, last: int, decimals: int) -> str:
    shortest = decimals + 1
    choices = []
    for length in range(max(shortest, len(str(first))), max(shortest, len(str(last))) + 1):
        # Only the shortest may begin with a zero, such as 0.5.
        start = max(first, 10 ** (length - 1) if length > shortest else 0)
        end = min(last, 10**length - 1)
        choices.append(_same_length(f"{start:0{length}d}", f"{end:0{length}d}", decimals))
    return " | ".join(choices)


def _same_length(start: str, end: str, decimals: int) -> str:
    """Digit strings from `start` to `end`, both of the same length."""
    if not start:
        return '""'
    point = '"." ' if decimals and len(start) == decimals else ""
    rest = len(start) - 1
    if set(start) == {"0"} and set(end) == {"9"}:
        return point + _any_digits(len(start), 0 if point else decimals)
    if start[0] == end[0]:
        return f'{point}"{start[0]}" ({_same_length(start[1:], end[1:], decimals)})'
    low, high = int(start[0]), int(end[0])
    choices = []
    if set(start[1:]) - {"0"}:
        choices.append(f'"{low}" ({_same_length(start[1:], "9" * rest, decimals)})')
        low += 1
    if set(end[1:]) - {"9"}:
        choices.append(f'"{high}" ({_same_length("0" * rest, end[1:], decimals)})')
        high -= 1
    if low <= high:
        choices.append(f"[{low}-{high}] {_any_digits(rest, decimals)}")
    return f"{point}({' | '.join(choices)})"


def _any_digits(count: int, decimals: int) -> str:
    if not count:
        return '""'
    if not decimals or count < decimals:
        return f"[0-9]{{{count}}}"
    before = f"[0-9]{{{count - decimals}}} " if count > decimals else ""
    return f'{before}"." [0-9]{{{decimals}}}'
