"""How much memory llama.cpp takes for a model on CPUs, before it is loaded.

The structure is that of its source (key-value cache, weights laid out anew for wide registers);
the constants were measured with `bench/footprints.py`.
"""

from __future__ import annotations

import msgspec

from dimora.engines._anatomy import Anatomy, anatomy_of, is_encoder
from dimora.tasks.advice import Footprint
from dimora.tasks.base import Model
from dimora.tasks.options import LoadOptions

# Weights of these formats are copied into another order beside the file in memory.
_LAID_OUT_ANEW = frozenset({"Q4_0", "Q4_K", "IQ4_NL"})
_KV_BYTES_PER_VALUE = 2
_KV_STEP_TOKENS = 256
_NUMBER_BYTES = 4
# Numbers a token of the batch needs at a time, for each unit of the two widths.
_FEED_FORWARD_COPIES = 3.4
_WIDTH_COPIES = 6
# Worker and server with its libraries, without words; and each word of the vocabulary.
_PROCESS_BYTES = 55 * 2**20
_WORD_BYTES = 235
# What is written of every token of a text that is embedded: room for a choice among all words.
_CHOICES_DECODER = 2.0
_CHOICES_ENCODER = 1.4


def footprint(model: Model, options: LoadOptions) -> Footprint:
    """With every window full, and all of the file read."""
    own = _own_footprint(model, options)
    if model.draft is None:
        return own
    # It has a window and room to compute of its own; its file is among the model's already.
    draft = _own_footprint(model.draft, options)
    return msgspec.structs.replace(
        own,
        weights_bytes=own.weights_bytes + draft.spare_bytes,
        kv_cache_bytes=own.kv_cache_bytes + draft.kv_cache_bytes,
        compute_bytes=own.compute_bytes + draft.compute_bytes,
        overhead_bytes=own.overhead_bytes + draft.overhead_bytes - _PROCESS_BYTES,
        spare_bytes=own.spare_bytes + draft.spare_bytes,
    )


def _own_footprint(model: Model, options: LoadOptions) -> Footprint:
    anatomy = anatomy_of(model)
    laid_out = _laid_out_bytes(anatomy, options)
    kv_per_token = anatomy.kv_values_per_token * _KV_BYTES_PER_VALUE
    return Footprint(
        weights_bytes=model.engine_bytes + laid_out,
        kv_cache_bytes=_kv_bytes(anatomy, options),
        compute_bytes=_compute_bytes(model, anatomy, options),
        overhead_bytes=_PROCESS_BYTES + _WORD_BYTES * anatomy.vocabulary,
        spare_bytes=laid_out,
        read_bytes_per_token=anatomy.read_bytes_per_token,
        read_bytes_per_past_token=kv_per_token,
        blocks=anatomy.blocks,
    )


def _laid_out_bytes(anatomy: Anatomy, options: LoadOptions) -> int:
    if options.use_mmap is False:
        # Read from the file straight into their place.
        return 0
    parts = [*anatomy.matrices, anatomy.writing or anatomy.reading]
    return sum(p.size_bytes for p in parts if p is not None and p.type in _LAID_OUT_ANEW)


def _kv_bytes(anatomy: Anatomy, options: LoadOptions) -> int:
    values = 0
    for block, per_token in enumerate(anatomy.kv_values):
        kept = anatomy.cached_tokens(block, options.num_ctx, options.num_batch)
        values += per_token * -(-kept // _KV_STEP_TOKENS) * _KV_STEP_TOKENS
    return values * options.parallel * _KV_BYTES_PER_VALUE


def _compute_bytes(model: Model, anatomy: Anatomy, options: LoadOptions) -> int:
    embeds = model.can("embedding")
    # An embedding reads its whole text in one batch.
    batch = options.num_ctx if embeds else options.num_batch
    per_token = _FEED_FORWARD_COPIES * anatomy.feed_forward + _WIDTH_COPIES * anatomy.width
    if embeds:
        choices = _CHOICES_ENCODER if is_encoder(model) else _CHOICES_DECODER
        per_token += choices * anatomy.vocabulary
    answers = options.parallel * anatomy.vocabulary
    return round((batch * per_token + answers) * _NUMBER_BYTES)
