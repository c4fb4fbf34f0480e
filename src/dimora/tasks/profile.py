"""What engines did with a model when they were measured on this machine: plain values.

A *profile* is such figures after somebody said that they are to decide which engine runs the model.
"""

from __future__ import annotations

import math
import time

import msgspec

# The request that figures are weighed by: a few pages are read and a page is written, as when
# somebody asks about a document. Most of what people wait for is near it, and it counts reading
# and writing, of which some engines do one well and some the other.
TYPICAL_READ_TOKENS = 1000
TYPICAL_WRITTEN_TOKENS = 250


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One engine's. Rates are tokens per second, 0 where nothing was measured.

    `read_rate` is of `read_tokens` that were new, `again_seconds` the time to the first token when
    the same text came before with another end. `written_rate` is of one answer behind that text,
    `together_rate` of `streams` answers in all, their reading included. `memory_bytes` is what the
    worker held after that. An embedder reads passages and writes nothing. `notes` say what was
    measured otherwise than usual; `disturbed`: the machine had other work meanwhile.
    """

    engine: str
    version: str
    load_seconds: float
    read_tokens: int
    read_rate: float
    again_seconds: float = 0.0
    written_rate: float = 0.0
    streams: int = 0
    together_rate: float = 0.0
    memory_bytes: int = 0
    writes: bool = True
    disturbed: bool = False
    notes: tuple[str, ...] = ()


def typical_seconds(figures: Figures) -> float:
    """What decides: how long the typical request takes. Infinite where a part was not measured."""
    parts = [(TYPICAL_READ_TOKENS, figures.read_rate)]
    if figures.writes:
        parts.append((TYPICAL_WRITTEN_TOKENS, figures.written_rate))
    return sum(tokens / rate if rate > 0 else math.inf for tokens, rate in parts)


class Profile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Figures that decide.

    They hold for this `machine` and these `engines` (name to version) alone. `measured_at` is
    seconds since 1970. `inexact`: engines that do not load the model just as its file says may be
    chosen as well. `stale` says why the figures decide no longer, empty while they do.
    """

    measured_at: float
    machine: str
    engines: dict[str, str]
    figures: tuple[Figures, ...]
    inexact: bool = False
    stale: str = ""

    def figures_of(self, engine: str) -> Figures | None:
        return next((one for one in self.figures if one.engine == engine), None)


def day_words(seconds: float) -> str:
    """The day of a time since 1970, here: `23 Nov 2025`."""
    when = time.localtime(seconds)
    return f"{when.tm_mday} {time.strftime('%b %Y', when)}"


class BenchWish(msgspec.Struct, frozen=True, kw_only=True):
    """How to measure: `engines` by name, none for all that may be chosen; `force` also when others
    are being answered or have to leave memory, and apply also what was disturbed."""

    engines: tuple[str, ...] = ()
    quick: bool = False
    apply: bool = False
    inexact: bool = False
    force: bool = False


class EngineTold(msgspec.Struct, frozen=True):
    """An engine and why it."""

    engine: str
    reason: str


class Benched(msgspec.Struct, frozen=True, kw_only=True):
    """What a measurement brought.

    `failed` and `refused` say of other engines why they have no figures. `eligible` are those that
    the figures may choose, the fastest first; `inexact` names those that do not load the model just
    as its file says, and why. `runs` is the engine of now, None when the one that is pinned refuses
    the model; `would` the one of these figures, None when they may choose none or one is `pinned`.
    `in_memory`: the model is, with the engine of before. `applied`: from now on the figures decide;
    `not_applied` says why not, when that was asked.
    """

    name: str
    machine: str
    measured_at: float
    figures: tuple[Figures, ...]
    typical_seconds: dict[str, float]
    failed: dict[str, str] = {}
    refused: dict[str, str] = {}
    eligible: tuple[str, ...] = ()
    inexact: dict[str, str] = {}
    runs: EngineTold | None = None
    would: EngineTold | None = None
    pinned: bool = False
    in_memory: bool = False
    applied: bool = False
    not_applied: str = ""
