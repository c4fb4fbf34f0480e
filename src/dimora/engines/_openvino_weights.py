"""The matrices of a GGUF as OpenVINO computes with them, without rounding them again.

A block of 32 weights is `scale * number`, with signed numbers of 4 or 8 bits, as Q4_0, Q5_0 and
Q8_0 are. Where blocks have a minimum too (Q4_1, Q5_1, Q4_K, Q5_K), the weights are
`scale * (number - middle) + rest`: since the rest is the same for a whole block, it is multiplied
with the sum of what the block is multiplied with, which costs a thirty-second of the work. Whole
zero points, as other readers make of the minima, would lose up to half a step of every weight. Zero
points that are fractions lose nothing, and keep OpenVINO from multiplying bytes: they stand for
the rests of 4 bits on processors that cannot do that, where they save a product and a sum.

Two things are not exact, and far below the steps of the files: the rests have 8 bits in each row,
and Q6_K, whose blocks are half as long, is laid out anew in 8 bits (an eighth of its step).

Formats: github.com/ggml-org/ggml, `src/ggml-common.h`.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from dimora.core.errors import InvalidModel
from dimora.core.processor import multiplies_bytes, usable_cores

if TYPE_CHECKING:
    import gguf
    import openvino
    from numpy.typing import NDArray

BLOCK = 32
# What can be carried over, by the names that ggml gives.
TYPES = frozenset(
    {"F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"}
)
_LARGEST_INT8 = 127
# OpenVINO multiplies narrower matrices of 8 bits as floats.
_LEAST_INT8_COLUMNS = 32
# A float of 16 bits holds it, with steps that are small beside it.
_LARGEST_ZERO_POINT = 2.0**14
_PIECE_BYTES = 4 << 20


class Matrix(NamedTuple):
    """Rows of weights. With `bits` 4 or 8, `numbers` are signed, two of 4 bits in a byte (the first
    in the low half), `scales` has one for each block, and `rests`, if any, what to add to each
    weight of a block. With `bits` 16 or 32 there are only numbers, as floats of that size.

    Shapes: numbers (rows, columns * bits / 8) in bytes or (rows, columns), scales (rows, blocks),
    rests (rows, blocks).
    """

    bits: int
    columns: int
    numbers: NDArray[Any]
    scales: NDArray[Any] | None = None
    rests: NDArray[Any] | None = None

    @property
    def rows(self) -> int:
        return len(self.numbers)

    def fits(self, other: Matrix) -> bool:
        """Whether both can be one matrix, one below the other."""
        return (self.bits, self.columns, self.rests is None) == (
            other.bits,
            other.columns,
            other.rests is None,
        )

    def in_order(self, order: NDArray[Any]) -> Matrix:
        """The same rows in another order."""
        return self._replace(
            numbers=self.numbers[order],
            scales=None if self.scales is None else self.scales[order],
            rests=None if self.rests is None else self.rests[order],
        )


def stack(matrices: Sequence[Matrix]) -> Matrix:
    """One below the other; they must fit."""
    import numpy as np

    def joined(parts: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
        there = [part for part in parts if part is not None]
        return np.concatenate(there) if there else None

    numbers = np.concatenate([m.numbers for m in matrices])
    return matrices[0]._replace(
        numbers=numbers,
        scales=joined([m.scales for m in matrices]),
        rests=joined([m.rests for m in matrices]),
    )


def read_matrix(tensor: gguf.ReaderTensor) -> Matrix:
    """Raises InvalidModel for a format that is not in TYPES."""
    import numpy as np

    kind = tensor.tensor_type.name
    columns = int(tensor.shape[0])
    rows = int(np.prod(tensor.shape[1:]))
    raw = np.asarray(tensor.data).reshape(rows, -1)
    if kind in ("F32", "F16"):
        return Matrix(32 if kind == "F32" else 16, columns, raw)
    if kind == "BF16":
        wide = raw.view(np.uint16).astype(np.uint32) << 16
        return Matrix(32, columns, wide.view(np.float32))
    read = _READERS.get(kind)
    if read is None:
        raise InvalidModel(f"tensors of type {kind} cannot be computed by OpenVINO here")
    pieces = np.array_split(raw.view(np.uint8), max(1, raw.nbytes // _PIECE_BYTES))
    # Pieces, so that what is unpacked on the way stays small; numpy works beside other threads.
    with ThreadPoolExecutor(usable_cores()) as pool:
        return stack(list(pool.map(read, pieces)))


def read_vector(tensor: gguf.ReaderTensor) -> NDArray[Any]:
    """A norm, a bias or factors, as 32-bit floats."""
    import gguf
    import numpy as np

    rows = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    return np.ascontiguousarray(rows, np.float32).reshape(-1)


def _q4_0(raw: NDArray[Any]) -> Matrix:
    blocks = raw.reshape(len(raw), -1, 18)
    return _of_four_bits(_two_halves(blocks[..., 2:]), _halfs(blocks, 0))


def _q4_1(raw: NDArray[Any]) -> Matrix:
    blocks = raw.reshape(len(raw), -1, 20)
    return _of_four_bits(_two_halves(blocks[..., 4:]), _halfs(blocks, 0), _halfs(blocks, 2))


def _q5_0(raw: NDArray[Any]) -> Matrix:
    blocks = raw.reshape(len(raw), -1, 22)
    return _of_five_bits(_fifth_bits(blocks, 2), blocks[..., 6:], _halfs(blocks, 0))


def _q5_1(raw: NDArray[Any]) -> Matrix:
    blocks = raw.reshape(len(raw), -1, 24)
    fifth = _fifth_bits(blocks, 4)
    return _of_five_bits(fifth, blocks[..., 8:], _halfs(blocks, 0), _halfs(blocks, 2))


def _q8_0(raw: NDArray[Any]) -> Matrix:
    import numpy as np

    blocks = raw.reshape(len(raw), -1, 34)
    numbers = blocks[..., 2:].view(np.int8).reshape(len(raw), -1)
    return Matrix(8, numbers.shape[1], numbers, _halfs(blocks, 0))


def _q4_k(raw: NDArray[Any]) -> Matrix:
    import numpy as np

    blocks = raw.reshape(len(raw), -1, 144)
    scales, minima = _k_scales(blocks)
    # Each 32 bytes hold one block in their low halves and the next one in their high halves.
    bytes_ = blocks[..., 16:].reshape(len(raw), -1, 4, BLOCK)
    numbers = np.stack([bytes_ & 15, bytes_ >> 4], axis=3).reshape(len(raw), -1, BLOCK)
    return _of_four_bits(numbers, scales, minima)


def _q5_k(raw: NDArray[Any]) -> Matrix:
    import numpy as np

    blocks = raw.reshape(len(raw), -1, 176)
    scales, minima = _k_scales(blocks)
    bytes_ = blocks[..., 48:].reshape(len(raw), -1, 4, BLOCK)
    numbers = np.stack([bytes_ & 15, bytes_ >> 4], axis=3).reshape(len(raw), -1, 8, BLOCK)
    fifth = blocks[..., None, 16:48] >> np.arange(8, dtype=np.uint8)[:, None] & 1
    numbers = (numbers | fifth.reshape(numbers.shape) << 4).reshape(len(raw), -1, BLOCK)
    return _of_eight_bits(numbers, 16, scales, minima)


def _q6_k(raw: NDArray[Any]) -> Matrix:
    import numpy as np

    blocks = raw.reshape(len(raw), -1, 210)
    low = blocks[..., :128].reshape(len(raw), -1, 2, 1, 64)
    low = low >> np.array([0, 4], np.uint8)[:, None] & 15
    high = blocks[..., 128:192].reshape(len(raw), -1, 2, 1, BLOCK)
    high = high >> np.array([0, 2, 4, 6], np.uint8)[:, None] & 3
    numbers = low.reshape(len(raw), -1, 8, BLOCK) | high.reshape(len(raw), -1, 8, BLOCK) << 4
    scales = blocks[..., 192:208].view(np.int8) * _halfs(blocks, 208)[..., None]
    # Two scales of 16 weights become one of 32.
    weights = (numbers.astype(np.float32) - 32).reshape(len(raw), -1, 2, BLOCK // 2)
    weights *= scales.reshape(len(raw), -1, 2, 1)
    return _laid_out_anew(weights.reshape(len(raw), -1, BLOCK))


_READERS = {
    "Q4_0": _q4_0,
    "Q4_1": _q4_1,
    "Q5_0": _q5_0,
    "Q5_1": _q5_1,
    "Q8_0": _q8_0,
    "Q4_K": _q4_k,
    "Q5_K": _q5_k,
    "Q6_K": _q6_k,
}


def _laid_out_anew(weights: NDArray[Any]) -> Matrix:
    """In 8 bits, with the scale that the largest weight of a block asks for; changes `weights`."""
    import numpy as np

    rows = len(weights)
    scales = np.maximum(weights.max(-1), -weights.min(-1)) / _LARGEST_INT8
    weights /= np.where(scales == 0, 1, scales)[..., None]
    numbers = np.rint(weights, out=weights).astype(np.int8).reshape(rows, -1)
    return Matrix(8, numbers.shape[1], numbers, scales)


def _halfs(blocks: NDArray[Any], at: int) -> NDArray[Any]:
    """The 16-bit float at this byte of every block, as 32 bits."""
    import numpy as np

    return np.ascontiguousarray(blocks[..., at : at + 2]).view(np.float16)[..., 0].astype("f4")


def _two_halves(bytes_: NDArray[Any]) -> NDArray[Any]:
    """The first 16 numbers of a block lie in the low halves of its bytes."""
    import numpy as np

    return np.concatenate([bytes_ & 15, bytes_ >> 4], axis=-1)


def _fifth_bits(blocks: NDArray[Any], at: int) -> NDArray[Any]:
    import numpy as np

    bits = np.ascontiguousarray(blocks[..., at : at + 4])
    return np.unpackbits(bits, axis=-1, bitorder="little")


def _k_scales(blocks: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Scales and minima of the eight blocks of every superblock: 6 bits each, in 12 bytes."""
    import numpy as np

    packed = blocks[..., 4:16]
    first, second, third = packed[..., :4], packed[..., 4:8], packed[..., 8:]
    scales = np.concatenate([first & 63, (third & 15) | (first >> 6) << 4], axis=-1)
    minima = np.concatenate([second & 63, third >> 4 | (second >> 6) << 4], axis=-1)
    rows = len(blocks)
    return (
        (scales * _halfs(blocks, 0)[..., None]).reshape(rows, -1),
        (minima * -_halfs(blocks, 2)[..., None]).reshape(rows, -1),
    )


