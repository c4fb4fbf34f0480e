"""The graph of an encoder (BERT), whose vectors stand for texts, as an OpenVINO model, made from a
GGUF file.

In go the tokens of several texts, as one matrix, and their counts; what a text has not filled of
its row is never looked at. Out comes one vector for each, as long as the model gives it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from dimora.core.errors import InvalidModel
from dimora.engines import _unigram_reading
from dimora.engines._openvino_graph import Sums, named_input, whole_numbers
from dimora.engines._openvino_weights import (
    TYPES,
    Matrix,
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
    from numpy.typing import NDArray

ARCHITECTURE = "bert"
WORDS, COUNTS, VECTORS = "words", "counts", "vectors"
_WHOLE = frozenset(
    {
        "token_embd.weight",
        "position_embd.weight",
        "token_types.weight",
        "token_embd_norm.weight",
        "token_embd_norm.bias",
    }
)
_PARTS = (
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_output",
    "attn_output_norm",
    "ffn_up",
    "ffn_down",
    "layer_output_norm",
)
_BLOCK_TENSOR = re.compile(rf"blk\.\d+\.({'|'.join(_PARTS)})\.(weight|bias)")
_MEAN, _FIRST = 1, 2
# Far below every score, and not so far that 16 bits could not hold it.
_NOTHING_HERE = -3e4


def refuses(model: Model) -> str:
    """Why this model cannot be put together here, "" if it can: told by its header alone."""
    if model.architecture != ARCHITECTURE:
        return f"it knows embedding models of the family {ARCHITECTURE} only"
    told = model.metadata
    if told.get("bert.pooling_type") not in (_MEAN, _FIRST):
        return "it does not know how this model makes one vector of many"
    if told.get("bert.attention.causal"):
        return "it does not know how this model looks at what comes before"
    unknown = sorted(set(model.tensor_types) - TYPES)
    if unknown:
        return f"it cannot read tensors of type {', '.join(unknown)}"
    for name, *_ in model.tensors:
        if name not in _WHOLE and not _BLOCK_TENSOR.fullmatch(name):
            return f"it does not know the part {name[:80]!r} of this model"
    return _unigram_reading.refuses(model)


class _Facts(NamedTuple):
    blocks: int
    heads: int
    width: int
    norm_epsilon: float
    pooling: int


def can_build(reader: gguf.GGUFReader) -> bool:
    family = reader.fields.get("general.architecture")
    return family is not None and family.contents() == ARCHITECTURE


def build(reader: gguf.GGUFReader, *, unpacked: bool) -> openvino.Model:
    """With `unpacked` the weights are whole numbers instead of blocks: for machines that compute
    with 16 bits, which then need not unpack them each time.

    Raises InvalidModel when a tensor is missing or does not fit.
    """
    tensors = {str(tensor.name): tensor for tensor in reader.tensors}

    def fact(name: str) -> Any:
        return reader.fields[f"{ARCHITECTURE}.{name}"].contents()

    try:
        facts = _Facts(
            blocks=int(fact("block_count")),
            heads=int(fact("attention.head_count")),
            width=int(fact("embedding_length")),
            norm_epsilon=float(fact("attention.layer_norm_epsilon")),
            pooling=int(fact("pooling_type")),
        )
        context = int(fact("context_length"))
        return _Encoder(tensors, facts, context, unpacked=unpacked).build()
    except KeyError as missing:
        raise InvalidModel(f"the model has no {missing}") from None
    except (RuntimeError, ValueError):
        raise InvalidModel("the sizes of the model's tensors do not fit each other") from None


class _Encoder:
    """Makes the graph, from the bottom up. Numbers flow as (texts, tokens, width)."""

    def __init__(
        self,
        tensors: dict[str, gguf.ReaderTensor],
        facts: _Facts,
        context_tokens: int,
        *,
        unpacked: bool,
    ) -> None:
        self._tensors = tensors
        self._facts = facts
        self._context_tokens = context_tokens
        self._unpacked = unpacked

    def build(self) -> openvino.Model:
        import numpy as np
        import openvino
        from openvino import opset13 as ops

        words = named_input(WORDS, [-1, -1], "i32")
        counts = named_input(COUNTS, [-1], "i32")
        one, axis = ops.constant(np.int32(1)), ops.constant(np.int32(0))
        length = ops.gather(ops.shape_of(words, "i32"), ops.constant(np.int32(1)), axis)
        places = ops.range(ops.constant(np.int32(0)), length, one, "i32")
        there = ops.less(
            ops.unsqueeze(places, whole_numbers(0)), ops.unsqueeze(counts, whole_numbers(1))
        )
        mask = ops.select(
            there, ops.constant(np.float32(0)), ops.constant(np.float32(_NOTHING_HERE))
        )
        mask = ops.unsqueeze(mask, whole_numbers(1, 2))
        numbers = ops.add(
            look_up(read_matrix(self._tensors["token_embd.weight"]), words),
            ops.unsqueeze(ops.gather(ops.constant(self._places()), places, axis), whole_numbers(0)),
        )
        numbers = self._norm(numbers, "token_embd_norm")
        for block in range(self._facts.blocks):
            numbers = self._block(f"blk.{block}", numbers, mask)
        vectors = self._pool(numbers, there, counts)
        vectors.output(0).set_names({VECTORS})
        return openvino.Model([ops.result(vectors)], [words, counts], "encoder")

    def _places(self) -> NDArray[Any]:
        """What is added to the words at each place; all of them are of the first type."""
        import numpy as np

        table = self._table("position_embd.weight")
        if "token_types.weight" in self._tensors:
            table = table + self._table("token_types.weight")[:1]
        if len(table) < self._context_tokens:
            raise InvalidModel("the model has too few places for its context")
        return np.ascontiguousarray(table)

    def _table(self, name: str) -> NDArray[Any]:
        return read_vector(self._tensors[name]).reshape(-1, self._facts.width)

    def _block(self, block: str, numbers: openvino.Node, mask: openvino.Node) -> openvino.Node:
        from openvino import opset13 as ops

        attended = self._attention(block, numbers, mask)
        numbers = self._norm(ops.add(numbers, attended), f"{block}.attn_output_norm")
        # The form of GELU that llama.cpp has, arxiv.org/abs/1606.08415.
        fed = ops.gelu(self._project(numbers, [f"{block}.ffn_up"]), "tanh")
        fed = self._project(fed, [f"{block}.ffn_down"])
        return self._norm(ops.add(numbers, fed), f"{block}.layer_output_norm")

    def _attention(self, block: str, numbers: openvino.Node, mask: openvino.Node) -> openvino.Node:
        from openvino import opset13 as ops

        facts = self._facts
        together = self._project(numbers, [f"{block}.attn_{part}" for part in "qkv"])
        ends = [facts.width * part for part in range(4)]

        def heads(part: int) -> openvino.Node:
            start, end = whole_numbers(ends[part]), whole_numbers(ends[part + 1])
            apart = ops.slice(together, start, end, whole_numbers(1), whole_numbers(2))
            shape = whole_numbers(0, 0, facts.heads, facts.width // facts.heads)
            return ops.transpose(ops.reshape(apart, shape, True), whole_numbers(0, 2, 1, 3))

        attended = ops.scaled_dot_product_attention(heads(0), heads(1), heads(2), mask)
        attended = ops.transpose(attended, whole_numbers(0, 2, 1, 3))
        flat = ops.reshape(attended, whole_numbers(0, 0, facts.width), True)
        return self._project(flat, [f"{block}.attn_output"])

    def _project(self, numbers: openvino.Node, names: Sequence[str]) -> openvino.Node:
        """Numbers times matrices, what comes of each beside the other."""
        import numpy as np
        from openvino import opset13 as ops

        tensors = [self._tensors[f"{name}.weight"] for name in names]
        if self._unpacked:
            flat = [read_vector(each).reshape(-1, int(each.shape[0])) for each in tensors]
            result = ops.matmul(numbers, ops.constant(np.concatenate(flat)), False, True)
        else:
            result = _times_blocks(Sums(numbers), [read_matrix(each) for each in tensors])
        biases = [
            read_vector(self._tensors[f"{name}.bias"])
            if f"{name}.bias" in self._tensors
            else np.zeros(int(tensor.shape[1]), np.float32)
            for name, tensor in zip(names, tensors, strict=True)
        ]
        return ops.add(result, ops.constant(np.concatenate(biases).reshape(1, 1, -1)))

    def _norm(self, numbers: openvino.Node, name: str) -> openvino.Node:
        """Layer norm, arxiv.org/abs/1607.06450."""
        from openvino import opset13 as ops

        even = ops.mvn(numbers, whole_numbers(-1), True, self._facts.norm_epsilon, "inside_sqrt")
        weights = read_vector(self._tensors[f"{name}.weight"]).reshape(1, 1, -1)
        bias = read_vector(self._tensors[f"{name}.bias"]).reshape(1, 1, -1)
        return ops.add(ops.multiply(even, ops.constant(weights)), ops.constant(bias))

    def _pool(
        self, numbers: openvino.Node, there: openvino.Node, counts: openvino.Node
    ) -> openvino.Node:
        """One vector for each text: the mean of all, or the first."""
        import numpy as np
        from openvino import opset13 as ops

        if self._facts.pooling == _FIRST:
            return ops.gather(numbers, ops.constant(np.int32(0)), ops.constant(np.int32(1)))
        share = ops.convert(ops.unsqueeze(there, whole_numbers(2)), "f32")
        total = ops.reduce_sum(ops.multiply(numbers, share), whole_numbers(1), False)
        return ops.divide(total, ops.convert(ops.unsqueeze(counts, whole_numbers(1)), "f32"))


def _times_blocks(numbers: Sums, matrices: Sequence[Matrix]) -> openvino.Node:
    from openvino import opset13 as ops

    if all(matrices[0].fits(other) for other in matrices):
        return numbers.times(to_graph(stack(matrices)))
    return ops.concat([numbers.times(to_graph(matrix)) for matrix in matrices], 2)
