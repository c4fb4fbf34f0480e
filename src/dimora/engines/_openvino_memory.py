"""How much memory OpenVINO takes for a model on CPUs, before it is loaded.

The matrices of a GGUF are packed once for the registers, with a 32-bit scale for each block; the
folder they came from is mapped and its pages are given back. Only the words that are read are
looked up where they lie. All constants were measured with `bench/footprints.py` on x86-64 with AMX;
where bytes are not multiplied it takes up to a fifth more.
"""

from __future__ import annotations

from typing import NamedTuple

from dimora.engines._anatomy import Anatomy, Part, anatomy_of
from dimora.engines._openvino_paged import BLOCK_TOKENS
from dimora.tasks.advice import Footprint
from dimora.tasks.base import Model
from dimora.tasks.options import LoadOptions


class _Held(NamedTuple):
    """Bytes for each weight of a format: in a block, in the matrix that both reads and writes
    words, in the one that only reads them, in the one that only writes them. And those read to
    write a token."""

    block: float
    both: float
    reading: float
    writing: float
    read: float


_EIGHT_BITS = _Held(block=1.13, both=2.2, reading=1.1, writing=1.13, read=1.13)
# Where blocks have a minimum too, and the matrix that writes words is laid out in 8 bits.
_FOUR_BITS_AND_RESTS = _Held(block=0.67, both=1.7, reading=0.56, writing=1.13, read=0.67)
_SIXTEEN_BITS = _Held(block=6.5, both=6.0, reading=2.0, writing=6.5, read=2.0)
_HELD = {
    "Q4_0": _Held(block=0.63, both=1.2, reading=0.56, writing=0.63, read=0.63),
    "Q4_1": _FOUR_BITS_AND_RESTS,
    "Q4_K": _FOUR_BITS_AND_RESTS,
    "BF16": _SIXTEEN_BITS,
    "F16": _SIXTEEN_BITS,
    "F32": _SIXTEEN_BITS,
}
# Keys and values are kept as floats of 16 bits.
_KV_BYTES_PER_VALUE = 2.0
_STEP_TOKENS = 256
_NUMBER_BYTES = 4
_FEED_FORWARD_COPIES = 3.2
_WIDTH_COPIES = 8
# Scores of the tokens before, and the compiled steps of one block.
_PAST_TOKEN_BYTES = 3584
_BLOCK_BYTES = 1_700_000
_PROCESS_BYTES = 138 * 2**20
_WORD_BYTES = 250


def footprint(model: Model, options: LoadOptions) -> Footprint:
    """With every window full, and every matrix used."""
    anatomy = anatomy_of(model)
    kv_per_token = anatomy.kv_values_per_token * _KV_BYTES_PER_VALUE
    blocks = -(-options.num_ctx // BLOCK_TOKENS) + 1
    step = _FEED_FORWARD_COPIES * anatomy.feed_forward + _WIDTH_COPIES * anatomy.width
    compute = _STEP_TOKENS * _NUMBER_BYTES * step + _PAST_TOKEN_BYTES * options.num_ctx
    weights, read = _weights(model, anatomy)
    return Footprint(
        weights_bytes=weights,
        kv_cache_bytes=round(kv_per_token * blocks * BLOCK_TOKENS * options.parallel),
        compute_bytes=round(compute) + _BLOCK_BYTES * anatomy.blocks,
        overhead_bytes=_PROCESS_BYTES + _WORD_BYTES * anatomy.vocabulary,
        read_bytes_per_token=read,
        read_bytes_per_past_token=round(kv_per_token),
        blocks=anatomy.blocks,
    )


def _weights(model: Model, anatomy: Anatomy) -> tuple[int, int]:
    """Bytes held, and bytes read to write one token."""
    if anatomy.reading is None:
        # A folder of its own format: as it lies in the file, and packed.
        return 2 * model.engine_bytes, model.engine_bytes
    held = read = 0.0
    for part in anatomy.matrices:
        held += part.parameters * _held(part).block
        read += part.parameters * _held(part).read
    writing = anatomy.writing or anatomy.reading
    read += writing.parameters * _held(writing).read
    if anatomy.writing is None:
        held += anatomy.reading.parameters * _held(anatomy.reading).both
    else:
        held += anatomy.reading.parameters * _held(anatomy.reading).reading
        held += anatomy.writing.parameters * _held(anatomy.writing).writing
    return round(held), round(read)


def _held(part: Part) -> _Held:
    return _HELD.get(part.type, _EIGHT_BITS)
