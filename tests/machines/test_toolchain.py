"""The built toolchain quantizes as we do, and runs GGUF models by itself."""

from __future__ import annotations

import asyncio
import json
import subprocess
import urllib.request
from pathlib import Path

import gguf
import numpy as np
import pytest

from dimora.models.store import ModelStore
from dimora.models.taking import Taken, take
from dimora.models.toolchain.installed import Toolchain, read_pin
from dimora.models.toolchain.trial import failing_formats
from tests.conftest import copy_home, run_dimora, serving
from tests.unit.models.converting.test_quantizing import model_file


@pytest.fixture
def store(tmp_path: Path, toolchain: Toolchain) -> ModelStore:
    home = tmp_path / "home"
    return ModelStore(
        home / "models", cache_path=home / "cache", toolchain_path=toolchain.root.parent
    )


def quantized(store: ModelStore, file: Path, kind: str) -> Path:
    async def run() -> Taken:
        from dimora.models.converting.quantizing import quantize

        source = take(file, store.blobs)
        *_, taken = [s async for s in quantize(store, source.digest, source.size_bytes, kind)]
        assert isinstance(taken, Taken)
        return taken

    return store.blobs.path(asyncio.run(run()).digest)


def tensors_of(path: Path) -> dict[str, tuple[str, np.ndarray]]:
    return {
        t.name: (t.tensor_type.name, np.asarray(t.data).view(np.uint8).ravel())
        for t in gguf.GGUFReader(path).tensors
    }


def metadata_of(path: Path) -> dict:
    fields = gguf.GGUFReader(path).fields
    return {n: f.contents() for n, f in fields.items() if not n.startswith("GGUF.")}


@pytest.mark.parametrize("kind", ["F32", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_python_and_llama_quantize_make_the_same_model(toolchain, store, tmp_path, kind):
    source = model_file(tmp_path / "f16.gguf", alignment=32)
    theirs = tmp_path / "theirs.gguf"
    program = toolchain.program("llama-quantize")
    # It is no whole model: pure llama-quantize asks for what engines need.
    argv = [str(program), str(source), str(theirs), kind, "1"]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    ours = quantized(store, source, kind)
    assert metadata_of(ours) == metadata_of(theirs)
    expected, found = tensors_of(theirs), tensors_of(ours)
    assert found.keys() == expected.keys()
    for name, (form, data) in expected.items():
        assert found[name][0] == form, name
        differing = float((found[name][1] != data).mean())
        # The search for the best scale adds up in another order: a few blocks differ in a bit.
        assert differing < (0.01 if form == "Q6_K" else 1e-9), name


@pytest.mark.parametrize("kind", ["Q4_K_M", "q6_k", "IQ4_XS"])
def test_mixes_come_from_the_toolchain(store, tmp_path, kind):
    made = quantized(store, model_file(tmp_path / "f16.gguf", alignment=32), kind)
    assert metadata_of(made)["general.file_type"] == {"Q4_K_M": 15, "q6_k": 18, "IQ4_XS": 30}[kind]
    assert made.stat().st_size < (tmp_path / "f16.gguf").stat().st_size / 2


async def test_what_is_installed_runs_every_format(toolchain, tmp_path):
    programs = (toolchain.program(name) for name in ("llama-bench", "llama-quantize"))
    assert await failing_formats(*programs, tmp_path / "log") == []


def test_an_installed_toolchain_is_told_and_not_built_again(toolchain):
    home = toolchain.root.parent.parent
    assert run_dimora("toolchain", "install", home=home).stderr.startswith("success")
    told = json.loads(run_dimora("toolchain", "status", "--json", home=home).stdout)
    assert told["state"] == "installed"
    assert set(told["programs"]) == set(read_pin().programs)
    assert (toolchain.root / "build.log").stat().st_size > 1000


def test_a_source_that_is_not_the_pinned_one_is_never_unpacked(toolchain, tmp_path):
    (tmp_path / read_pin().archive_names[0]).write_bytes(b"something else")
    home = tmp_path / "home"
    only_here = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    done = run_dimora("toolchain", "install", home=home, check=False, **only_here)
    assert done.returncode == 1
    assert "an index, or something on the way to it, changes files" in done.stderr
    told = json.loads(run_dimora("toolchain", "status", "--json", home=home).stdout)
    assert told["state"] == "begun"
    assert list((home / "toolchain" / read_pin().version).iterdir()) == []
    run_dimora("toolchain", "remove", home=home)
    assert run_dimora("toolchain", "remove", home=home, check=False).returncode == 1


def test_a_model_runs_in_the_toolchains_server_as_soon_as_there_is_one(
    toolchain, tmp_path, model_home
):
    home = copy_home(model_home, tmp_path / "home")
    # With a draft, so that it is llama.cpp's by the rule.
    recipe = tmp_path / "Modelfile"
    recipe.write_text("FROM smollm2:135m\nDRAFT smollm2:135m\n")
    run_dimora("create", "drafted", "-f", str(recipe), home=home, DIMORA_HOST="127.0.0.1:1")
    with serving(home) as server:
        assert "built-in server" in reason_after_a_question(server.url, home)
        (home / "toolchain").symlink_to(toolchain.root.parent)
        run_dimora("stop", "drafted", home=home, DIMORA_HOST=server.url)
        assert "the llama-server of the toolchain" in reason_after_a_question(server.url, home)


def reason_after_a_question(url: str, home: Path) -> str:
    body = {"model": "drafted", "prompt": "Say hi", "stream": False}
    body["options"] = {"num_predict": 4}
    with urllib.request.urlopen(f"{url}/api/generate", json.dumps(body).encode()) as answer:
        assert json.load(answer)["done"]
    (row,) = json.loads(run_dimora("ps", "--json", home=home, DIMORA_HOST=url).stdout)
    assert row["engine"] == "llama_cpp"
    return row["engine_reason"]
