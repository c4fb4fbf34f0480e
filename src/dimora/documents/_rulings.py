"""Finds tables in the lines that are drawn on a page: grids of level and upright edges."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

# Points by which lines that belong together may miss each other.
_NEAR = 3.0
_SHORTEST = 4.0
# More pairs of lines than this are a drawing.
_PAIRS = 400_000
_CELLS = 4000

Box = tuple[float, float, float, float]


class Edge(NamedTuple):
    """A level line at height `at`, or an upright one at x `at`, from `begin` to `end`."""

    upright: bool
    at: float
    begin: float
    end: float

    @classmethod
    def between(cls, one: tuple[float, float], other: tuple[float, float]) -> Edge | None:
        """None for a line that is neither, or hardly there."""
        width, height = abs(one[0] - other[0]), abs(one[1] - other[1])
        if width <= 1.0 and height >= _SHORTEST:
            return cls(True, one[0], min(one[1], other[1]), max(one[1], other[1]))
        if height <= 1.0 and width >= _SHORTEST:
            return cls(False, one[1], min(one[0], other[0]), max(one[0], other[0]))
        return None


class Grid(NamedTuple):
    """Rows from top to bottom; a cell is left, bottom, right, top, or None where another one
    spreads over it."""

    left: float
    bottom: float
    right: float
    top: float
    cells: list[list[Box | None]]


def grids_of(edges: list[Edge]) -> list[Grid]:
    """Every grid of at least two columns and two rows, from top to bottom."""
    uprights = _joined([edge for edge in edges if edge.upright])
    levels = _joined([edge for edge in edges if not edge.upright])
    if not uprights or not levels or len(uprights) * len(levels) > _PAIRS:
        return []
    grids = (_grid(*group) for group in _groups(uprights, levels))
    return sorted((g for g in grids if g is not None), key=lambda g: (-g.top, g.left))


def _joined(edges: list[Edge]) -> list[Edge]:
    """Pieces of the same line as one line."""
    joined: list[Edge] = []
    for position in _positions([edge.at for edge in edges]):
        pieces = sorted(e for e in edges if abs(e.at - position) <= _NEAR)
        pieces.sort(key=lambda e: e.begin)
        for edge in pieces:
            last = joined[-1] if joined else None
            if last and last.at == position and edge.begin <= last.end + _NEAR:
                joined[-1] = last._replace(end=max(last.end, edge.end))
            else:
                joined.append(edge._replace(at=position))
    return joined


def _positions(values: list[float]) -> list[float]:
    """Where lines stand, those near each other as one, in growing order."""
    found: list[float] = []
    for value in sorted(values):
        if not found or value - found[-1] > _NEAR:
            found.append(value)
    return found


def _groups(uprights: list[Edge], levels: list[Edge]) -> list[tuple[list[Edge], list[Edge]]]:
    """Lines that touch each other, directly or over others."""
    group_of = list(range(len(uprights) + len(levels)))

    def top_of(place: int) -> int:
        while group_of[place] != place:
            group_of[place] = group_of[group_of[place]]
            place = group_of[place]
        return place

    for i, upright in enumerate(uprights):
        for j, level in enumerate(levels, len(uprights)):
            if (
                level.begin - _NEAR <= upright.at <= level.end + _NEAR
                and upright.begin - _NEAR <= level.at <= upright.end + _NEAR
            ):
                group_of[top_of(i)] = top_of(j)
    groups: dict[int, tuple[list[Edge], list[Edge]]] = {}
    for place, edge in enumerate([*uprights, *levels]):
        groups.setdefault(top_of(place), ([], []))[0 if edge.upright else 1].append(edge)
    return list(groups.values())


def _grid(uprights: list[Edge], levels: list[Edge]) -> Grid | None:
    xs = _positions([edge.at for edge in uprights])
    ys = _positions([edge.at for edge in levels])[::-1]
    if len(xs) < 3 or len(ys) < 3 or len(xs) * len(ys) > _CELLS:
        return None
    rows = [_row(xs, top, bottom, uprights) for top, bottom in pairwise(ys)]
    return Grid(xs[0], ys[-1], xs[-1], ys[0], rows)


def _row(xs: list[float], top: float, bottom: float, uprights: list[Edge]) -> list[Box | None]:
    """A cell reaches to the next upright line that is drawn at this height."""
    middle = (top + bottom) / 2
    drawn = {edge.at for edge in uprights if edge.begin <= middle <= edge.end}
    row: list[Box | None] = []
    begin: float | None = xs[0]
    for left, right in pairwise(xs):
        if any(abs(at - left) <= _NEAR for at in drawn):
            begin = left
        if begin is None:
            row.append(None)
            continue
        end = next(
            (x for x in xs if x >= right and any(abs(a - x) <= _NEAR for a in drawn)), xs[-1]
        )
        row.append((begin, bottom, end, top))
        begin = None
    return row
