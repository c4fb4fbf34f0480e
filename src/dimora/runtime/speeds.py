"""How fast models write and read on this machine: what was seen, and what can be expected."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import msgspec

from dimora.core.types import Usage
from dimora.storage.disk import make_private_directory, write_whole
from dimora.tasks.advice import Footprint, Speed
from dimora.tasks.profile import Profile

# The share of the memory's bandwidth that engines reach, and what each block of the model adds:
# threads wait for each other. From `bench/BENCHMARKS.md`; small models are slowed by the latter.
_LOW_SHARE, _HIGH_SHARE = 0.5, 0.95
_LOW_BLOCK_SECONDS, _HIGH_BLOCK_SECONDS = 0.00025, 0.00005
# Fewer tokens than this tell nothing of a speed.
_LEAST_READ, _LEAST_WRITTEN = 64, 16
_LIMIT_BYTES = 1 << 20
_ENTRIES = 500


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens per second of one model and engine, the last that was seen; 0 for never."""

    written: float = 0.0
    read: float = 0.0


class Speeds:
    """Kept in `cache_path`, written when the house closes; losing it is no loss."""

    def __init__(self, cache_path: Path) -> None:
        self._path = cache_path / "speeds.json"
        self._lock = threading.Lock()
        self._known: dict[str, Seen] | None = None
        self._new: dict[str, Seen] = {}

    def note(self, load_key: str, engine: str, usage: Usage) -> None:
        """Learn from an answer that was given."""
        read = usage.prompt_tokens - usage.cached_tokens
        before = self.seen(load_key, engine)
        seen = Seen(
            written=_rate(usage.output_tokens, usage.output_seconds, _LEAST_WRITTEN)
            or before.written,
            read=_rate(read, usage.prompt_seconds, _LEAST_READ) or before.read,
        )
        self.put(load_key, engine, seen)

    def put(self, load_key: str, engine: str, seen: Seen) -> None:
        """Learn what was seen otherwise."""
        if seen != self.seen(load_key, engine):
            with self._lock:
                self._new[f"{engine} {load_key}"] = seen

    def seen(self, load_key: str, engine: str) -> Seen:
        key = f"{engine} {load_key}"
        with self._lock:
            if self._known is None:
                self._known = self._read()
            return self._new.get(key) or self._known.get(key) or Seen()

    def save(self) -> None:
        """Write down what is new."""
        with self._lock:
            if not self._new:
                return
            self._known = dict(list({**self._read(), **self._new}.items())[-_ENTRIES:])
            self._new = {}
            with contextlib.suppress(OSError):
                make_private_directory(self._path.parent)
                write_whole(self._path, msgspec.json.encode(self._known))

    def _read(self) -> dict[str, Seen]:
        try:
            with self._path.open("rb") as file:
                return msgspec.json.decode(file.read(_LIMIT_BYTES), type=dict[str, Seen])
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return {}


def expect(footprint: Footprint, num_ctx: int, bytes_per_second: float, seen: Seen) -> Speed:
    """Writing one token means reading the weights once, and what is left of the tokens before."""

    def rate(share: float, block_seconds: float, past_tokens: int) -> float:
        bytes_read = footprint.read_bytes_per_token
        bytes_read += past_tokens * footprint.read_bytes_per_past_token
        seconds = bytes_read / (bytes_per_second * share) + footprint.blocks * block_seconds
        return 1 / seconds if seconds > 0 else 0.0

    return Speed(
        bandwidth_bytes_per_second=bytes_per_second,
        low=rate(_LOW_SHARE, _LOW_BLOCK_SECONDS, 0),
        high=rate(_HIGH_SHARE, _HIGH_BLOCK_SECONDS, 0),
        low_when_full=rate(_LOW_SHARE, _LOW_BLOCK_SECONDS, num_ctx),
        high_when_full=rate(_HIGH_SHARE, _HIGH_BLOCK_SECONDS, num_ctx),
        measured=seen.written,
        measured_prompt=seen.read,
    )


def with_figures(speed: Speed, profile: Profile, engine: str) -> Speed:
    """What was measured on purpose counts more than what was seen last."""
    figures = None if profile.stale else profile.figures_of(engine)
    if figures is None or not figures.written_rate:
        return speed
    return msgspec.structs.replace(
        speed,
        measured=figures.written_rate,
        measured_prompt=figures.read_rate,
        measured_together=figures.together_rate,
        streams=figures.streams,
        measured_at=profile.measured_at,
    )


def _rate(tokens: int, seconds: float, least: int) -> float:
    return round(tokens / seconds, 1) if tokens >= least and seconds > 0 else 0.0