def _of_four_bits(
    numbers: NDArray[Any], scales: NDArray[Any], minima: NDArray[Any] | None = None
) -> Matrix:
    """Of numbers from 0 to 15, (rows, blocks, 32), the middle of which is 8."""
    rows, blocks = numbers.shape[:2]
    packed = numbers[..., 0::2] | numbers[..., 1::2] << 4
    # In four bits, to take 8 away and to turn the highest bit is the same.
    packed ^= 0x88
    rests = None if minima is None else minima + 8 * scales
    return Matrix(4, blocks * BLOCK, packed.reshape(rows, -1), scales, rests)


def _of_five_bits(
    fifth: NDArray[Any],
    bytes_: NDArray[Any],
    scales: NDArray[Any],
    minima: NDArray[Any] | None = None,
) -> Matrix:
    return _of_eight_bits(_two_halves(bytes_) | fifth << 4, 16, scales, minima)


def _of_eight_bits(
    numbers: NDArray[Any], middle: int, scales: NDArray[Any], minima: NDArray[Any] | None
) -> Matrix:
    import numpy as np

    rows, blocks = numbers.shape[:2]
    signed = (numbers.astype(np.int8) - np.int8(middle)).reshape(rows, -1)
    rests = None if minima is None else minima + middle * scales
    return Matrix(8, blocks * BLOCK, signed, scales, rests)


