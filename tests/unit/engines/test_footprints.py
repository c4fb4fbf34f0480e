"""What the engines say of memory follows from the shape of a model. Sizes against real processes
are in tests/machines/test_plan.py."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import psutil
import pytest

from dimora.engines import SHELF, _openvino_memory
from dimora.engines._anatomy import anatomy_of
from dimora.tasks.base import Model, ModelDetails, ModelSummary
from dimora.tasks.options import LoadOptions

BYTES = {"F16": 2.0, "Q4_0": 0.5625, "Q8_0": 1.0625}


def model(
    *tensors: tuple[str, str, tuple[int, ...]],
    architecture: str = "llama",
    capabilities: tuple[str, ...] = ("completion",),
    **metadata,
) -> Model:
    sizes = []
    for _, kind, shape in tensors:
        count = 1
        for length in shape:
            count *= length
        sizes.append(int(count * BYTES[kind]))
    summary = ModelSummary(
        name="m",
        digest="",
        size_bytes=sum(sizes) or 1000,
        modified_at=0.0,
        details=ModelDetails(),
        capabilities=capabilities,
    )
    return Model(
        summary=summary,
        weights_digest="w",
        architecture=architecture,
        metadata={f"{architecture}.{k.replace('__', '.')}": v for k, v in metadata.items()},
        tensors=tensors,
        tensor_bytes=tuple(sizes),
    )


SMOLLM2 = {
    "block_count": 30,
    "embedding_length": 576,
    "attention__head_count": 9,
    "attention__head_count_kv": 3,
}
WORDS = ("token_embd.weight", "F16", (64, 1000))


def footprint(engine: str, one: Model, **options):
    return SHELF.load(engine).footprint(one, LoadOptions(**({"num_ctx": 1024} | options)))


def test_keys_and_values_of_a_grouped_query_model():
    """30 layers, 3 key-value heads of 64, a key and a value."""
    assert anatomy_of(model(**SMOLLM2)).kv_values_per_token == 30 * 3 * (64 + 64)


def test_a_model_without_grouping_has_as_many_key_value_heads_as_heads():
    facts = {k: v for k, v in SMOLLM2.items() if k != "attention__head_count_kv"}
    assert anatomy_of(model(**facts)).kv_values_per_token == 30 * 9 * 128


def test_own_lengths_of_keys_and_values_are_used():
    facts = SMOLLM2 | {"attention__key_length": 128, "attention__value_length": 32}
    assert anatomy_of(model(**facts)).kv_values_per_token == 30 * 3 * 160


def test_the_tensors_tell_what_each_layer_keeps():
    """The header cuts a long list of heads to nothing; the matrices still have their widths."""
    tensors = [
        (f"blk.{n}.attn_{part}.weight", "F16", (64, width))
        for n, width in enumerate((32, 16))
        for part in ("q", "k", "v")
    ]
    facts = SMOLLM2 | {"block_count": 2, "attention__head_count_kv": []}
    assert anatomy_of(model(*tensors, **facts)).kv_values == (64, 32)


def test_a_layer_with_a_state_instead_of_attention_keeps_no_keys():
    tensors = [
        ("blk.0.ssm_in.weight", "F16", (64, 64)),
        ("blk.1.attn_k.weight", "F16", (64, 16)),
        ("blk.1.attn_v.weight", "F16", (64, 16)),
    ]
    assert anatomy_of(model(*tensors, **(SMOLLM2 | {"block_count": 2}))).kv_values == (0, 32)


def test_latent_attention_keeps_one_short_vector():
    tensors = [("blk.0.attn_kv_a_mqa.weight", "F16", (64, 24))]
    assert anatomy_of(model(*tensors, **(SMOLLM2 | {"block_count": 1}))).kv_values == (24,)


def test_an_encoder_keeps_nothing():
    facts = SMOLLM2 | {"attention__causal": False}
    one = model(architecture="bert", capabilities=("embedding",), **facts)
    assert footprint("llama_cpp", one).kv_cache_bytes == 0


def test_layers_with_a_window_keep_no_more_than_it():
    """Gemma 3: five layers with a window, then one without."""
    facts = SMOLLM2 | {"block_count": 6, "attention__sliding_window": 512}
    per_layer = 3 * 128 * 2
    one = model(architecture="gemma3", **facts)
    cache = footprint("llama_cpp", one, num_ctx=8192, parallel=2).kv_cache_bytes
    assert cache == 2 * per_layer * (8192 + 5 * 768)


def test_of_experts_only_those_that_are_asked_are_read():
    experts = ("blk.0.ffn_up_exps.weight", "Q8_0", (64, 64, 8))
    facts = SMOLLM2 | {"expert_count": 8, "expert_used_count": 2}
    read = footprint("llama_cpp", model(WORDS, experts, **facts)).read_bytes_per_token
    assert read == 64 * 1000 * 2 + 64 * 64 * 8 * 1.0625 / 4


def test_the_words_to_read_are_one_row_where_others_are_written():
    tied = model(WORDS, **SMOLLM2)
    apart = model(WORDS, ("output.weight", "F16", (64, 1000)), **SMOLLM2)
    assert footprint("llama_cpp", tied).read_bytes_per_token == 128_000
    assert footprint("llama_cpp", apart).read_bytes_per_token == 128_000


def test_weights_that_llama_cpp_lays_out_anew_are_there_twice_but_needed_once():
    four_bits = ("blk.0.ffn_up.weight", "Q4_0", (64, 6400))
    one = footprint("llama_cpp", model(WORDS, four_bits, **SMOLLM2))
    assert one.spare_bytes == 64 * 6400 * 0.5625
    assert one.needed_bytes == one.total_bytes - one.spare_bytes
    read = footprint("llama_cpp", model(WORDS, four_bits, **SMOLLM2), use_mmap=False)
    assert read.spare_bytes == 0 and read.total_bytes == one.needed_bytes


@pytest.mark.parametrize("engine", ["llama_cpp", "openvino"])
def test_window_and_parallel_answers_both_count(engine):
    one = model(**SMOLLM2)
    small = footprint(engine, one)
    wide = footprint(engine, one, num_ctx=2048)
    many = footprint(engine, one, parallel=2)
    assert wide.kv_cache_bytes > 1.9 * small.kv_cache_bytes
    assert many.kv_cache_bytes == 2 * small.kv_cache_bytes
    assert min(wide.total_bytes, many.total_bytes) > small.total_bytes


@pytest.fixture(params=[False, True], ids=["without AMX", "with AMX"])
def brain(request, monkeypatch) -> bool:
    monkeypatch.setattr(_openvino_memory, "multiplies_brain_floats", lambda: request.param)
    return request.param


def test_openvino_holds_sixteen_bit_weights_several_times_where_it_computes_with_floats(brain):
    wide = ("blk.0.ffn_up.weight", "F16", (1024, 10240))
    narrow = ("blk.0.ffn_up.weight", "Q4_0", (1024, 10240))
    held = footprint("openvino", model(WORDS, wide, **SMOLLM2)).weights_bytes
    four_bits = footprint("openvino", model(WORDS, narrow, **SMOLLM2)).weights_bytes
    if brain:
        assert 1024 * 10240 * 2 < held < 1.2 * 1024 * 10240 * 2
    else:
        assert held > 3 * 1024 * 10240 * 2 > four_bits


def of_four_bits() -> Model:
    one = model(WORDS, ("blk.0.ffn_up.weight", "Q4_0", (1024, 10240)), **SMOLLM2)
    details = ModelDetails(format="gguf")
    summary = msgspec.structs.replace(one.summary, details=details)
    return msgspec.structs.replace(one, summary=summary, tensor_types=("F16", "Q4_0"))


def test_a_network_that_reads_is_in_the_estimate(brain, monkeypatch):
    with_copy = footprint("openvino", of_four_bits())
    monkeypatch.setattr(_openvino_memory, "multiplies_brain_floats", lambda: False)
    alone = footprint("openvino", of_four_bits())
    assert with_copy.kv_cache_bytes == alone.kv_cache_bytes * (1 + brain)
    copied = with_copy.weights_bytes - alone.weights_bytes
    assert copied == pytest.approx(0.756 * 1024 * 10240 * brain, rel=0.01)


def test_weights_are_not_copied_where_that_takes_much_of_the_machine(monkeypatch):
    monkeypatch.setattr(_openvino_memory, "multiplies_brain_floats", lambda: True)
    weights = 0.63 * 1024 * 10240
    for total, limit, copied in (
        (9 * weights, 0, True),
        (7 * weights, 0, False),
        (7 * weights, 9 * weights, False),
        (99 * weights, 7 * weights, False),
        (99 * weights, 9 * weights, True),
    ):
        memory = SimpleNamespace(total=int(total))
        monkeypatch.setattr(psutil, "virtual_memory", lambda memory=memory: memory)
        options = LoadOptions(num_ctx=1024, memory_limit_bytes=int(limit))
        assert _openvino_memory.reads_brain_floats(of_four_bits(), options) is copied


def test_a_file_that_says_nothing_costs_its_size_and_the_process():
    one = footprint("llama_cpp", model())
    assert one.weights_bytes == 1000 and one.kv_cache_bytes == 0
    assert one.overhead_bytes > 10 * 2**20


@pytest.mark.parametrize("engine", ["llama_cpp", "openvino", "onnx"])
def test_documents_of_a_model_take_no_memory(engine):
    one = model(**SMOLLM2)
    summary = msgspec.structs.replace(one.summary, size_bytes=one.summary.size_bytes + 10**9)
    wise = msgspec.structs.replace(one, summary=summary, document_bytes=10**9)
    assert footprint(engine, wise) == footprint(engine, one)
