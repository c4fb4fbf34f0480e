"""Graphs of OpenVINO IR, honest and hostile."""

from __future__ import annotations

import time

import pytest

from dimora.core.errors import InvalidModel
from dimora.models.formats.ir_file import read_graph
from tests.unit.models.making_folders import ir_xml


@pytest.fixture
def read(tmp_path):
    def read(xml: str | bytes, weights: bytes = bytes(64)):
        (tmp_path / "m.xml").write_bytes(xml if isinstance(xml, bytes) else xml.encode())
        (tmp_path / "m.bin").write_bytes(weights)
        return read_graph(tmp_path / "m.xml", tmp_path / "m.bin")

    return read


def const(**values: str) -> str:
    known = {"element_type": "f16", "shape": "4, 8", "offset": "0", "size": "64"} | values
    return f"<data {' '.join(f'{key}={value!r}' for key, value in known.items())}/>"


def test_inputs_outputs_weights_and_notes_are_told(read):
    notes = '<nncf><weight_compression><mode value="int4_sym"/></weight_compression></nncf>'
    graph = read(ir_xml(const(), notes=notes))
    assert graph.inputs == ("input_ids", "beam_idx")
    assert graph.outputs == ("logits",)
    assert graph.elements == {"f16": 32}
    assert graph.notes == {"nncf/weight_compression/mode": "int4_sym"}


def test_scales_and_vectors_do_not_count_as_weights(read):
    layers = ir_xml(const(shape="32")).replace('name="weight"', 'name="norm"')
    assert read(layers).elements == {}
    scaled = ir_xml(const()).replace('name="weight"', 'name="weight/scale"')
    assert read(scaled).elements == {}


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"offset": "1"}, "outside of the weights"),
        ({"offset": "18446744073709551615"}, "impossible place"),
        ({"offset": "-1"}, "impossible place"),
        ({"size": ""}, "impossible place"),
        ({"size": "63"}, "has not 63 bytes"),
        ({"shape": "4, 8, 2"}, "has not 64 bytes"),
        ({"shape": "4, -8"}, "impossible place or shape"),
        ({"shape": "9223372036854775807, 9223372036854775807"}, "has not 64 bytes"),
        ({"element_type": "u4", "shape": "4, 8"}, "has not 64 bytes"),
        ({"element_type": "nonsense", "size": "65"}, "outside of the weights"),
    ],
)
def test_a_constant_that_is_not_where_it_says_is_refused(read, values, why):
    with pytest.raises(InvalidModel, match=why):
        read(ir_xml(const(**values)))


def test_truncated_weights_are_refused(read):
    with pytest.raises(InvalidModel, match="truncated"):
        read(ir_xml(const()), weights=bytes(63))


BOMB = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))


@pytest.mark.parametrize(
    ("xml", "why"),
    [
        (ir_xml(before=f'<!DOCTYPE net [<!ENTITY a0 "aaaa">{BOMB}]>'), "document type"),
        (ir_xml(before='<!DOCTYPE net SYSTEM "file:///etc/passwd">'), "document type"),
        (ir_xml(before="<!DOCTYPE net>"), "document type"),
        (ir_xml().replace("Model0", "&undefined;"), "no XML"),
        ("<svg/>", "begins with 'svg'"),
        ("", "no XML"),
        ("no xml at all", "no XML"),
        (ir_xml()[:-10], "no XML"),
        (ir_xml(outputs=()), "no output"),
        ("<net>" + "<a>" * 100, "too deeply"),
        (b"\x80\x04\x95pickle", "no XML"),
        (ir_xml().encode("utf-16"), ""),
    ],
)
def test_what_is_no_graph_is_refused_at_once(read, xml, why):
    started = time.monotonic()
    if why:
        with pytest.raises(InvalidModel, match=why):
            read(xml)
    else:
        assert read(xml).outputs == ("logits",)
    assert time.monotonic() - started < 1


def test_an_endless_tag_does_not_fill_the_memory(read):
    with pytest.raises(InvalidModel, match="larger than"):
        read(f'<net name="{"a" * (12 << 20)}"/>')


def test_the_graph_is_refused_wherever_it_is_cut(tmp_path):
    xml = ir_xml(const()).encode()
    weights = tmp_path / "m.bin"
    weights.write_bytes(bytes(64))
    path = tmp_path / "m.xml"
    for end in range(len(xml)):
        path.write_bytes(xml[:end])
        with pytest.raises(InvalidModel):
            read_graph(path, weights)


@pytest.mark.parametrize("names", [",".join("ab" * 2048), "," * (3 << 20)])
def test_outputs_without_end_are_refused_at_once(read, names):
    started = time.monotonic()
    with pytest.raises(InvalidModel, match="more than 4096 inputs and outputs"):
        read(ir_xml(outputs=[names]))
    with pytest.raises(InvalidModel, match="more than 4096 inputs and outputs"):
        read(ir_xml(inputs=["x"] * 4096))
    assert time.monotonic() - started < 1
