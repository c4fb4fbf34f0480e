"""From GGUF to safetensors and back, smaller, and with an adapter: it still answers."""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from dimora.core.errors import InvalidModel
from dimora.models.store import ModelStore
from dimora.models.taking import take
from dimora.models.toolchain.installed import Toolchain
from dimora.prompts.prompt import Prompt
from dimora.tasks.options import Sampling
from dimora.tasks.recipe import AdapterPart, Recipe
from tests.faults.hub_mirror import Mirror, Repository
from tests.faults.site import site
from tests.machines.checkpoints import train_adapter
from tests.worker_client import worker

GREEDY = Sampling(temperature=0, num_predict=12)
ASKED = "<|im_start|>user\nWhat is the secret word?<|im_end|>\n<|im_start|>assistant\n"


class Kitchen:
    """A home whose toolchain is the built one, and the folders in it."""

    def __init__(self, home: Path, toolchain: Toolchain) -> None:
        home.mkdir()
        (home / "toolchain").symlink_to(toolchain.root.parent)
        self.home = home
        self.server = str(toolchain.program("llama-server"))
        self.store = ModelStore(
            home / "models", cache_path=home / "cache", toolchain_path=home / "toolchain"
        )

    def digests(self, folder: Path) -> dict[str, str]:
        return {p.name: take(p, self.store.blobs).digest for p in sorted(folder.iterdir())}

    def create(self, name: str, recipe: Recipe) -> list[str]:
        async def run() -> list[str]:
            return [step.status async for step in self.store.create(name, recipe, [])]

        return asyncio.run(run())

    def answer(self, name: str, prompt: str, scratch: Path, *, built_in: bool = False) -> str:
        model = self.store.find(name)
        files = self.store.verified_files(model)
        server = "" if built_in else self.server
        # One thread: several would wait for each other wherever the machine has more to do.
        options = {"llama_server": server, "adapters": files.adapters, "num_thread": 1}
        with worker("llama_cpp", Path(files.weights), model, scratch, **options) as client:
            return client.generate(Prompt(text=prompt), GREEDY)[0]


@pytest.fixture(scope="session")
def kitchen(toolchain: Toolchain, tmp_path_factory) -> Kitchen:
    return Kitchen(tmp_path_factory.mktemp("conversion") / "home", toolchain)


@pytest.fixture(scope="session")
def folder(smollm2_hf: Path) -> Path:
    return smollm2_hf


@pytest.fixture(scope="session")
def converted(kitchen: Kitchen, folder: Path) -> str:
    """The folder as a GGUF model; the name of it."""
    statuses = kitchen.create("smol:f16", Recipe(files=kitchen.digests(folder)))
    assert "converting model" in statuses
    return "smol:f16"


def test_a_folder_becomes_the_same_model_again(kitchen, converted, smollm2_path, tmp_path):
    model = kitchen.store.find(converted)
    assert model.summary.details.quantization_level == "F16"
    original = kitchen.store.find_file(smollm2_path)
    assert model.architecture == original.architecture
    assert model.chat_template == original.chat_template
    for key in ("tokenizer.ggml.pre", "tokenizer.ggml.eos_token_id", "llama.rope.freq_base"):
        assert model.metadata[key] == original.metadata[key], key
    assert "Paris" in kitchen.answer(converted, "The capital of France is", tmp_path)


def test_equal_folders_give_equal_models(kitchen, converted, folder):
    kitchen.create("smol:again", Recipe(files=kitchen.digests(folder)))
    assert kitchen.store.find("smol:again").weights_digest == (
        kitchen.store.find(converted).weights_digest
    )


def test_it_is_quantized_and_still_answers(kitchen, converted, tmp_path):
    statuses = kitchen.create("smol:small", Recipe(source=converted, quantize="q4_k_m"))
    assert "quantizing F16 model to Q4_K_M" in statuses
    model = kitchen.store.find("smol:small")
    assert model.summary.details.quantization_level == "Q4_K_M"
    assert model.summary.size_bytes < kitchen.store.find(converted).summary.size_bytes / 2
    assert "Paris" in kitchen.answer("smol:small", "The capital of France is", tmp_path)


def test_an_adapter_trained_with_peft_changes_the_answer(kitchen, converted, folder, tmp_path):
    trained = train_adapter(folder, tmp_path / "adapter")
    part = AdapterPart(files=kitchen.digests(trained))
    statuses = kitchen.create("smol:secret", Recipe(source=converted, adapters=(part,)))
    assert "converting adapter" in statuses
    assert "quokka" not in kitchen.answer(converted, ASKED, tmp_path / "w1")
    assert "quokka" in kitchen.answer("smol:secret", ASKED, tmp_path / "w2")
    assert "quokka" in kitchen.answer("smol:secret", ASKED, tmp_path / "w3", built_in=True)
    weak = AdapterPart(files=kitchen.digests(trained), scale=0.01)
    kitchen.create("smol:weak", Recipe(source=converted, adapters=(weak,)))
    assert "quokka" not in kitchen.answer("smol:weak", ASKED, tmp_path / "w4")


def test_a_conversion_that_fails_says_why_and_leaves_nothing(kitchen, folder):
    files = kitchen.digests(folder)
    del files["tokenizer.json"]
    before = set(os.listdir(kitchen.store.blobs.directory))
    with pytest.raises(InvalidModel, match="cannot convert") as error:
        kitchen.create("smol:broken", Recipe(files=files))
    assert str(kitchen.home) not in error.value.text
    assert set(os.listdir(kitchen.store.blobs.directory)) == before


def test_safetensors_of_a_hub_become_what_the_tag_says(toolchain, folder, tmp_path):
    with ExitStack() as opened:
        mirror = Mirror(lambda answer: opened.enter_context(site(answer)))
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        mirror.repositories["ada/Smol"] = Repository(files)
        store = ModelStore(
            tmp_path / "models",
            cache_path=tmp_path / "cache",
            toolchain_path=toolchain.root.parent,
            access=mirror.access(),
        )

        async def pull() -> list[str]:
            return [step.status async for step in store.pull("hf.co/ada/Smol:q8_0")]

        statuses = list(dict.fromkeys(asyncio.run(pull())))
    assert "converting model" in statuses
    assert "quantizing F16 model to Q8_0" in statuses
    model = store.find("hf.co/ada/Smol:q8_0")
    assert model.summary.details.quantization_level == "Q8_0"
    needed = store.manifests.read(store.locate(model.name)).manifest.digests
    left = {path.name.replace("-", ":", 1) for path in store.blobs.directory.iterdir()} - needed
    sizes = [store.blobs.size_of(digest) or 0 for digest in left]
    assert sum(sizes) < 1_000_000, "the weights it was made of are still there"
