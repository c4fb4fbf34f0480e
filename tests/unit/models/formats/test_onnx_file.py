"""Graphs of ONNX, honest and hostile."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dimora.core.errors import InvalidModel
from dimora.models.formats.onnx_file import read_graph
from tests.unit.models.making_folders import (
    field,
    onnx_model,
    onnx_node,
    onnx_tensor,
    packed_weights,
)

DATA = "model.onnx.data"


@pytest.fixture
def read(tmp_path):
    def read(data: bytes, **beside: int):
        path = tmp_path / "model.onnx"
        path.write_bytes(data)
        return read_graph(path, beside or {DATA: 512})

    return read


def test_weights_in_few_bits_are_counted_as_what_they_are(read):
    graph = read(packed_weights())
    assert graph.elements == {"INT4": 16 * 64}
    assert graph.block_size == 32
    assert graph.places == {DATA}
    assert (graph.inputs, graph.outputs) == (("input_ids",), ("logits",))


def test_plain_weights_are_counted_and_tables_are_not(read):
    tensors = [onnx_tensor("w", (4, 8), 10), onnx_tensor("cos_cache", (64, 8), 1)]
    graph = read(onnx_model(tensors))
    assert {kind: n for kind, n in graph.elements.items() if n} == {"F16": 32}
    assert graph.places == frozenset()


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ({"location": "../secret"}, "which the folder has not"),
        ({"location": "/etc/passwd"}, "which the folder has not"),
        ({"location": "a/../../b"}, "which the folder has not"),
        ({"location": "elsewhere.data"}, "which the folder has not"),
        ({"location": ""}, "which the folder has not"),
        ({"location": DATA, "offset": 1}, "outside of its file"),
        ({"location": DATA, "offset": 2**62}, "outside of its file"),
        ({"location": DATA, "offset": -1}, "impossible place"),
        ({"location": DATA, "offset": "0x10"}, "impossible place"),
        ({"location": DATA, "length": 513}, "outside of its file"),
    ],
)
def test_weights_that_lie_elsewhere_are_refused(read, place, why):
    with pytest.raises(InvalidModel, match=why):
        read(packed_weights(**place))


def test_weights_of_constants_and_of_graphs_in_graphs_are_looked_at_too(read):
    bad = onnx_tensor("w", (4,), 1, location="../x")
    constant = field(1, field(4, "Constant") + field(5, field(1, "value") + field(5, bad)))
    inner = field(5, bad) + field(2, "inner")
    branch = field(1, field(4, "If") + field(5, field(1, "then_branch") + field(6, inner)))
    for node in (constant, branch):
        with pytest.raises(InvalidModel, match="which the folder has not"):
            read(field(7, node + field(12, field(1, "logits"))))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is none"),
        (b"\x00" * 64, "no graph"),
        (b"\x80\x04\x95 pickle", ""),
        (b"PK\x03\x04 zip", ""),
        (field(1, 10), "no graph"),
        (onnx_model(outputs=()), "no graph"),
        (onnx_model() + field(7, b""), "no graph"),
        (onnx_model([onnx_tensor("w", (1,) * 40, 1)]), "too many dimensions"),
        (onnx_model([onnx_tensor("w", (2**62, 2**62), 1)]), "impossible shape"),
        (onnx_model([onnx_tensor("w" * (1 << 17), (4, 4), 1)]), "too long"),
        (field(7, field(15, b"x") + field(12, field(1, "y"))), "sparse"),
    ],
)
def test_what_is_no_graph_is_refused_at_once(read, data, why):
    started = time.monotonic()
    with pytest.raises(InvalidModel, match=why or "ONNX"):
        read(data)
    assert time.monotonic() - started < 1


def test_graphs_in_graphs_without_end_are_refused(read):
    graph = field(2, "x")
    for _ in range(20):
        graph = field(1, field(4, "If") + field(5, field(6, graph)))
    with pytest.raises(InvalidModel, match="too deeply"):
        read(field(7, graph))


def test_a_graph_that_is_cut_is_refused_or_has_lost_nothing_that_is_told(read):
    whole = packed_weights()
    for end in range(len(whole)):
        with pytest.raises(InvalidModel):
            read(whole[:end])


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10_000), data=st.binary(max_size=12))
def test_any_change_is_read_or_refused(read, at, data):
    whole = bytearray(packed_weights())
    at %= len(whole)
    whole[at : at + len(data)] = data
    try:
        graph = read(bytes(whole))
    except InvalidModel:
        return
    assert graph.places <= {DATA}


def test_nodes_without_the_numbers_they_need_are_no_trouble(read):
    graph = read(onnx_model([onnx_tensor("w", (4, 4), 2)], [onnx_node("MatMulNBits", ("x", "w"))]))
    assert graph.elements == {"INT4": 32}
