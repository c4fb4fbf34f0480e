"""The computation of a decoder as an OpenVINO model, made from a GGUF file.

Families llama, qwen2 and qwen3: what differs between them (biases, norms of heads, the order of a
head's numbers) is told by the tensors and the architecture. Matrices that read the same numbers
are one matrix, since each step of a graph costs time of its own. The form of attention, with
states and `beam_idx`, is the one that OpenVINO turns into paged attention.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from dimora.core.errors import InvalidModel
from dimora.engines._openvino_weights import (
    BLOCK,
    TYPES,
    Matrix,
    Weights,
    look_up,
    read_matrix,
    read_vector,
    stack,
    to_graph,
)
from dimora.tasks.base import Model

if TYPE_CHECKING:
    import gguf
    import openvino

ARCHITECTURES = ("llama", "qwen2", "qwen3")
_WHOLE = frozenset(
    {"token_embd.weight", "output_norm.weight", "output.weight", "rope_freqs.weight"}
)
_NORMS = ("attn_norm", "ffn_norm")
_MATRICES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
_IN_BLOCK = {
    "llama": {f"{name}.weight" for name in (*_NORMS, *_MATRICES)},
    "qwen2": {f"{name}.weight" for name in (*_NORMS, *_MATRICES)}
    | {f"attn_{part}.bias" for part in "qkv"},
    "qwen3": {f"{name}.weight" for name in (*_NORMS, *_MATRICES, "attn_q_norm", "attn_k_norm")},
}
_BLOCK_TENSOR = re.compile(r"blk\.(\d+)\.(.+)")
_MAX_END = 2**62


def refuses(model: Model) -> str:
    """Why this model cannot be put together here, "" if it can: told by its header alone."""
    family = model.architecture
    if family not in ARCHITECTURES:
        return f"it knows {', '.join(ARCHITECTURES)} and not {family}"
    unknown = sorted(set(model.tensor_types) - TYPES)
    if unknown:
        return f"it cannot read tensors of type {', '.join(unknown)}"
    if str(model.metadata.get(f"{family}.rope.scaling.type") or "none") != "none":
        return "it does not stretch the context of this model as the file says"
    turning = model.metadata.get(f"{family}.rope.dimension_count")
    if turning and int(turning) != _Facts.of(family, model.metadata).head_width:
        return "it does not know how this model turns its heads"
    for name, *_ in model.tensors:
        block = _BLOCK_TENSOR.fullmatch(name)
        if name not in _WHOLE and (not block or block[2] not in _IN_BLOCK[family]):
            return f"it does not know the part {name[:80]!r} of this model"
    return ""


class _Facts(NamedTuple):
    """The sizes of a model."""

    blocks: int
    heads: int
    kv_heads: int
    head_width: int
    norm_epsilon: float
    rope_base: float

    @classmethod
    def of(cls, family: str, metadata: dict[str, Any]) -> _Facts:
        def fact(name: str, default: float = 0) -> Any:
            return metadata.get(f"{family}.{name}", default)

        heads = int(fact("attention.head_count"))
        width = int(fact("embedding_length"))
        return cls(
            blocks=int(fact("block_count")),
            heads=heads,
            kv_heads=int(fact("attention.head_count_kv", heads)),
            head_width=int(fact("attention.key_length", width // max(heads, 1))),
            norm_epsilon=float(fact("attention.layer_norm_rms_epsilon", 1e-5)),
            rope_base=float(fact("rope.freq_base", 10000.0)),
        )


def build(reader: gguf.GGUFReader) -> openvino.Model:
    """Raises InvalidModel when a tensor is missing or does not fit."""
    tensors = {str(tensor.name): tensor for tensor in reader.tensors}
    try:
        family = reader.fields["general.architecture"].contents()
        told = {n: f.contents() for n, f in reader.fields.items() if n.startswith(f"{family}.")}
        facts = _Facts.of(family, told)
        return _Decoder(tensors, facts, pairs_adjoin=family == "llama").build()
    except KeyError as missing:
        raise InvalidModel(f"the model has no {missing}") from None
    except (RuntimeError, ValueError):
        raise InvalidModel("the sizes of the model's tensors do not fit each other") from None


def whole_numbers(*values: int) -> openvino.Node:
    import numpy as np
    from openvino import opset13 as ops

    return ops.constant(np.array(values, np.int64))


class _Decoder:
    """Makes the graph, from the bottom up. Numbers flow as (batch, tokens, width)."""

    def __init__(
        self, tensors: dict[str, gguf.ReaderTensor], facts: _Facts, *, pairs_adjoin: bool
    ) -> None:
        self._tensors = tensors
        self._facts = facts
        self._pairs_adjoin = pairs_adjoin
        self._sinks: list[openvino.Node] = []

    def build(self) -> openvino.Model:
        import openvino
        from openvino import opset13 as ops

        words = named_input("input_ids", [-1, -1], "i64")
        mask = named_input("attention_mask", [-1, -1], "i64")
        positions = named_input("position_ids", [-1, -1], "i64")
        beams = named_input("beam_idx", [-1], "i32")
        self._beams = beams
        self._batch = ops.gather(ops.shape_of(words), whole_numbers(0), whole_numbers(0))
        # Paged attention sees to the order of tokens by itself and drops this.
        self._mask = ops.unsqueeze(ops.convert(mask, "f32"), whole_numbers(1, 2))
        self._cosines, self._sines = self._turns(positions)
        reading = self._matrix("token_embd.weight")
        numbers = look_up(reading, words)
        for block in range(self._facts.blocks):
            numbers = self._block(block, numbers)
        numbers = self._norm(numbers, "output_norm.weight")
        separate = "output.weight" in self._tensors
        writing = self._matrix("output.weight") if separate else reading
        logits = Sums(numbers).times(to_graph(writing))
        logits.output(0).set_names({"logits"})
        return openvino.Model(
            [ops.result(logits)], self._sinks, [words, mask, positions, beams], "decoder"
        )

    def _block(self, block: int, numbers: openvino.Node) -> openvino.Node:
        from openvino import opset13 as ops

        attended = self._attention(block, self._norm(numbers, f"blk.{block}.attn_norm.weight"))
        numbers = ops.add(numbers, attended)
        read = Sums(self._norm(numbers, f"blk.{block}.ffn_norm.weight"))
        gate, up = self._project(read, [f"blk.{block}.ffn_gate", f"blk.{block}.ffn_up"])
        fed = Sums(ops.multiply(ops.swish(gate), up))
        (down,) = self._project(fed, [f"blk.{block}.ffn_down"])
        return ops.add(numbers, down)

    def _attention(self, block: int, numbers: openvino.Node) -> openvino.Node:
        from openvino import opset13 as ops

        facts = self._facts
        names = [f"blk.{block}.attn_{part}" for part in "qkv"]
        query, key, value = self._project(Sums(numbers), names)
        query = self._turned(self._heads(query, facts.heads, f"{names[0]}_norm.weight"))
        key = self._turned(self._heads(key, facts.kv_heads, f"{names[1]}_norm.weight"))
        value = self._heads(value, facts.kv_heads)
        attended = ops.scaled_dot_product_attention(
            query,
            self._remembered(block, "key", key),
            self._remembered(block, "value", value),
            self._mask,
        )
        width = facts.heads * facts.head_width
        flat = ops.reshape(
            ops.transpose(attended, whole_numbers(0, 2, 1, 3)), whole_numbers(0, 0, width), True
        )
        (out,) = self._project(Sums(flat), [f"blk.{block}.attn_output"])
        return out

    def _project(self, read: Sums, names: Sequence[str]) -> list[openvino.Node]:
        """The same numbers times several matrices: as one, where these are of one form."""
        import numpy as np
        from openvino import opset13 as ops

        matrices = [self._matrix(f"{name}.weight") for name in names]
        biases = [self._tensors.get(f"{name}.bias") for name in names]

        def times(matrix: Matrix, parts: Sequence[Any]) -> openvino.Node:
            result = read.times(to_graph(matrix))
            there = [read_vector(part) for part in parts if part is not None]
            if not there:
                return result
            return ops.add(result, ops.constant(np.concatenate(there).reshape(1, 1, -1)))

        if len(matrices) == 1 or not all(matrices[0].fits(other) for other in matrices):
            pairs = zip(matrices, biases, strict=True)
            return [times(matrix, [bias]) for matrix, bias in pairs]
        ends = np.cumsum([matrix.rows for matrix in matrices])
        together = times(stack(matrices), biases)
        return [
            ops.slice(
                together,
                whole_numbers(start),
                whole_numbers(end),
                whole_numbers(1),
                whole_numbers(2),
            )
            for start, end in zip([0, *ends[:-1]], ends, strict=True)
        ]

    def _matrix(self, name: str) -> Matrix:
        """Llama files have the pairs of a head that turn together side by side; here the first of
        all pairs come before the second."""
        import numpy as np

        matrix = read_matrix(self._tensors[name])
        heads = {"attn_q": self._facts.heads, "attn_k": self._facts.kv_heads}.get(
            name.split(".")[-2], 0
        )
        if not self._pairs_adjoin or not heads:
            return matrix
        pairs = np.arange(matrix.rows).reshape(heads, matrix.rows // heads // 2, 2)
        return matrix.in_order(pairs.swapaxes(1, 2).reshape(-1))

    def _heads(self, numbers: openvino.Node, heads: int, norm: str = "") -> openvino.Node:
        """(batch, heads, tokens, width of a head)."""
        from openvino import opset13 as ops

        apart = ops.reshape(numbers, whole_numbers(0, 0, heads, self._facts.head_width), True)
        if norm in self._tensors:
            apart = self._norm(apart, norm)
        return ops.transpose(apart, whole_numbers(0, 2, 1, 3))

    def _remembered(self, block: int, kind: str, numbers: openvino.Node) -> openvino.Node:
        """What was before and what is new, one for each head that asks."""
        import numpy as np
        import openvino
        from openvino import opset13 as ops
        from openvino.op import util

        facts = self._facts
        about = util.VariableInfo()
        about.data_shape = openvino.PartialShape([-1, facts.kv_heads, -1, facts.head_width])
        about.data_type = openvino.Type.f32
        about.variable_id = f"past_key_values.{block}.{kind}present.{block}.{kind}"
        variable = util.Variable(about)
        shape = [
            self._batch,
            whole_numbers(facts.kv_heads),
            whole_numbers(0),
            whole_numbers(facts.head_width),
        ]
        nothing = ops.broadcast(ops.constant(np.float32(0)), ops.concat(shape, 0))
        before = ops.gather(
            ops.read_value(nothing, variable), self._beams, ops.constant(np.int64(0))
        )
        everything = ops.concat([before, numbers], 2)
        self._sinks.append(ops.assign(everything, variable))
        if facts.heads == facts.kv_heads:
            return everything
        share = facts.heads // facts.kv_heads
        shape = [
            self._batch,
            whole_numbers(facts.kv_heads),
            whole_numbers(share),
            whole_numbers(0),
            whole_numbers(facts.head_width),
        ]
        repeated = ops.broadcast(
            ops.unsqueeze(everything, whole_numbers(2)),
            ops.concat(shape, 0),
            broadcast_spec="BIDIRECTIONAL",
        )
        return ops.reshape(repeated, whole_numbers(0, facts.heads, -1, facts.head_width), True)

    def _norm(self, numbers: openvino.Node, name: str) -> openvino.Node:
        """Root mean square norm, arxiv.org/abs/1910.07467."""
        import numpy as np
        from openvino import opset13 as ops

        squares = ops.power(numbers, ops.constant(np.float32(2)))
        mean = ops.reduce_mean(squares, whole_numbers(-1), True)
        root = ops.sqrt(ops.add(mean, ops.constant(np.float32(self._facts.norm_epsilon))))
        even = ops.multiply(numbers, ops.divide(ops.constant(np.float32(1)), root))
        weights = read_vector(self._tensors[name])
        return ops.multiply(even, ops.constant(weights.reshape(1, 1, -1)))

    def _turns(self, positions: openvino.Node) -> tuple[openvino.Node, openvino.Node]:
        """Rotary position embedding, arxiv.org/abs/2104.09864: cosines and sines of each place."""
        import numpy as np
        from openvino import opset13 as ops

        facts = self._facts
        steps = np.arange(0, facts.head_width, 2, dtype=np.float32) / facts.head_width
        speeds = facts.rope_base**-steps
        if "rope_freqs.weight" in self._tensors:
            speeds = speeds / read_vector(self._tensors["rope_freqs.weight"])
        speeds_of_all = ops.broadcast(
            ops.constant(speeds.reshape(1, -1, 1).astype(np.float32)),
            ops.concat([self._batch, whole_numbers(1), whole_numbers(1)], 0),
            broadcast_spec="BIDIRECTIONAL",
        )
        places = ops.convert(ops.unsqueeze(positions, whole_numbers(1)), "f32")
        angles = ops.transpose(
            ops.matmul(speeds_of_all, places, False, False), whole_numbers(0, 2, 1)
        )
        both = ops.concat([angles, angles], -1)
        return (
            ops.unsqueeze(ops.cos(both), whole_numbers(1)),
            ops.unsqueeze(ops.sin(both), whole_numbers(1)),
        )

    def _turned(self, heads: openvino.Node) -> openvino.Node:
        import numpy as np
        from openvino import opset13 as ops

        half, one, last = (
            whole_numbers(self._facts.head_width // 2),
            whole_numbers(1),
            whole_numbers(3),
        )
        first = ops.slice(heads, whole_numbers(0), half, one, last)
        second = ops.slice(heads, half, whole_numbers(_MAX_END), one, last)
        minus = ops.constant(np.array([[[[-1.0]]]], np.float32))
        crossed = ops.concat([ops.multiply(second, minus), first], -1)
        return ops.add(ops.multiply(heads, self._cosines), ops.multiply(crossed, self._sines))


class Sums:
    """Numbers that are multiplied with matrices, and the sums of their blocks, made once."""

    def __init__(self, numbers: openvino.Node) -> None:
        self._numbers = numbers
        self._sums: openvino.Node | None = None

    def times(self, weights: Weights) -> openvino.Node:
        from openvino import opset13 as ops

        result = ops.matmul(self._numbers, weights.numbers, False, True)
        if weights.rests is None:
            return result
        if self._sums is None:
            blocks = int(weights.rests.get_output_shape(0)[1])
            apart = ops.reshape(self._numbers, whole_numbers(0, 0, blocks, BLOCK), True)
            self._sums = ops.reduce_sum(apart, whole_numbers(-1), False)
        return ops.add(result, ops.matmul(self._sums, weights.rests, False, True))


def named_input(name: str, shape: list[int], kind: str) -> openvino.Node:
    import openvino
    from openvino import opset13 as ops

    node = ops.parameter(shape, getattr(openvino.Type, kind), name=name)
    # Paged attention finds them by either name.
    node.set_friendly_name(name)
    node.output(0).set_names({name})
    return node
