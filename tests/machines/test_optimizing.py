"""A GGUF model becomes OpenVINO IR; the card says what that cost, and the result answers.

The real model takes two minutes and is for the night; in the day a small one goes the same way.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from bench.make_model import Shape, make_model
from dimora.models.converting.scoring import read_scoring_text
from dimora.models.store import ModelStore
from tests.conftest import AT_NIGHT, copy_home, environment, run_dimora

SOURCE = "smollm2:135m"
MADE = "smollm2:135m-openvino-int8"
SMALL = "small:f16"
# Groups of 128 would not fit; the family has tensors that others have not.
SHAPE = Shape(
    name="small",
    architecture="qwen2",
    blocks=2,
    width=192,
    heads=3,
    kv_heads=1,
    feed_forward=512,
    weights="F16",
)


@pytest.fixture(scope="module")
def kitchen(toolchain, model_home, smollm2_path, tmp_path_factory) -> Path:
    """A home with the chat model, the built toolchain, and a small model of random weights."""
    place = tmp_path_factory.mktemp("optimize")
    home = copy_home(model_home, place / "home")
    (home / "toolchain").symlink_to(toolchain.root.parent)
    file = make_model(SHAPE, smollm2_path, place / "small.gguf")
    store_of(home).import_file(file, SMALL)
    return home


def store_of(home: Path) -> ModelStore:
    return ModelStore(home / "models", cache_path=home / "cache")


def blobs_of(home: Path) -> set[str]:
    return {path.name for path in (home / "models" / "blobs").iterdir()}


def assert_only_what_is_needed(home: Path) -> None:
    needed = store_of(home).manifests.references()
    assert {name.replace("-", ":", 1) for name in blobs_of(home)} == needed


@pytest.fixture(scope="module")
def made(kitchen, tmp_path_factory) -> dict:
    """What `dimora optimize` tells of the chat model in 8 bits, over a text of one's own."""
    text = tmp_path_factory.mktemp("words") / "mine.txt"
    text.write_text(read_scoring_text()[:2500])
    arguments = ("optimize", SOURCE, "--text", str(text), "--json")
    done = run_dimora(*arguments, home=kitchen, timeout_seconds=400)
    assert "compressing weights to 8 bits" in done.stderr
    assert "made of Q4_1: a source in F16" in done.stderr
    return json.loads(done.stdout)


@AT_NIGHT
@pytest.mark.timeout(500)
def test_the_result_is_a_folder_with_the_texts_of_its_source(kitchen, made):
    store = store_of(kitchen)
    result, source = store.find(MADE), store.find(SOURCE)
    assert made["model"] == MADE
    assert result.summary.details.format == "openvino"
    assert result.summary.details.quantization_level == "INT8_ASYM"
    assert result.licenses == source.licenses
    assert result.chat_template == source.chat_template
    assert result.bos_token == source.bos_token
    assert "openvino_model.bin" in store.verified_files(result).folder
    assert_only_what_is_needed(kitchen)


@AT_NIGHT
def test_eight_bits_predict_nearly_as_the_source_does(made):
    card = made["card"]
    assert card["notes"] == []
    assert card["text"] == "mine.txt"
    assert card["positions"] > 100
    assert card["after"]["engine"] == "openvino"
    assert 0.9 < card["after"]["perplexity"] / card["before"]["perplexity"] < 1.1
    assert card["top_agreement"] > 0.8
    assert 0 < card["kl_divergence"] < 0.05
    assert card["after"]["output_tokens_per_second"] > 1
    assert made["complaints"] == []


@AT_NIGHT
def test_the_card_stays_with_the_model_and_the_model_answers(kitchen, made):
    shown = run_dimora("show", MADE, home=kitchen).stdout
    assert "Made from another form" in shown and "KL divergence" in shown
    arguments = ("run", MADE, "--engine", "openvino", "--option", "temperature=0")
    asked = run_dimora(*arguments, "What is the capital of France?", home=kitchen)
    assert "Paris" in asked.stdout
    again = run_dimora("optimize", MADE, home=kitchen, check=False)
    assert f"dimora optimize {SOURCE}" in again.stderr


@pytest.mark.timeout(300)
def test_a_worse_result_of_four_bits_replaces_nothing_unless_told_to(kitchen):
    run_dimora("cp", SMALL, "mine", home=kitchen)
    before = store_of(kitchen).find("mine").summary.digest
    wishes = ("--bits", "4", "--name", "mine", "--json")
    done = run_dimora(
        *("optimize", SMALL, *wishes),
        home=kitchen,
        check=False,
        timeout_seconds=300,
        DIMORA_TOP_AGREEMENT="1",
    )
    assert done.returncode == 1
    assert "'mine' was not replaced" in done.stderr and "mine:latest-candidate" in done.stderr
    store = store_of(kitchen)
    assert store.find("mine").summary.digest == before
    candidate = store.find("mine:latest-candidate")
    assert candidate.summary.details.quantization_level == "INT4_ASYM_G64"
    assert candidate.summary.size_bytes < store.find(SMALL).summary.size_bytes
    # A weight that is missing or misplaced leaves the two nothing in common.
    assert json.loads(done.stdout)["card"]["top_agreement"] > 0.3
    assert candidate.chat_template == store.find(SMALL).chat_template
    assert_only_what_is_needed(kitchen)
    shown = run_dimora("show", "mine:latest-candidate", home=kitchen).stdout
    assert "Made from another form" in shown and "KL divergence" in shown


def test_what_cannot_be_optimized_is_refused_at_once(kitchen):
    for arguments, word in (
        (("multilingual-e5-small",), "gives vectors"),
        ((SOURCE, "--engine", "llama_cpp"), "dimora quantize"),
        ((SOURCE, "--bits", "4", "--group", "7"), "not 7"),
    ):
        began = time.monotonic()
        done = run_dimora("optimize", *arguments, home=kitchen, check=False)
        assert done.returncode == 1 and word in done.stderr
        assert time.monotonic() - began < 5


def test_a_kill_in_the_middle_leaves_nothing_that_a_sweep_does_not_take(kitchen):
    before = blobs_of(kitchen)
    process = subprocess.Popen(
        [sys.executable, "-m", "dimora", "optimize", SMALL, "--name", "never"],
        env=environment(kitchen),
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if line.startswith("compressing"):
            break
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    psutil.wait_procs(children, timeout=10)
    assert not any(child.is_running() for child in children)
    assert blobs_of(kitchen) - before
    store = store_of(kitchen)
    store.sweep(grace_seconds=0)
    assert blobs_of(kitchen) <= before
    assert store.locate("never") is None
