"""Keeps the measurements that decide which engine runs a model, and knows when they hold no longer.

One small file in the home, which several processes may share. Unlike a cache it holds what somebody
decided.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from dimora.core.json_text import BAD_JSON
from dimora.core.processor import processor_name
from dimora.core.shelf import Shelf
from dimora.engines.base import EngineSettings
from dimora.storage.disk import make_private_directory, write_whole
from dimora.storage.locks import held
from dimora.tasks.base import Model
from dimora.tasks.profile import Figures, Profile

_LIMIT_BYTES = 4 << 20
# The oldest are forgotten. One takes about a kilobyte.
_ENTRIES = 1000


class Profiles:
    """By a model's load key. Threads may share one object."""

    def __init__(self, home: Path) -> None:
        self._path = home / "profiles.json"
        self._lock = threading.Lock()
        self._stamp: tuple[int, ...] = ()
        self._known: dict[str, Profile] = {}

    def of(self, load_key: str) -> Profile | None:
        """As it was stored: whether it still holds is another question."""
        with self._lock:
            stamp = self._look()
            if stamp != self._stamp:
                self._known = self._read() if stamp else {}
                self._stamp = stamp
            return self._known.get(load_key)

    def keep(self, load_key: str, profile: Profile) -> None:
        """Raises OSError, and Conflict or ConfigurationError of locks."""

        def change(known: dict[str, Profile]) -> None:
            # The newest stands last.
            known.pop(load_key, None)
            known[load_key] = profile

        self._change(change)

    def forget(self, load_key: str) -> bool:
        """True when there was one. Raises as `keep`."""
        there = self.of(load_key) is not None
        if there:
            self._change(lambda known: known.pop(load_key, None))
        return there

    def _change(self, change: Callable[[dict[str, Profile]], object]) -> None:
        make_private_directory(self._path.parent)
        with held(self._path.with_suffix(".lock"), what="the list of measurements"):
            known = self._read()
            change(known)
            kept = dict(list(known.items())[-_ENTRIES:])
            write_whole(self._path, msgspec.json.encode(kept), mode=0o600)

    def _look(self) -> tuple[int, ...]:
        try:
            state = self._path.stat()
        except OSError:
            return ()
        return (state.st_ino, state.st_size, state.st_mtime_ns)

    def _read(self) -> dict[str, Profile]:
        """Nothing where the file is damaged: models run by the usual rule then."""
        try:
            with self._path.open("rb") as file:
                size = min(_LIMIT_BYTES, os.fstat(file.fileno()).st_size)
                return msgspec.json.decode(file.read(size), type=dict[str, Profile])
        except (OSError, *BAD_JSON):
            return {}


def engines_here(shelf: Shelf, model: Model, settings: EngineSettings) -> dict[str, str]:
    """The version of each engine that might be chosen for the model, by name."""
    found = {}
    for name, module in shelf.all().items():
        offer = module.offer(settings)
        rank, _ = module.rank(model, settings)
        if offer.available and rank > 0 and not module.refuses(model):
            found[name] = str(offer.version or offer.build)
    return found


def new_profile(
    shelf: Shelf,
    model: Model,
    settings: EngineSettings,
    figures: tuple[Figures, ...],
    *,
    inexact: bool,
) -> Profile:
    """Of here and now."""
    return Profile(
        measured_at=round(time.time(), 1),
        machine=processor_name(),
        engines=engines_here(shelf, model, settings),
        figures=figures,
        inexact=inexact,
    )


def why_stale(profile: Profile, shelf: Shelf, model: Model, settings: EngineSettings) -> str:
    """Why these figures say nothing of here and now; empty when they do."""
    if profile.machine != processor_name():
        return "it was another machine"
    then, now = profile.engines, engines_here(shelf, model, settings)
    for name in sorted(then.keys() | now.keys()):
        if name not in now:
            return f"{name} is not here any more"
        if name not in then:
            return f"{name} is new here"
        if then[name] != now[name]:
            return f"{name} is another version"
    return ""