class Weights(NamedTuple):
    """A matrix in a graph: `numbers` is a node (rows, columns) of 32-bit floats, `rests` one of
    (rows, blocks), or None."""

    numbers: openvino.Node
    rests: openvino.Node | None


def to_graph(matrix: Matrix) -> Weights:
    """Constants with the steps that unpack them; OpenVINO computes with them packed."""
    import numpy as np
    from openvino import opset13 as ops

    if matrix.scales is None:
        numbers = ops.constant(np.ascontiguousarray(matrix.numbers))
        return Weights(ops.convert(numbers, "f32") if matrix.bits == 16 else numbers, None)
    shape = [matrix.rows, matrix.columns // BLOCK, BLOCK]
    scales, rests = matrix.scales, matrix.rests
    if rests is not None and matrix.bits == 4 and not multiplies_bytes():
        unpacked, scales = _from_zero_points(matrix, shape)
        rests = None
    else:
        unpacked = ops.convert(_signed_numbers(matrix, shape), "f16")
    scaled = ops.multiply(unpacked, ops.constant(scales[..., None].astype(np.float16)))
    flat = ops.reshape(scaled, np.array([matrix.rows, matrix.columns], np.int64), False)
    return Weights(ops.convert(flat, "f32"), None if rests is None else _rests(rests))


def _from_zero_points(matrix: Matrix, shape: list[int]) -> tuple[openvino.Node, NDArray[Any]]:
    """Numbers less the zero point of their block, and the scales for them."""
    import numpy as np
    import openvino
    from openvino import opset13 as ops

    assert matrix.scales is not None and matrix.rests is not None
    # Where a scale is next to nothing all weights of the block are the rest.
    alike = np.abs(matrix.rests) > _LARGEST_ZERO_POINT * np.abs(matrix.scales)
    scales = np.where(alike, matrix.rests, matrix.scales)
    zeros = np.where(alike, 7, 8 - matrix.rests / np.where(scales == 0, 1, scales))
    # From 0 to 15 again.
    numbers = (matrix.numbers ^ 0x88).reshape(*alike.shape, -1)
    numbers[alike] = 0x88
    tensor = openvino.Tensor(openvino.Type.u4, openvino.Shape(shape))
    tensor.data.reshape(-1)[:] = numbers.reshape(-1)
    unpacked = ops.convert(openvino.op.Constant(tensor), "f16")
    return ops.subtract(unpacked, ops.constant(zeros[..., None].astype(np.float16))), scales


def _signed_numbers(matrix: Matrix, shape: list[int]) -> openvino.Node:
    import numpy as np
    import openvino
    from openvino import opset13 as ops

    numbers = np.ascontiguousarray(matrix.numbers)
    if matrix.bits == 8:
        return ops.constant(numbers.reshape(shape))
    # A tensor with memory of its own: the constant keeps it, and would not keep the array.
    tensor = openvino.Tensor(openvino.Type.i4, openvino.Shape(shape))
    tensor.data.reshape(-1)[:] = numbers.reshape(-1)
    return openvino.op.Constant(tensor)


def _rests(rests: NDArray[Any]) -> openvino.Node:
    import numpy as np
    from openvino import opset13 as ops

    if rests.shape[1] < _LEAST_INT8_COLUMNS:
        # So few columns would be added up in one order for one token and in another for several,
        # and what is rounded later makes much of the smallest difference.
        return ops.constant(np.ascontiguousarray(rests.astype(np.float32)))
    steps = np.abs(rests).max(-1, keepdims=True) / _LARGEST_INT8
    numbers = np.rint(rests / np.where(steps == 0, 1, steps)).astype(np.int8)
    scaled = ops.multiply(
        ops.convert(ops.constant(numbers), "f16"), ops.constant(steps.astype(np.float16))
    )
    return ops.convert(scaled, "f32")


def look_up(matrix: Matrix, words: openvino.Node) -> openvino.Node:
    """The rows of these words, (batch, tokens) of them, as (batch, tokens, columns).

    OpenVINO would unpack a matrix of 4 bits whole to look up a row: of such only the bytes of the
    rows are looked up, and unpacked then.
    """
    import numpy as np
    from openvino import opset13 as ops

    at, by_row = ops.convert(words, "i32"), ops.constant(np.int32(0))
    if matrix.scales is None or (matrix.bits == 8 and matrix.rests is None):
        return ops.gather(to_graph(matrix).numbers, at, by_row)

    def row_of(table: NDArray[Any]) -> openvino.Node:
        return ops.convert(ops.gather(ops.constant(np.ascontiguousarray(table)), at, by_row), "f32")

    blocks = matrix.columns // BLOCK
    axis = ops.constant(np.array([3], np.int64))
    apart = ops.constant(np.array([0, 0, blocks, BLOCK], np.int64))
    numbers = row_of(matrix.numbers)
    if matrix.bits == 4:
        high = ops.floor(ops.divide(numbers, ops.constant(np.float32(16))))
        low = ops.subtract(numbers, ops.multiply(high, ops.constant(np.float32(16))))
        fourth = ops.constant(np.array([3], np.int64))
        pair = ops.concat([ops.unsqueeze(low, fourth), ops.unsqueeze(high, fourth)], 3)
        numbers = ops.reshape(pair, apart, True)
        # Signed: 8 to 15 stand for -8 to -1.
        sixteen = ops.constant(np.float32(16))
        wrapped = ops.floor(ops.divide(numbers, ops.constant(np.float32(8))))
        numbers = ops.subtract(numbers, ops.multiply(wrapped, sixteen))
    else:
        numbers = ops.reshape(numbers, apart, True)
    rows = ops.multiply(numbers, ops.unsqueeze(row_of(matrix.scales.astype(np.float16)), axis))
    if matrix.rests is not None:
        rows = ops.add(rows, ops.unsqueeze(row_of(matrix.rests.astype(np.float16)), axis))
    return ops.reshape(rows, ops.constant(np.array([0, 0, matrix.columns], np.int64)), True)
