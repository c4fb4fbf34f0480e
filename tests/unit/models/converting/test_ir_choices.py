"""What can be exported to OpenVINO is told by the header, and the rest is refused by name."""

from __future__ import annotations

import msgspec
import pytest

from dimora.core.errors import BadRequest, UnsupportedFeature
from dimora.models.converting.ir_choices import (
    Compression,
    choose_compression,
    export_config,
    require_exportable,
    transformers_name,
)
from dimora.models.formats.gguf import Header, Tensor, read_header
from tests.unit.models.making import tiny_gguf

WORDS = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm"}


@pytest.fixture
def header(tmp_path):
    def make(architecture: str = "llama", **strings: str) -> Header:
        said = WORDS | strings
        return read_header(tiny_gguf(tmp_path / "m", architecture=architecture, strings=said))

    return make


def with_rows(header: Header, *widths: int) -> Header:
    tensors = tuple(
        Tensor(f"blk.{n}.ffn_up.weight", "F16", (width, 8), 0, 16 * width)
        for n, width in enumerate(widths)
    )
    return msgspec.structs.replace(header, tensors=tensors)


def test_a_plain_model_of_a_known_family_can_be_exported(header):
    for architecture in ("llama", "qwen2", "qwen3"):
        require_exportable(header(architecture))


@pytest.mark.parametrize(
    ("architecture", "strings", "word"),
    [
        ("gemma3", {}, "'gemma3'"),
        ("llama", {"tokenizer.ggml.pre": "tekken"}, "tokenizer"),
        ("llama", {"tokenizer.ggml.model": "llama"}, "tokenizer"),
        ("qwen2", {"qwen2.rope.scaling.type": "yarn"}, "'yarn'"),
    ],
)
def test_what_would_not_be_exact_is_refused(header, architecture, strings, word):
    with pytest.raises(UnsupportedFeature, match=word):
        require_exportable(header(architecture, **strings))


def test_a_part_that_would_be_left_out_is_named(header):
    odd = Tensor("blk.0.attn_q.bias", "F32", (8,), 0, 32)
    for architecture, fits in (("llama", False), ("qwen2", True)):
        plain = header(architecture)
        more = msgspec.structs.replace(plain, tensors=(*plain.tensors, odd))
        if fits:
            require_exportable(more)
        else:
            with pytest.raises(UnsupportedFeature, match=r"attn_q\.bias"):
                require_exportable(more)


def test_every_tensor_has_one_name_there():
    assert transformers_name("llama", "output.weight") == "lm_head.weight"
    assert transformers_name("qwen3", "blk.12.attn_k_norm.weight") == (
        "model.layers.12.self_attn.k_norm.weight"
    )
    assert transformers_name("llama", "blk.12.attn_k_norm.weight") is None
    assert transformers_name("llama", "blk.x.attn_k.weight") is None


@pytest.mark.parametrize(
    ("widths", "bits", "group", "chosen"),
    [
        ((576, 1536), 8, 0, Compression(bits=8)),
        ((576, 1536), 4, 0, Compression(bits=4, group=64)),
        ((512, 1536), 4, 0, Compression(bits=4, group=128)),
        ((576, 1536), 4, 32, Compression(bits=4, group=32)),
    ],
)
def test_the_largest_group_that_fits_is_usual(header, widths, bits, group, chosen):
    assert choose_compression(with_rows(header(), *widths), bits, group) == chosen


@pytest.mark.parametrize(
    ("widths", "bits", "group", "message", "hint"),
    [
        ((512,), 5, 0, "4 or 8 bits, not 5", "--bits 4"),
        ((512,), 16, 0, "4 or 8 bits, not 16", "--bits 4"),
        ((512,), 8, 64, "8 bits", "--bits 4"),
        ((512,), 4, 7, "32, 64 or 128 weights, not 7", "--group 64"),
        ((512,), 4, -1, "not -1", "--group 64"),
        ((576,), 4, 128, "groups of 128", "32 or 64 would fit"),
        ((100,), 4, 0, "groups of 32", "--bits 8"),
    ],
)
def test_bits_and_groups_there_are_not_are_refused(header, widths, bits, group, message, hint):
    with pytest.raises(BadRequest, match=message) as caught:
        choose_compression(with_rows(header(), *widths), bits, group)
    assert hint in caught.value.hint


def test_the_config_has_the_numbers_of_the_header(header):
    config = export_config(header("qwen2"))
    assert config["model_type"] == "qwen2"
    assert (config["hidden_size"], config["eos_token_id"]) == (32, 2)
    assert config["rope_theta"] == 10000.0
