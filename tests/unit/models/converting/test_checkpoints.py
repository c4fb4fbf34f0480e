"""What a folder says of itself is read first: architecture, weights, and nothing that runs code."""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from dimora.core.errors import BadRequest, InvalidModel, NotFound
from dimora.models.converting import checkpoints
from dimora.models.converting.importing import convert_folder
from dimora.models.store import ModelStore
from tests.bounds import within_bounds
from tests.unit.models.toolchain.test_toolchain import stamped

KNOWN = frozenset({"LlamaForCausalLM", "Gemma3ForConditionalGeneration", "Qwen2ForCausalLM"})
LLAMA = json.dumps({"architectures": ["LlamaForCausalLM"]}).encode()
WEIGHTS = save({"a": np.ones((2, 2), dtype=np.float16), "b": np.ones(3, dtype=np.float16)})

Put = Callable[..., dict[str, str]]


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "home" / "models", cache_path=tmp_path / "home" / "cache")


def paths_of(store: ModelStore, files: dict[str, str]) -> dict[str, Path]:
    return {name: store.blobs.path(digest) for name, digest in files.items()}


@pytest.fixture
def put(store: ModelStore) -> Put:
    """Files by name, as digests of blobs."""

    def put(**contents: bytes) -> dict[str, str]:
        named = {name.replace("__", "."): data for name, data in contents.items()}
        return {name: store.blobs.put(data) for name, data in named.items()}

    return put


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, "LlamaForCausalLM"),
        (
            {
                "architectures": ["NewForConditionalGeneration"],
                "text_config": {"architectures": ["Qwen2ForCausalLM"]},
            },
            "Qwen2ForCausalLM",
        ),
        (
            {"architectures": ["Gemma3ForConditionalGeneration"], "text_config": {"x": 1}},
            "Gemma3ForConditionalGeneration",
        ),
    ],
)
def test_the_architecture_is_the_inner_one_where_there_is_one(config, found):
    assert checkpoints.require_architecture(config, KNOWN) == found


def test_an_unknown_architecture_is_named_with_how_many_are_known():
    with pytest.raises(InvalidModel, match="'NobodyForCausalLM'") as error:
        checkpoints.require_architecture({"architectures": ["NobodyForCausalLM"]}, KNOWN)
    assert "knows 3 architectures" in error.value.hint


@pytest.mark.parametrize("config", [{}, {"architectures": []}, {"architectures": [7]}])
def test_a_config_without_an_architecture_is_refused(config):
    with pytest.raises(InvalidModel, match="names no architecture"):
        checkpoints.require_architecture(config, KNOWN)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b"null",
        b"[" * 100_000,
        b'"' + b"x" * (5 << 20) + b'"',
        b'{"a": "' + b"x" * (2 << 20) + b'"}',
    ],
)
def test_a_config_that_is_none_is_refused(store, put, data):
    with pytest.raises(InvalidModel, match=r"config\.json"):
        checkpoints.read_config(paths_of(store, put(config__json=data)))
    with pytest.raises(InvalidModel, match=r"no config\.json"):
        checkpoints.read_config(paths_of(store, {}))


def test_the_converters_list_is_read_without_running_it(tmp_path: Path):
    package = tmp_path / "conversion" / "__init__.py"
    package.parent.mkdir()
    package.write_text(
        "raise SystemExit('never run')\n"
        "OTHER: dict[str, str] = {'Wrong': 'x'}\n"
        "TEXT_MODEL_MAP: dict[str, str] = {'LlamaForCausalLM': 'llama', 'X': 'y'}\n"
    )
    assert checkpoints.known_architectures(tmp_path) == {"LlamaForCausalLM", "X"}


def test_weights_are_counted_when_all_of_them_are_there(store, put):
    index = json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-1.safetensors"}})
    files = put(config__json=LLAMA, tokenizer__json=b"{}")
    files |= {
        "model-1.safetensors": store.blobs.put(WEIGHTS),
        checkpoints.INDEX: store.blobs.put(index.encode()),
    }
    assert checkpoints.require_weights(paths_of(store, files)) == len(WEIGHTS)


