"""Finds stop strings in a text that arrives in pieces, and lets nothing of them through."""

from __future__ import annotations

from collections.abc import Sequence


class StopFilter:
    """Holds back only what may be the beginning of a stop string."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [s for s in stops if s]
        self._held = ""
        self.matched = False

    def feed(self, text: str) -> str:
        """The text that may be told now; after a match nothing more."""
        if self.matched:
            return ""
        if not self._stops:
            return text
        self._held += text
        found = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.matched = True
            return self._held[: min(found)]
        keep = max(self._overlap(stop) for stop in self._stops)
        told, self._held = self._held[: len(self._held) - keep], self._held[-keep:] if keep else ""
        return told

    def finish(self) -> str:
        """What was held back for nothing."""
        rest, self._held = self._held, ""
        return "" if self.matched else rest

    def _overlap(self, stop: str) -> int:
        """How much of the end of the held text may be the beginning of `stop`."""
        for size in range(min(len(stop) - 1, len(self._held)), 0, -1):
            if self._held.endswith(stop[:size]):
                return size
        return 0
