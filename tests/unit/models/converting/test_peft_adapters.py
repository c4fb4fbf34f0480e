"""An adapter says what it is, and fits its base model or is refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import pytest

from dimora.core.errors import BadRequest, InvalidModel, UnsupportedFeature
from dimora.models.converting.base_configs import base_config
from dimora.models.converting.importing import convert_adapter
from dimora.models.converting.peft_adapters import plain_config, require_fit
from dimora.models.formats.gguf import read_header
from dimora.models.store import ModelStore
from dimora.models.taking import Taken
from tests.unit.models.making import tiny_gguf

PLAIN = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "bias": "none"}
QUERY = "blk.0.attn_q.weight"


def adapter(path: Path, *, architecture: str = "llama", kind: str = "lora", **tensors) -> Path:
    """A GGUF adapter; tensors as shapes, rows first, by name with `__` for a dot."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", kind)
    writer.add_float32("adapter.lora.alpha", 16.0)
    for name, shape in tensors.items():
        writer.add_tensor(name.replace("__", "."), np.ones(shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def pair(rank: int = 2, width: int = 32, height: int = 4, name: str = QUERY) -> dict:
    prefix = name.replace(".", "__")
    return {f"{prefix}__lora_a": (rank, width), f"{prefix}__lora_b": (height, rank)}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tiny_gguf(tmp_path / "base.gguf")


def test_a_plain_adapter_stays_as_it_is_and_another_scale_becomes_its_alpha():
    assert plain_config(PLAIN) == {"peft_type": "LORA", "r": 8, "lora_alpha": 16}
    assert plain_config({**PLAIN, "use_rslora": True, "r": 16})["lora_alpha"] == 64


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"peft_type": "PREFIX_TUNING"}, "PREFIX_TUNING"),
        ({"use_dora": True}, "DoRA"),
        ({"use_qalora": True}, "use_qalora"),
        ({"modules_to_save": ["lm_head"]}, "whole layers"),
        ({"alpha_pattern": {"q_proj": 4}}, "different scales"),
        ({"rank_pattern": {"q_proj": 4}}, "different ranks"),
        ({"bias": "all"}, "biases"),
    ],
)
def test_what_a_pair_of_matrices_cannot_say_is_refused(changes, words):
    with pytest.raises(UnsupportedFeature, match=words):
        plain_config({**PLAIN, **changes})


@pytest.mark.parametrize("changes", [{"r": 0}, {"r": "8"}, {"r": 1 << 20}, {"lora_alpha": None}])
def test_numbers_that_are_none_are_refused(changes):
    with pytest.raises(InvalidModel):
        plain_config({**PLAIN, **changes})


def test_an_adapter_that_fits_is_accepted(base, tmp_path):
    require_fit(read_header(adapter(tmp_path / "a.gguf", **pair())), read_header(base))
    words = {"token_embd__weight__lora_a": (32, 2), "token_embd__weight__lora_b": (10, 2)}
    turned = adapter(tmp_path / "t.gguf", token_embd__weight__lora_a=(10, 2))
    assert turned.exists()
    with pytest.raises(InvalidModel, match="half"):
        require_fit(read_header(turned), read_header(base))
    require_fit(read_header(adapter(tmp_path / "w.gguf", **words)), read_header(base))


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({}, "changes nothing"),
        (pair(width=64), r"32x4 there and 64x4 here"),
        (pair(height=5), r"32x4 there and 32x5 here"),
        (pair(name="blk.7.attn_q.weight"), "the base model has not"),
        ({"blk__0__attn_q__weight__lora_a": (2, 32)}, "half"),
        ({"blk__0__attn_q__bias": (32,)}, "no known use"),
        (
            {"blk__0__attn_q__weight__lora_a": (2, 32), "blk__0__attn_q__weight__lora_b": (4, 3)},
            "does not fit",
        ),
    ],
)
def test_one_that_does_not_fit_is_refused_with_the_place(base, tmp_path, tensors, words):
    with pytest.raises(InvalidModel, match=words):
        require_fit(read_header(adapter(tmp_path / "a.gguf", **tensors)), read_header(base))


def test_models_and_adapters_of_other_families_are_refused(base, tmp_path):
    with pytest.raises(InvalidModel, match="'qwen2' models, the base is 'llama'"):
        require_fit(
            read_header(adapter(tmp_path / "a.gguf", architecture="qwen2", **pair())),
            read_header(base),
        )
    with pytest.raises(InvalidModel, match="not a LoRA"):
        require_fit(read_header(base), read_header(base))


def test_a_config_is_made_of_the_base_models_numbers(base, tmp_path):
    config = base_config(read_header(base))
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert (config["hidden_size"], config["num_hidden_layers"]) == (32, 1)
    assert config["vocab_size"] == 10
    assert config["tie_word_embeddings"] is True
    with pytest.raises(UnsupportedFeature, match="'mamba'"):
        base_config(read_header(tiny_gguf(tmp_path / "m.gguf", architecture="mamba")))


async def test_a_gguf_adapter_is_taken_as_it_is_and_others_need_their_files(base, tmp_path):
    store = ModelStore(tmp_path / "models", cache_path=tmp_path / "cache")
    below = store.blobs.put(base.read_bytes())
    data = adapter(tmp_path / "a.gguf", **pair()).read_bytes()
    digest = store.blobs.put(data)
    steps = [step async for step in convert_adapter(store, {"a.gguf": digest}, below)]
    assert steps == [Taken(digest=digest, size_bytes=len(data))]
    # A folder is looked at once a toolchain is there, and not run for what is missing.
    from tests.unit.models.toolchain.test_toolchain import stamped

    stamped(store.toolchain_path)
    config = store.blobs.put(json.dumps(PLAIN).encode())
    with pytest.raises(BadRequest, match=r"no adapter_model\.safetensors"):
        files = {"adapter_config.json": config}
        [step async for step in convert_adapter(store, files, below)]
