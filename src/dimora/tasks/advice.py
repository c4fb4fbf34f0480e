"""What is known of a model before it is loaded, or even here: the catalogue, memory and speed."""

from __future__ import annotations

from typing import Literal

import msgspec

ModelType = Literal["instruct", "code", "embedding", "vision", "reasoning"]
SizeClass = Literal["small", "medium", "large"]

# Parameters up to which a model counts as small or medium.
_SMALL_PARAMETERS = 4_500_000_000
_MEDIUM_PARAMETERS = 15_000_000_000


class Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What memory depends on, of a model that is not here: numbers of its configuration.

    `head_width` is of one key or value, `window` how far back a layer looks where not all layers
    look back to the beginning. A model of experts has `experts`, of which `experts_used` work on
    one token, each `expert_feed_forward` wide. A `tied` model writes with the matrix it reads with.
    """

    architecture: str
    blocks: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    feed_forward: int
    vocabulary: int
    tied: bool = False
    window: int = 0
    experts: int = 0
    experts_used: int = 0
    expert_feed_forward: int = 0
    splits_words_like: str = ""


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """One model of the catalogue, as people are told of it.

    With `rounded` the number of parameters and the size are about so. `memory_bytes` is an
    estimate for the usual window, 0 where nothing is known; `fits` compares it with this machine.
    `here` is whether the store has it, `accepted` whether its licence was accepted or needs no
    such thing.
    """

    name: str
    aliases: tuple[str, ...]
    description: str
    type: ModelType
    size: SizeClass
    parameters: int
    active_parameters: int
    quantization: str
    size_bytes: int
    rounded: bool
    context_length: int
    capabilities: tuple[str, ...]
    languages: tuple[str, ...]
    license: str
    license_url: str
    notice: str
    is_open: bool
    accepted: bool
    source: str
    memory_bytes: int
    fits: bool
    here: bool


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """The licence of a model that is about to be fetched."""

    license: str
    license_url: str
    notice: str
    is_open: bool
    accepted: bool


class Acceptance(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody agreed to a licence; `time` as ISO 8601 in UTC, `by` is how: asked, or a setting."""

    time: str
    user: str
    model: str
    license: str
    by: str = "asked"


class Footprint(msgspec.Struct, frozen=True, kw_only=True):
    """The memory one engine takes for a loaded model whose windows are full.

    `weights_bytes` as the engine holds them, `kv_cache_bytes` for all parallel answers,
    `compute_bytes` for intermediate results, `overhead_bytes` for process, libraries and words.
    `spare_bytes` of these are pages of the file that are not looked at again, which the system
    takes back when it needs them.
    `read_bytes_per_token` is what has to be read to write one token, `read_bytes_per_past_token`
    for each token before it; the token goes through `blocks`.
    """

    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int
    overhead_bytes: int
    spare_bytes: int = 0
    read_bytes_per_token: int = 0
    read_bytes_per_past_token: int = 0
    blocks: int = 0
    notes: tuple[str, ...] = ()

    @property
    def total_bytes(self) -> int:
        """What is in memory after the first answers."""
        return self.weights_bytes + self.kv_cache_bytes + self.compute_bytes + self.overhead_bytes

    @property
    def needed_bytes(self) -> int:
        """What there must be room for."""
        return self.total_bytes - self.spare_bytes


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens per second one answer is written with: between `low` and `high` by the bandwidth
    of the memory, at the end of a full window between the other two. `measured` and
    `measured_prompt` are what this machine did last, 0 if never; with `measured_at` (seconds since
    1970) what it did when it was measured on purpose, `streams` answers in all
    `measured_together`."""

    bandwidth_bytes_per_second: float
    low: float
    high: float
    low_when_full: float
    high_when_full: float
    measured: float = 0.0
    measured_prompt: float = 0.0
    measured_together: float = 0.0
    streams: int = 0
    measured_at: float = 0.0


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """How a model would be loaded, what that takes, and whether there is room.

    `usable_bytes` is what models may take by the settings, loaded ones included, since they can
    leave; `free_bytes` is free now.
    """

    engine: str
    engine_reason: str
    num_ctx: int
    parallel: int
    footprint: Footprint
    free_bytes: int
    usable_bytes: int

    @property
    def fits(self) -> bool:
        return self.footprint.needed_bytes <= self.usable_bytes


def size_class(parameters: int) -> SizeClass:
    """Foundry's words for how large a model is."""
    if parameters <= _SMALL_PARAMETERS:
        return "small"
    return "medium" if parameters <= _MEDIUM_PARAMETERS else "large"
