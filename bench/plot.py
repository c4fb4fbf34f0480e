"""A small line plot as SVG."""

from __future__ import annotations

import math
from html import escape

_WIDTH, _HEIGHT, _MARGIN = 640, 360, 56
_COLOURS = ("#1b6ac9", "#c9511b", "#3f8f3f", "#7a4fb5")


def line_plot(curves: dict[str, list[tuple[float, float]]], *, title: str) -> str:
    """Points (x, y) by name; x on a scale of powers of two, y from zero."""
    points = [point for curve in curves.values() for point in curve]
    left, right = (math.log2(side(x for x, _ in points)) for side in (min, max))
    step = _round_step(max(y for _, y in points))
    top = step * math.ceil(max(y for _, y in points) / step)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log2(x) - left) / max(right - left, 1e-9)
        return (
            _MARGIN + across * (_WIDTH - 2 * _MARGIN),
            _HEIGHT - _MARGIN - y / top * (_HEIGHT - 2 * _MARGIN),
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_MARGIN}" y="24" font-size="14">{escape(title)}</text>',
    ]
    for x in sorted({x for x, _ in points}):
        at, bottom = place(x, 0)
        parts.append(f'<text x="{at:.0f}" y="{bottom + 18:.0f}" text-anchor="middle">{x:g}</text>')
    for number in range(round(top / step) + 1):
        value = number * step
        _, at = place(2**left, value)
        parts.append(
            f'<path d="M{_MARGIN} {at:.0f}H{_WIDTH - _MARGIN}" stroke="#ddd"/>'
            f'<text x="{_MARGIN - 6}" y="{at + 4:.0f}" text-anchor="end">{value:g}</text>'
        )
    for number, (name, curve) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in curve)
        _, label_at = place(*curve[-1])
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(
            f'<text x="{_WIDTH - _MARGIN + 4}" y="{label_at + 4:.0f}" fill="{colour}">'
            f"{escape(name)}</text>"
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _round_step(largest: float) -> float:
    """Between two lines, so that there are three to eight: 1, 2 or 5 times a power of ten."""
    least = max(largest, 1e-9) / 7
    power = 10 ** math.floor(math.log10(least))
    return next(n * power for n in (1, 2, 5, 10) if n * power >= least)
