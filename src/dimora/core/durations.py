"""Durations as people and Modelfiles write them: `5m`, `1h30m`, `-1`, `90`.

The grammar is Go's time.ParseDuration, since that is what Ollama's clients send.
"""

from __future__ import annotations

import math
import re

FOREVER = math.inf

# Go counts nanoseconds in 64 bits; what ends later than that is no date a clock can tell.
_LIMIT_SECONDS = 9.2e9
_UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_PIECE = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")


def parse_duration(text: str) -> float:
    """Seconds of a Go duration such as `1h30m`, FOREVER as `bounded` has it.

    Raises ValueError, also for a bare number other than `0`, as Go does.
    """
    body = text.strip()
    sign = 1
    if body[:1] in "+-" and body:
        sign = -1 if body[0] == "-" else 1
        body = body[1:]
    if body == "0":
        return 0.0
    seconds, end = 0.0, 0
    for piece in _PIECE.finditer(body):
        if piece.start() != end:
            break
        seconds += float(piece[1]) * _UNIT_SECONDS[piece[2]]
        end = piece.end()
    if not body or end != len(body):
        raise ValueError(f"invalid duration {text!r}: write it like 30s, 5m or 1h30m")
    return bounded(sign * seconds)


def bounded(seconds: float) -> float:
    """FOREVER when negative, and when it is longer than Go could count."""
    return float(seconds) if 0 <= seconds <= _LIMIT_SECONDS else FOREVER


def format_duration(seconds: float) -> str:
    """A Go duration string, `-1` for FOREVER."""
    if seconds == FOREVER or seconds < 0:
        return "-1"
    hours, rest = divmod(seconds, 3600)
    minutes, secs = divmod(rest, 60)
    tail = f"{secs:.9f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{int(hours)}h{int(minutes)}m{tail}"
    return f"{int(minutes)}m{tail}" if minutes else tail
