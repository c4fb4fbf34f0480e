"""What goes with a model's weights reaches llama.cpp, in the wheel and as an executable."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest

from dimora.models.store import ModelStore
from dimora.prompts.prompt import Prompt
from dimora.tasks.options import Sampling
from tests.worker_client import worker

EXECUTABLE = os.environ.get("DIMORA_TEST_LLAMA_SERVER") or shutil.which("llama-server")
SERVERS = [pytest.param("", id="wheel")]
if EXECUTABLE:
    SERVERS.append(pytest.param(EXECUTABLE, id="executable"))
PROMPT = Prompt(text="The capital of France is")
GREEDY = Sampling(temperature=0, num_predict=6)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of noise, under a name with the marks that llama-server reads as its own."""
    path = tmp_path_factory.mktemp("a,b") / "noise:2,5.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 8.0)
    noise = np.random.default_rng(0)
    for layer in range(30):
        for name, shape in (("lora_a", (8, 576)), ("lora_b", (576, 8))):
            values = noise.normal(0, 0.2, shape).astype(np.float32)
            writer.add_tensor(f"blk.{layer}.attn_output.weight.{name}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def written(path: Path, scratch: Path, server: str, **extras) -> str:
    model = ModelStore(scratch / "models").find_file(path)
    with worker(
        "llama_cpp", path, model, scratch / "run", llama_server=server, parallel=1, **extras
    ) as client:
        return client.generate(PROMPT, GREEDY)[0]


@pytest.mark.parametrize("server", SERVERS)
def test_an_adapter_counts_by_its_scale_and_a_draft_changes_no_word(
    server: str, adapter: Path, smollm2_path: Path, tmp_path: Path
) -> None:
    plain = written(smollm2_path, tmp_path, server)
    none = ((str(adapter), 0.0),)
    twice = ((str(adapter), 3.0), (str(adapter), 2.0))
    assert written(smollm2_path, tmp_path, server, adapters=none) == plain
    assert written(smollm2_path, tmp_path, server, adapters=twice) != plain
    assert written(smollm2_path, tmp_path, server, draft=str(smollm2_path)) == plain
    left = [path.name for path in (tmp_path / "run").iterdir() if path.suffix == ".gguf"]
    assert left == []


@pytest.mark.parametrize("server", SERVERS)
def test_with_a_draft_nobody_is_promised_probabilities(
    server: str, smollm2_path: Path, tmp_path: Path
) -> None:
    """The server tells none of what a draft guessed, and a certainty must not be made of that."""
    model = ModelStore(tmp_path / "models").find_file(smollm2_path)
    for draft, promised in (("", True), (str(smollm2_path), False)):
        with worker(
            "llama_cpp", smollm2_path, model, tmp_path / "run", llama_server=server, draft=draft
        ) as client:
            assert ("logprobs" in client.ready.features) is promised
            sampling = Sampling(temperature=0, num_predict=6, logprobs=0)
            _, tokens, _ = client.generate(PROMPT, sampling)
            assert all(token.logprob is not None for token in tokens) is promised
