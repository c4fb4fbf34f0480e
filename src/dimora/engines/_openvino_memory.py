"""How much memory OpenVINO takes for a model on CPUs, before it is loaded.

The matrices of a GGUF are packed once for the registers, with a 32-bit scale for each block, and
once more where long prompts are read with brain floats; the folder they came from is mapped and its
pages are given back. Only the words that are read are looked up where they lie. All constants were
measured with `bench/footprints.py` on x86-64 with AMX; where bytes are not multiplied it takes up
to a fifth more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from dimora.core.processor import multiplies_brain_floats
from dimora.engines._anatomy import Anatomy, Part, anatomy_of
from dimora.engines._openvino_network import BLOCK_TOKENS
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
# Computed with as they are.
_BRAIN_FLOATS = _Held(block=2.05, both=2.05, reading=2.0, writing=2.05, read=2.0)
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
# What a network that only reads holds of the same matrices, in proportion.
_COPIED = 1.2
_WIDE_TYPES = frozenset({"F32", "F16", "BF16"})
# Of all memory for models, for the weights of one and their copy.
_SHARE_FOR_COPIES = 0.25


def footprint(model: Model, options: LoadOptions) -> Footprint:
    """With every window full, and every matrix used."""
    anatomy = anatomy_of(model)
    kv_per_token = anatomy.kv_values_per_token * _KV_BYTES_PER_VALUE
    blocks = -(-options.num_ctx // BLOCK_TOKENS) + 1
    step = _FEED_FORWARD_COPIES * anatomy.feed_forward + _WIDTH_COPIES * anatomy.width
    compute = _STEP_TOKENS * _NUMBER_BYTES * step + _PAST_TOKEN_BYTES * options.num_ctx
    weights, read = _weights(model, anatomy)
    windows, networks = options.parallel, 1
    if reads_brain_floats(model, options):
        weights += round(_COPIED * _held_by_blocks(anatomy, _HELD))
        windows, networks = windows + 1, 2
    return Footprint(
        weights_bytes=weights,
        kv_cache_bytes=round(kv_per_token * blocks * BLOCK_TOKENS * windows),
        compute_bytes=round(compute) + _BLOCK_BYTES * anatomy.blocks * networks,
        overhead_bytes=_PROCESS_BYTES + _WORD_BYTES * anatomy.vocabulary,
        read_bytes_per_token=read,
        read_bytes_per_past_token=round(kv_per_token),
        blocks=anatomy.blocks,
    )


def reads_brain_floats(model: Model, options: LoadOptions) -> bool:
    """Whether long prompts are read by a network of their own, with a copy of the weights: where
    the processor is made for it and both take no more than a part of the memory there is."""
    import psutil

    if not (computes_with_bytes(model) and multiplies_brain_floats()):
        return False
    weights, _ = _weights(model, anatomy_of(model))
    most = psutil.virtual_memory().total
    if options.memory_limit_bytes:
        most = min(most, options.memory_limit_bytes)
    return 2 * weights <= most * _SHARE_FOR_COPIES


def computes_with_bytes(model: Model) -> bool:
    """Whether numbers are rounded to 8 bits for the matrices, as suits the blocks of a GGUF."""
    is_gguf = model.summary.details.format == "gguf"
    return is_gguf and not set(model.tensor_types) <= _WIDE_TYPES


def _weights(model: Model, anatomy: Anatomy) -> tuple[int, int]:
    """Bytes held, and bytes read to write one token."""
    if anatomy.reading is None:
        # A folder of its own format: as it lies in the file, and packed.
        return 2 * model.engine_bytes, model.engine_bytes
    is_brain = not computes_with_bytes(model) and multiplies_brain_floats()
    ways = dict.fromkeys(_WIDE_TYPES, _BRAIN_FLOATS) if is_brain else _HELD
    held = _held_by_blocks(anatomy, ways)
    read = sum(part.parameters * _held(part, ways).read for part in anatomy.matrices)
    reading, writing = anatomy.reading, anatomy.writing or anatomy.reading
    read += writing.parameters * _held(writing, ways).read
    if anatomy.writing is None:
        held += reading.parameters * _held(reading, ways).both
    else:
        held += reading.parameters * _held(reading, ways).reading
        held += writing.parameters * _held(writing, ways).writing
    return round(held), round(read)


def _held_by_blocks(anatomy: Anatomy, ways: Mapping[str, _Held]) -> float:
    return sum(part.parameters * _held(part, ways).block for part in anatomy.matrices)


def _held(part: Part, ways: Mapping[str, _Held]) -> _Held:
    return ways.get(part.type, _EIGHT_BITS)