@pytest.mark.parametrize(
    ("places", "words"),
    [
        ({"a": "model-2.safetensors"}, "'model-2.safetensors' is missing"),
        ({"a": 7}, "no weight_map"),
        ({"c": "model-1.safetensors"}, "'c' is not in"),
        ({}, "no weight_map"),
        ([], "no weight_map"),
    ],
)
def test_an_index_that_sees_what_is_not_there_is_refused(store, places, words):
    index = store.blobs.put(json.dumps({"weight_map": places}).encode())
    files = {"model-1.safetensors": store.blobs.put(WEIGHTS), checkpoints.INDEX: index}
    with pytest.raises(InvalidModel, match=words):
        checkpoints.require_weights(paths_of(store, files))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "notes.txt", "x.safetensors"])
def test_pickles_are_refused_under_any_name(store, name):
    pickled = store.blobs.put(pickle.dumps({"weights": [1.0] * 100}))
    with pytest.raises(InvalidModel, match="pickle"):
        files = {"model.safetensors": store.blobs.put(WEIGHTS), name: pickled}
        checkpoints.require_weights(paths_of(store, files))


def test_damaged_and_missing_weights_are_refused(store):
    with pytest.raises(InvalidModel):
        checkpoints.require_weights(
            paths_of(store, {"model.safetensors": store.blobs.put(WEIGHTS[:-1])})
        )
    with pytest.raises(InvalidModel, match="no weights"):
        checkpoints.require_weights(paths_of(store, {"config.json": store.blobs.put(LLAMA)}))


def test_code_is_not_handed_to_the_converter_and_names_stay_inside(store, put, tmp_path):
    files = put(config__json=LLAMA, modeling__py=b"import os")
    files["1_Pooling/config.json"] = store.blobs.put(b"{}")
    folder = tmp_path / "folder"
    folder.mkdir()
    checkpoints.link_files(paths_of(store, files), folder)
    found = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    assert found == ["1_Pooling/config.json", "config.json"]
    assert (folder / "config.json").read_bytes() == LLAMA
    for name in ("../config.json", "/config.json", "a\\b.json", "a/../../b.json"):
        with pytest.raises(BadRequest):
            checkpoints.link_files(paths_of(store, {name: files["config.json"]}), folder)


async def test_an_unsupported_architecture_fails_at_once_before_anything_is_looked_at(store, put):
    converters = stamped(store.toolchain_path) / "converters" / "conversion"
    converters.mkdir(parents=True)
    (converters / "__init__.py").write_text("TEXT_MODEL_MAP: dict[str, str] = {'A': 'a'}\n")
    files = put(config__json=json.dumps({"architectures": ["NobodyLM"]}).encode())
    # Weights that are not in the store at all: they are not reached.
    files["model.safetensors"] = "sha256:" + "0" * 64
    started = time.monotonic()
    with pytest.raises(InvalidModel, match="'NobodyLM'"):
        [step async for step in convert_folder(store, files)]
    assert time.monotonic() - started < 1


async def test_without_the_toolchain_the_error_says_how_to_get_it(store, put):
    with pytest.raises(NotFound, match="toolchain") as error:
        [step async for step in convert_folder(store, put(config__json=LLAMA))]
    assert "dimora toolchain install" in error.value.hint


def test_an_index_of_anything_else_is_not_made_of_it(store):
    told = b'{"weight_map": {"a": "model-1.safetensors"}, "x": [[]' + b",[]" * (7 << 20) + b"]}"
    index = store.blobs.put(told)
    files = {"model-1.safetensors": store.blobs.put(WEIGHTS), checkpoints.INDEX: index}
    within_bounds(lambda: checkpoints.require_weights(paths_of(store, files)))
