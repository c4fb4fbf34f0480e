"""Which engine runs a model, and why, in words.

The rule: what is pinned (by the request, the model's PARAMETER, or the settings) is taken, and an
error says so when it cannot be. Otherwise every engine on the shelf that is here and does not
refuse the model ranks itself for it, and the highest rank wins; rank 0 means only when pinned.
"""

from __future__ import annotations

from types import ModuleType

import msgspec

from dimora.core.errors import ConfigurationError, UnsupportedFeature
from dimora.core.shelf import Shelf
from dimora.engines.base import EngineSettings
from dimora.tasks.base import Model


class Choice(msgspec.Struct, frozen=True):
    engine: str
    reason: str


def choose_engine(
    shelf: Shelf, model: Model, settings: EngineSettings, *, pinned: str, pinned_by: str
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
    ranked: list[tuple[int, str, str]] = []
    refused: list[tuple[int, str]] = []
    for name, module in shelf.all().items():
        why_not = _why_not(module, model, settings)
        rank, reason = module.rank(model, settings)
        if why_not:
            refused.append((rank, f"{name}: {why_not}"))
        elif rank > 0:
            ranked.append((rank, name, reason))
    if not ranked:
        told = "; ".join(why_not for _, why_not in refused)
        raise UnsupportedFeature(
            f"no engine here can load this model ({told})", code="engine_refuses"
        )
    best, name, reason = max(ranked)
    better = [why_not for rank, why_not in refused if rank > best]
    return Choice(name, "; ".join([reason, *better]))


def refusals(shelf: Shelf, model: Model, settings: EngineSettings) -> dict[str, str]:
    """Why each engine that cannot load this model cannot, by name."""
    why_nots = {name: _why_not(module, model, settings) for name, module in shelf.all().items()}
    return {name: why_not for name, why_not in why_nots.items() if why_not}


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
