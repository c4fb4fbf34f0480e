"""Do the two real engines write the same greedy text?"""

from __future__ import annotations

import platform
from pathlib import Path

import gguf
import pytest

from dimora.models.store import ModelStore
from dimora.prompts.prompt import Prompt
from dimora.tasks.options import Sampling
from tests.conftest import AT_NIGHT
from tests.worker_client import worker

PROMPTS = [
    "The capital of France is",
    "Water boils at a temperature of",
    "The opposite of hot is",
    "One, two, three, four,",
    "Monday, Tuesday, Wednesday,",
    "The sun rises in the",
    "A triangle has",
    "The largest planet of the solar system is",
    "To be or not to be,",
    "In the beginning God created",
    "def add(a, b):\n    return",
    "for i in range(10):\n    print(",
    "Roses are red, violets are",
    "The first president of the United States was",
    "An apple a day keeps the",
    "Dogs bark and cats",
    "The chemical symbol of gold is",
    "A year has",
    "The colours of the rainbow are red,",
    "import numpy as",
]
TOKENS = 5
FLOOR = 0.5
NEEDS_X86 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="OpenVINO is for x86-64"
)


@pytest.fixture(scope="session")
def q8_path(smollm2_path: Path, tmp_path_factory) -> Path:
    """The chat model with all its blocks in Q8_0, which both engines read as they are."""
    path = tmp_path_factory.mktemp("q8") / "smollm2-q8.gguf"
    reader = gguf.GGUFReader(smollm2_path)
    writer = gguf.GGUFWriter(path, "llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        kind, *inner = field.types
        value = field.contents()
        writer.add_key_value(field.name, value, kind, sub_type=inner[-1] if inner else None)
    for tensor in reader.tensors:
        data = gguf.dequantize(tensor.data, tensor.tensor_type)
        if tensor.tensor_type == gguf.GGMLQuantizationType.F32:
            writer.add_tensor(tensor.name, data)
        else:
            q8 = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(tensor.name, gguf.quantize(data, q8), raw_dtype=q8)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def agreement(path: Path, scratch: Path) -> float:
    """The share of prompts whose first greedy tokens are the same on both engines."""
    model = ModelStore(scratch / "m", cache_path=scratch).find_file(path)
    texts = []
    for engine in ("llama_cpp", "openvino"):
        with worker(engine, path, model, scratch / engine) as client:
            sampling = Sampling(temperature=0, num_predict=TOKENS)
            texts.append([client.generate(Prompt(text=p), sampling)[0] for p in PROMPTS])
    return sum(a == b for a, b in zip(*texts, strict=True)) / len(PROMPTS)


@NEEDS_X86
@pytest.mark.parametrize("weights", ["smollm2_path", pytest.param("q8_path", marks=AT_NIGHT)])
def test_greedy_texts_of_both_engines_agree_on_most_prompts(weights, request, tmp_path, capsys):
    rate = agreement(request.getfixturevalue(weights), tmp_path)
    with capsys.disabled():
        print(f"\ngreedy agreement of the engines over {TOKENS} tokens, {weights}: {rate}")
    assert rate >= FLOOR


@NEEDS_X86
@pytest.mark.parametrize("vnni", [True, False])
def test_a_llama_server_that_the_owner_names_comes_before_the_rule(
    smollm2_path, tmp_path, monkeypatch, vnni
):
    from dimora.engines import llama_cpp, openvino
    from dimora.engines.base import EngineSettings

    model = ModelStore(tmp_path / "m", cache_path=tmp_path).find_file(smollm2_path)
    monkeypatch.setattr(openvino, "multiplies_bytes", lambda: vnni)

    def first(named_by: str) -> bool:
        path = "/usr/bin/llama-server" if named_by else ""
        settings = EngineSettings(
            scratch_path="", llama_server_path=path, llama_server_from=named_by
        )
        return openvino.rank(model, settings)[0] > llama_cpp.rank(model, settings)[0]

    # Without products of bytes OpenVINO is the slower one with most formats.
    assert first("") == first("the toolchain") == vnni
    assert not first("the settings")
