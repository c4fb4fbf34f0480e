"""Quantizing without the toolchain: what is made, what is refused, and how it is told."""

from __future__ import annotations

import os
from pathlib import Path

import gguf
import numpy as np
import pytest

from dimora.core.errors import BadRequest, DimoraError, InvalidModel, NotFound
from dimora.core.types import Progress
from dimora.models.converting.quantizing import named_kind, quantize
from dimora.models.formats.gguf import read_header
from dimora.models.store import ModelStore
from dimora.models.taking import Taken, take

RANDOM = np.random.default_rng(5)


def model_file(
    path: Path, kind: str = "F16", *, spoiled: bool = False, alignment: int = 64
) -> Path:
    """A GGUF whose matrices have this kind, 256 wide, with a long array and an odd alignment."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Tiny")
    writer.add_custom_alignment(alignment)
    writer.add_file_type(int(gguf.LlamaFileType[{"F16": "MOSTLY_F16"}.get(kind, "ALL_F32")]))
    writer.add_token_list([f"word{number}" for number in range(64)])
    writer.add_context_length(256)
    writer.add_embedding_length(256)
    writer.add_feed_forward_length(300)
    writer.add_block_count(1)
    writer.add_head_count(4)
    writer.add_layer_norm_rms_eps(1e-5)
    form = gguf.GGMLQuantizationType[kind]
    for name, rows in (("token_embd", 64), ("blk.0.ffn_up", 300), ("output", 64)):
        values = RANDOM.standard_normal((rows, 256)).astype(np.float32)
        if spoiled:
            values[-1, -1] = np.nan
        writer.add_tensor(f"{name}.weight", gguf.quantize(values, form), raw_dtype=form)
    writer.add_tensor("output_norm.weight", np.ones(256, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "home" / "models", cache_path=tmp_path / "home" / "cache")


async def made(store: ModelStore, file: Path, kind: str, warnings: list[str] | None = None):
    source = take(file, store.blobs)
    steps = [s async for s in quantize(store, source.digest, source.size_bytes, kind, warnings)]
    *progress, taken = steps
    assert isinstance(taken, Taken)
    assert all(isinstance(step, Progress) for step in progress)
    return progress, taken


@pytest.mark.parametrize("kind", ["Q8_0", "q4_0", "Q4_1", "Q5_0", "Q5_1", "Q6_K", "BF16", "F32"])
async def test_every_kind_that_needs_no_toolchain_is_made(store, tmp_path, kind):
    progress, taken = await made(store, model_file(tmp_path / "a.gguf"), kind)
    header = read_header(store.blobs.path(taken.digest))
    assert header.file_bytes == taken.size_bytes
    source = read_header(tmp_path / "a.gguf")
    types = {tensor.name: tensor.type for tensor in header.tensors}
    assert types["blk.0.ffn_up.weight"] == kind.upper()
    assert types["output_norm.weight"] == "F32"
    changed = {"general.file_type", "general.quantization_version"}
    kept = {k: v for k, v in source.metadata.items() if k not in changed}
    assert {k: v for k, v in header.metadata.items() if k not in changed} == kept
    assert header.lengths == source.lengths
    assert header.texts.at("tokenizer.ggml.tokens", 63) == "word63"
    assert {step.status for step in progress} == {f"quantizing F16 model to {kind.upper()}"}
    assert progress[-1].completed_bytes == progress[-1].total_bytes > 0


async def test_the_weights_are_those_of_the_library(store, tmp_path):
    source = model_file(tmp_path / "a.gguf", "F32")
    _, taken = await made(store, source, "Q4_1")
    (before,) = [t for t in gguf.GGUFReader(source).tensors if t.name == "blk.0.ffn_up.weight"]
    after = gguf.GGUFReader(store.blobs.path(taken.digest))
    (found,) = [t for t in after.tensors if t.name == "blk.0.ffn_up.weight"]
    expected = gguf.quantize(np.array(before.data), gguf.GGMLQuantizationType.Q4_1)
    assert np.array_equal(found.data, expected)


async def test_equal_sources_give_equal_digests(store, tmp_path):
    file = model_file(tmp_path / "a.gguf")
    _, first = await made(store, file, "Q8_0")
    _, second = await made(store, file, "Q8_0")
    assert first == second


async def test_from_eight_bits_it_is_done_with_a_warning(store, tmp_path):
    warnings: list[str] = []
    await made(store, model_file(tmp_path / "a.gguf", "Q8_0"), "Q4_0", warnings)
    assert len(warnings) == 1
    assert "F16 or BF16" in warnings[0]


@pytest.mark.parametrize(
    ("source", "kind", "error", "words"),
    [
        ("Q4_0", "Q8_0", BadRequest, "only supported for F32, F16, BF16 and Q8_0"),
        ("F16", "F16", BadRequest, "is F16 already"),
        ("F16", "Q4_K_M", NotFound, "needs the llama.cpp toolchain"),
        ("F16", "IQ2_XXS", BadRequest, "importance matrix"),
        ("F16", "Q9_Z", BadRequest, "unknown quantization type"),
        ("F16", "", BadRequest, "unknown quantization type"),
    ],
)
async def test_what_cannot_be_done_is_refused_with_the_reason(
    store, tmp_path, source, kind, error, words
):
    with pytest.raises(error, match=words) as refusal:
        await made(store, model_file(tmp_path / "a.gguf", source), kind)
    assert refusal.value.hint or kind == "F16"
    assert_nothing_is_left(store)


async def test_weights_that_are_no_numbers_are_found(store, tmp_path):
    with pytest.raises(InvalidModel, match=r"token_embd\.weight.*no numbers"):
        await made(store, model_file(tmp_path / "a.gguf", spoiled=True), "Q8_0")
    assert_nothing_is_left(store)


async def test_an_altered_source_is_not_quantized(store, tmp_path):
    source = take(model_file(tmp_path / "a.gguf"), store.blobs)
    path = store.blobs.path(source.digest)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(InvalidModel, match="altered"):
        [s async for s in quantize(store, source.digest, source.size_bytes, "Q8_0")]


async def test_who_gives_up_leaves_nothing_behind(store, tmp_path):
    source = take(model_file(tmp_path / "a.gguf"), store.blobs)
    steps = quantize(store, source.digest, source.size_bytes, "Q8_0")
    await anext(steps)
    await anext(steps)
    await steps.aclose()
    assert_nothing_is_left(store)


async def test_a_full_disk_is_told_before_the_work(store, tmp_path, monkeypatch):
    source = take(model_file(tmp_path / "a.gguf"), store.blobs)
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("dimora.storage.disk.shutil.disk_usage", lambda path: usage)
    with pytest.raises(DimoraError) as error:
        [s async for s in quantize(store, source.digest, source.size_bytes, "Q8_0")]
    assert error.value.code == "storage_full"


def test_kinds_are_named_in_any_case_and_in_short():
    assert named_kind(" q4_k_m ") == "Q4_K_M"
    assert named_kind("Q4_K") == "Q4_K_M"
    assert named_kind("bf16") == "BF16"


def assert_nothing_is_left(store: ModelStore) -> None:
    assert [name for name in os.listdir(store.blobs.directory) if name.startswith("tmp-")] == []
