"""What a model can do and how large it is, told from its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from dimora.core.errors import InvalidModel
from dimora.models.formats.facts import (
    Facts,
    count_words,
    facts_of,
    in_order,
    template_capabilities,
)
from dimora.models.formats.gguf import read_header
from tests.unit.models.making import TOKENS, tiny_gguf


def facts(tmp_path: Path, **wanted: object) -> Facts:
    path = tmp_path / "a.gguf"
    path.unlink(missing_ok=True)
    return facts_of(read_header(tiny_gguf(path, **wanted)))  # type: ignore[arg-type]


def test_details_come_from_the_file(tmp_path: Path) -> None:
    details = facts(tmp_path, file_type=15).details
    assert details.family == "llama" and details.families == ("llama",)
    assert details.context_length == 128 and details.embedding_length == 32
    assert details.parameter_size == "480"
    assert details.quantization_level == "Q4_K_M"


@pytest.mark.parametrize("file_type", [None, 999, 1024 + 2])
def test_without_a_known_mix_the_commonest_format_is_told(
    tmp_path: Path, file_type: int | None
) -> None:
    assert facts(tmp_path, file_type=file_type).details.quantization_level == "F32"


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (999, "999"),
        (1_000, "1K"),
        (134_515_008, "134.52M"),
        (117_490_000, "117.49M"),
        (1_543_714_304, "1.5B"),
        (8_030_261_248, "8.0B"),
        (1_000_000_000_000, "1.0T"),
    ],
)
def test_parameters_are_counted_in_words(count: int, words: str) -> None:
    assert count_words(count) == words


def test_special_tokens_are_told_as_text(tmp_path: Path) -> None:
    found = facts(tmp_path)
    assert (found.bos_token, found.eos_token) == ("<s>", "</s>")
    assert found.tensor_types == ("F32", "Q4_0")


def test_a_tiny_vocabulary_gives_its_tokens_too(tmp_path: Path) -> None:
    assert facts(tmp_path, tokens=TOKENS[:4]).bos_token == "<s>"


def test_a_template_with_tools_and_thinking_can_both(tmp_path: Path) -> None:
    assert facts(tmp_path).capabilities == ("completion", "tools", "thinking")
    assert facts(tmp_path, template="{{ messages }}").capabilities == ("completion",)
    assert facts(tmp_path, template="").chat_template == ""


def test_a_pooling_model_embeds_and_does_not_complete(tmp_path: Path) -> None:
    pooled = facts(tmp_path, architecture="bert", numbers={"bert.pooling_type": 1})
    assert pooled.capabilities == ("embedding",)
    assert facts(tmp_path, architecture="nomic-bert").capabilities == ("embedding",)


def test_eyes_and_ears_that_no_engine_uses_are_not_told_of(tmp_path: Path) -> None:
    numbers = {"llama.vision.block_count": 2, "llama.audio.block_count": 2}
    assert facts(tmp_path, template="", numbers=numbers).capabilities == ("completion",)


@pytest.mark.parametrize(
    "template",
    ["[THINK]{{ messages }}[/THINK]", "<seed:think>{{ messages }}</seed:think>", "</think>"],
)
def test_every_way_of_thinking_that_is_read_is_told_of(tmp_path: Path, template: str) -> None:
    assert facts(tmp_path, template=template).capabilities == ("completion", "thinking")
    assert template_capabilities(template) == {"thinking"}


def test_calls_in_channels_are_not_read_and_not_told_of(tmp_path: Path) -> None:
    template = "<|channel|>commentary{{ tools }}"
    assert facts(tmp_path, template=template).capabilities == ("completion",)


@pytest.mark.parametrize(
    "spelling",
    [
        ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
        ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
        ("▁<PRE>", "▁<SUF>", "▁<MID>"),
    ],
)
def test_fill_in_the_middle_is_known_by_its_tokens(
    tmp_path: Path, spelling: tuple[str, ...]
) -> None:
    found = facts(tmp_path, tokens=[*TOKENS, *spelling], template="")
    assert found.fim == spelling
    assert found.capabilities == ("completion", "insert")


def test_declared_fill_in_the_middle_tokens_win(tmp_path: Path) -> None:
    ids = dict(zip(("fim_pre", "fim_suf", "fim_mid"), (10, 12, 11), strict=True))
    numbers = {f"tokenizer.ggml.{key}_token_id": number for key, number in ids.items()}
    found = facts(tmp_path, tokens=[*TOKENS, "<P>", "<M>", "<S>"], numbers=numbers)
    assert found.fim == ("<P>", "<S>", "<M>")


def test_two_of_three_fill_in_the_middle_tokens_are_none(tmp_path: Path) -> None:
    found = facts(tmp_path, tokens=[*TOKENS, "<fim_prefix>", "<fim_suffix>"])
    assert found.fim == () and "insert" not in found.capabilities


def test_a_file_without_an_architecture_is_no_model(tmp_path: Path) -> None:
    header = read_header(tiny_gguf(tmp_path / "a.gguf"))
    header.metadata["general.architecture"] = ""
    with pytest.raises(InvalidModel, match="architecture"):
        facts_of(header)


def test_a_go_template_adds_what_it_uses() -> None:
    assert template_capabilities("{{ if .Tools }}x{{ end }}") == {"tools"}
    assert template_capabilities("<think>{{ .Thinking }}</think>") == {"thinking"}
    assert template_capabilities("{{ .Prompt }}") == set()
    assert in_order({"zeta", "tools", "completion"}) == ("completion", "tools", "zeta")
