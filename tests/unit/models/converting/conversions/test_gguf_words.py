"""Texts are cut as the families of models cut them."""

from __future__ import annotations

import pytest

pytest.importorskip("tokenizers", reason="it comes with the extra `optimize`")

from dimora.models.converting.conversions._gguf_words import _begins_with_bos, _splitter


@pytest.mark.parametrize(
    ("kind", "pieces"),
    [
        ("smollm", ["I", "'ll", "Ġpay", "Ġ", "1", "2", "3", "4", "5", "Ċ", "Ċ", "now"]),
        ("qwen2", ["I", "'ll", "Ġpay", "Ġ", "1", "2", "3", "4", "5", "ĊĊ", "now"]),
        ("llama-bpe", ["I", "'ll", "Ġpay", "Ġ", "123", "45", "ĊĊ", "now"]),
    ],
)
def test_digits_go_together_as_the_family_has_it(kind, pieces):
    found = _splitter(kind).pre_tokenize_str("I'll pay 12345\n\nnow")
    assert [piece for piece, _ in found] == pieces


@pytest.mark.parametrize("kind", ["qwen2", "llama-bpe"])
def test_a_mark_before_a_word_belongs_to_it(kind):
    found = _splitter(kind).pre_tokenize_str("(hello WE'RE")
    assert [piece for piece, _ in found] == ["(hello", "ĠWE", "'RE"]


@pytest.mark.parametrize(
    ("said", "kind", "begins"),
    [(None, "llama-bpe", True), (None, "qwen2", False), (False, "llama-bpe", False)],
)
def test_the_first_token_is_what_the_file_or_else_the_family_says(said, kind, begins):
    metadata = {"tokenizer.ggml.pre": kind}
    if said is not None:
        metadata["tokenizer.ggml.add_bos_token"] = said
    assert _begins_with_bos(metadata) is begins
