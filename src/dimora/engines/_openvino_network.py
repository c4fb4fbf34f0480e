"""A model that OpenVINO has compiled, and its paged cache.

The graph of a folder is turned from one with states to one with paged attention
(arxiv.org/abs/2309.06180), and gives scores only for the tokens they are wanted for.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dimora.engines._mapped_files import release_pages
from dimora.engines._openvino_folders import GRAPH

if TYPE_CHECKING:
    import numpy
    import openvino
    from numpy.typing import NDArray

BLOCK_TOKENS = 32
_CACHES = ("key_cache.", "value_cache.")
_WANTED = "wanted"
_ATTENTION = "PagedAttentionExtension"


class Row(NamedTuple):
    """New tokens of one text, after `past` ones that were read or are in rows before this;
    `blocks` has room for all. `wanted` tells whether scores are, for what comes after them.

    A row of one token is read exactly as if it were alone, whatever else is in the step; longer
    ones are added up in another order.
    """

    tokens: Sequence[int]
    past: int
    blocks: Sequence[int]
    wanted: bool

    @property
    def pages(self) -> Sequence[int]:
        """The blocks of what was read and of the new tokens."""
        return self.blocks[: -(-(self.past + len(self.tokens)) // BLOCK_TOKENS)]

    @property
    def new_pages(self) -> Sequence[int]:
        """Those that the new tokens are written to."""
        return self.pages[self.past // BLOCK_TOKENS :]


class Network:
    """A compiled model and its cache; for one thread at a time. `caches` are the keys and values of
    each layer, of shape (blocks, heads, BLOCK_TOKENS, width of a head): floats of 16 bits, or the
    bits of brain floats as whole numbers where `properties` ask to compute with those. Without
    `scores` it computes keys and values alone.

    Raises RuntimeError when OpenVINO cannot load the folder.
    """

    def __init__(
        self, folder: Path, blocks: int, properties: dict[str, Any], *, scores: bool = True
    ) -> None:
        import numpy as np
        import openvino

        core = openvino.Core()
        model = _with_pages(core.read_model(folder / GRAPH), scores=scores)
        compiled = core.compile_model(model, "CPU", properties)
        self._request = compiled.create_infer_request()
        self._inputs = {name for port in compiled.inputs for name in port.get_names()}
        self.caches: list[NDArray[Any]] = []
        for port in compiled.inputs:
            name = port.get_any_name()
            if name.startswith(_CACHES):
                shape = [
                    blocks,
                    *(side.get_length() for side in list(port.get_partial_shape())[1:]),
                ]
                cache = openvino.Tensor(port.get_element_type(), shape)
                self._request.set_tensor(name, cache)
                is_brain = port.get_element_type() == openvino.Type.bf16
                self.caches.append(cache.data.view(np.uint16) if is_brain else cache.data)
        # By their real names: links to them, and the folder, may be gone when a size comes first.
        self._files = [path.resolve() for path in folder.rglob("*.bin")]
        self._sizes: set[int] = set()

    def read(self, rows: Sequence[Row]) -> None:
        """All tokens at once.

        Raises RuntimeError, after which nothing is known of the cache.
        """
        import numpy as np

        lengths = [len(row.tokens) for row in rows]
        ends = list(accumulate(lengths))
        pages = [row.pages for row in rows]
        self._set("input_ids", np.array([t for row in rows for t in row.tokens], np.int64))
        places = [np.arange(row.past, row.past + len(row.tokens)) for row in rows]
        self._set("position_ids", np.concatenate(places))
        self._set("past_lens", np.array([row.past for row in rows], np.int32))
        self._set("subsequence_begins", np.array([0, *ends], np.int32))
        self._set("block_indices", np.array([n for page in pages for n in page], np.int32))
        self._set("block_indices_begins", np.array([0, *accumulate(map(len, pages))], np.int32))
        longest = max(row.past + len(row.tokens) for row in rows)
        self._set("max_context_len", np.array(longest, np.int32))
        wanted = [end - 1 for row, end in zip(rows, ends, strict=True) if row.wanted]
        # The graph gives at least one row.
        self._set(_WANTED, np.array(wanted or [0], np.int64))
        self._request.infer()
        self._let_go(ends[-1])

    def scores(self, rows: Sequence[Row]) -> NDArray[numpy.float32]:
        """Reads them; of shape (rows that want scores, vocabulary), until it reads again.

        Raises RuntimeError, after which nothing is known of the cache.
        """
        self.read(rows)
        scores: NDArray[numpy.float32] = self._request.get_tensor("logits").data
        return scores.reshape(-1, scores.shape[-1])[: sum(row.wanted for row in rows)]

    def _let_go(self, tokens: int) -> None:
        """A step of a new size may have packed the matrices for the registers of another kernel;
        that done, the file's own pages are needed no more."""
        size = tokens.bit_length()
        if size not in self._sizes:
            self._sizes.add(size)
            release_pages(self._files)

    def _set(self, name: str, values: NDArray[Any]) -> None:
        import openvino

        if name in self._inputs:
            self._request.set_tensor(name, openvino.Tensor(values))


def _with_pages(model: openvino.Model, *, scores: bool) -> openvino.Model:
    from openvino._offline_transformations import paged_attention_transformation

    paged_attention_transformation(model)
    return _with_wanted_scores(model) if scores else _with_caches_alone(model)


def _with_caches_alone(model: openvino.Model) -> openvino.Model:
    """As far as the last layer attends: what comes after it leaves nothing in a cache."""
    import openvino
    from openvino import opset13 as ops

    last = next(n for n in reversed(model.get_ordered_ops()) if n.get_type_name() == _ATTENTION)
    needed = _before(last)
    inputs = [one for one in model.get_parameters() if one.get_name() in needed]
    return openvino.Model([ops.result(last.output(0))], inputs)


def _before(node: openvino.Node) -> set[str]:
    """The own names of all nodes that this one is computed from."""
    names, left = set[str](), [node]
    while left:
        name = (one := left.pop()).get_name()
        if name not in names:
            names.add(name)
            left += [value.get_node() for value in one.input_values()]
    return names


def _with_wanted_scores(model: openvino.Model) -> openvino.Model:
    import numpy as np
    import openvino
    from openvino import opset13 as ops

    scores = next((o for o in model.outputs if "logits" in o.get_names()), model.output(0))
    node = scores.get_node().input_value(0).get_node()
    while node.get_type_name() != "MatMul":
        node = node.input_value(0).get_node()
    wanted = ops.parameter([-1], openvino.Type.i64, name=_WANTED)
    wanted.output(0).set_names({_WANTED})
    # What is multiplied may be so several times: with the weights, and summed up with their rests.
    whole = node.input_value(0)
    readers = list(whole.get_target_inputs())
    some = ops.gather(whole, wanted, ops.constant(np.int64(0)))
    for reader in readers:
        reader.replace_source_output(some.output(0))
    model.add_parameters([wanted])
    model.validate_nodes_and_infer_types()
    return model
