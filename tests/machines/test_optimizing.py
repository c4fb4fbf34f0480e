"""A GGUF model becomes OpenVINO IR; the card says what that cost, and the result answers."""

from __future__ import annotations

import json

import pytest

from dimora.models.store import ModelStore
from tests.conftest import run_dimora

SOURCE = "smollm2:135m"
MADE = "smollm2:135m-openvino-int8"


@pytest.fixture(scope="module")
def kitchen(toolchain, model_home, tmp_path_factory):
    """A home with the chat model, the built toolchain, and the optimized model in it."""
    from tests.conftest import copy_home

    home = copy_home(model_home, tmp_path_factory.mktemp("optimize") / "home")
    (home / "toolchain").symlink_to(toolchain.root.parent)
    done = run_dimora("optimize", SOURCE, "--json", home=home, timeout_seconds=400)
    return home, json.loads(done.stdout)


def test_the_result_is_a_folder_with_the_texts_of_its_source(kitchen):
    home, told = kitchen
    store = ModelStore(home / "models", cache_path=home / "cache")
    made, source = store.find(MADE), store.find(SOURCE)
    assert told["model"] == MADE
    assert made.summary.details.format == "openvino"
    assert made.licenses[-1] == source.licenses[-1]
    assert made.chat_template == source.chat_template
    assert "openvino_model.bin" in store.verified_files(made).folder


def test_eight_bits_predict_nearly_as_the_source_does(kitchen):
    card = kitchen[1]["card"]
    assert card["notes"] == []
    assert card["positions"] > 500
    assert card["before"]["engine"] != card["after"]["engine"] == "openvino"
    assert 0.9 < card["after"]["perplexity"] / card["before"]["perplexity"] < 1.1
    assert card["top_agreement"] > 0.8
    assert 0 < card["kl_divergence"] < 0.1
    assert card["after"]["output_tokens_per_second"] > 1
    assert kitchen[1]["complaints"] == []


def test_the_card_stays_with_the_model_and_the_model_answers(kitchen):
    home, _ = kitchen
    shown = run_dimora("show", MADE, home=home).stdout
    assert "Made from another form" in shown and "KL divergence" in shown
    words = run_dimora("run", MADE, "What is the capital of France?", home=home).stdout
    assert "Paris" in words


def test_what_cannot_be_optimized_is_refused_before_any_work(kitchen):
    home, _ = kitchen
    for arguments, word in (
        (("multilingual-e5-small",), "no GGUF model that writes text"),
        ((SOURCE, "--engine", "llama_cpp"), "dimora quantize"),
        ((SOURCE, "--bits", "4", "--group", "7"), "group"),
    ):
        done = run_dimora("optimize", *arguments, home=home, check=False)
        assert done.returncode == 1 and word in done.stderr


def test_a_worse_result_replaces_nothing_unless_told_to(kitchen):
    home, told = kitchen
    done = run_dimora(
        *("optimize", SOURCE, "--name", MADE, "--bits", "4", "--group", "64"),
        home=home,
        check=False,
        timeout_seconds=400,
        DIMORA_TOP_AGREEMENT="0.99",
    )
    assert done.returncode == 1
    assert "was not replaced" in done.stderr and f"{MADE}-candidate" in done.stderr
    store = ModelStore(home / "models", cache_path=home / "cache")
    card = store.find(MADE).card
    assert card is not None and card.top_agreement == told["card"]["top_agreement"]
    assert store.find(f"{MADE}-candidate").summary.size_bytes < store.find(MADE).summary.size_bytes
