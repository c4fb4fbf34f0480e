"""Which engine runs a model, and why, in words.

The rule: what is pinned (by the request, the model's PARAMETER, or the settings) is taken, and an
error says so when it cannot be. Otherwise every engine on the shelf that is here and does not
refuse the model ranks itself for it, and the highest rank wins; rank 0 means only when pinned.
Where a measurement decides (`dimora bench --apply`), the fastest at the typical request wins of
those that it has figures of and that load the model just as its file says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import ModuleType

import msgspec

from dimora.core.errors import ConfigurationError, UnsupportedFeature
from dimora.core.shelf import Shelf
from dimora.engines.base import FAITHFUL_RANK, EngineSettings
from dimora.tasks.base import Model
from dimora.tasks.profile import (
    TYPICAL_READ_TOKENS,
    TYPICAL_WRITTEN_TOKENS,
    Figures,
    Profile,
    day_words,
    typical_seconds,
)


class Choice(msgspec.Struct, frozen=True):
    engine: str
    reason: str


class Rank(msgspec.Struct, frozen=True, order=True):
    """How well an engine suits a model, by its own words. `why_not`: it cannot load it at all."""

    rank: int
    engine: str
    reason: str
    why_not: str = ""

    @property
    def is_faithful(self) -> bool:
        return self.rank >= FAITHFUL_RANK


def choose_engine(
    shelf: Shelf,
    model: Model,
    settings: EngineSettings,
    *,
    pinned: str,
    pinned_by: str,
    profile: Profile | None = None,
) -> Choice:
    """The reason also tells of engines that would have come first, why they did not.

    Raises UnsupportedFeature when the pinned engine, or every engine, refuses the model.
    """
    if pinned:
        why_not = _why_not(_pinned_module(shelf, pinned), model, settings)
        if why_not:
            raise UnsupportedFeature(
                f"the engine {pinned} cannot load this model: {why_not}",
                hint="leave the engine open, or pin another",
                param="engine",
                code="engine_refuses",
            )
        return Choice(pinned, f"pinned by {pinned_by}")
    ranks = ranks_of(shelf, model, settings)
    willing = [one for one in ranks.values() if not one.why_not and one.rank > 0]
    refusing = [one for one in ranks.values() if one.why_not]
    if not willing:
        told = "; ".join(f"{one.engine}: {one.why_not}" for one in refusing)
        raise UnsupportedFeature(
            f"no engine here can load this model ({told})", code="engine_refuses"
        )
    measured = eligible(profile, ranks) if profile and not profile.stale else []
    if profile and measured:
        return Choice(measured[0].engine, _measured_reason(profile, measured))
    best = max(willing)
    better = [f"{one.engine}: {one.why_not}" for one in refusing if one.rank > best.rank]
    if profile and profile.stale:
        when = day_words(profile.measured_at)
        better.append(f"the measurement of {when} holds no longer: {profile.stale}")
    return Choice(best.engine, "; ".join([best.reason, *better]))


def ranks_of(shelf: Shelf, model: Model, settings: EngineSettings) -> dict[str, Rank]:
    """What each engine on the shelf says of the model, by name."""
    found = {}
    for name, module in shelf.all().items():
        rank, reason = module.rank(model, settings)
        found[name] = Rank(rank, name, reason, _why_not(module, model, settings))
    return found


def refusals(shelf: Shelf, model: Model, settings: EngineSettings) -> dict[str, str]:
    """Why each engine that cannot load this model cannot, by name."""
    why_nots = {name: _why_not(module, model, settings) for name, module in shelf.all().items()}
    return {name: why_not for name, why_not in why_nots.items() if why_not}


def eligible(profile: Profile, ranks: Mapping[str, Rank]) -> list[Figures]:
    """The figures of the engines that a measurement may choose; it chooses the first."""
    found = [figures for figures in profile.figures if _may_run(figures, profile, ranks)]
    return sorted(found, key=typical_seconds)


def _may_run(figures: Figures, profile: Profile, ranks: Mapping[str, Rank]) -> bool:
    rank = ranks.get(figures.engine)
    if rank is None or rank.why_not or rank.rank <= 0 or math.isinf(typical_seconds(figures)):
        return False
    return rank.is_faithful or profile.inexact


def _measured_reason(profile: Profile, measured: Sequence[Figures]) -> str:
    """Such as `measured 23 Nov 2025: 1.9 s to read 1000 tokens and write 250, llama_cpp 9.8 s`."""
    first, *others = measured
    work = f"to read {TYPICAL_READ_TOKENS} tokens"
    work += f" and write {TYPICAL_WRITTEN_TOKENS}" if first.writes else ""
    told = f"measured {day_words(profile.measured_at)}: {typical_seconds(first):.3g} s {work}"
    return ", ".join([told, *(f"{one.engine} {typical_seconds(one):.3g} s" for one in others)])


def _pinned_module(shelf: Shelf, name: str) -> ModuleType:
    try:
        return shelf.load(name)
    except ConfigurationError as unknown:
        raise UnsupportedFeature(
            f"there is no engine {name!r}", hint=unknown.hint, param="engine"
        ) from None


def _why_not(module: ModuleType, model: Model, settings: EngineSettings) -> str:
    offer = module.offer(settings)
    return str(offer.reason) if not offer.available else str(module.refuses(model))
