"""The tokenizer of a GGUF file as one of transformers, which OpenVINO's own is made of."""

from __future__ import annotations

from typing import Any

from dimora.core.errors import InvalidModel

_CONTROL, _ADDED = 3, 4
# How families cut a text before they look for words in it; {} is how many digits go together.
_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{}"
    r"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_DIGITS = {"llama-bpe": "{1,3}", "qwen2": ""}


def tokenizer_of(reader: Any, metadata: dict[str, Any]) -> Any:
    """A PreTrainedTokenizerFast. `reader` is a GGUFReader, for what is long, `metadata` as our own
    reader tells it. Raises InvalidModel when the vocabulary does not fit together."""
    from tokenizers import AddedToken, Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    words = _list(reader, "tokenizer.ggml.tokens")
    kinds = _list(reader, "tokenizer.ggml.token_type")
    pairs = [tuple(pair.split(" ", 1)) for pair in _list(reader, "tokenizer.ggml.merges")]
    known = {word: number for number, word in enumerate(words)}
    kind = str(metadata.get("tokenizer.ggml.pre"))
    if len(known) != len(words) or len(kinds) != len(words):
        raise InvalidModel("the words of the model's tokenizer are not one for each number")
    try:
        # Families whose words may be longer than their merges reach take whole words first.
        made = Tokenizer(models.BPE(known, pairs, ignore_merges=kind == "llama-bpe"))
    except Exception as why:  # noqa: BLE001 - the library raises nothing more precise
        raise InvalidModel(f"the model's tokenizer is damaged: {str(why)[:120]}") from None
    made.pre_tokenizer = _splitter(kind)
    made.decoder = decoders.ByteLevel()
    for number, word in enumerate(words):
        if kinds[number] in (_CONTROL, _ADDED):
            special = kinds[number] == _CONTROL
            made.add_tokens([AddedToken(word, normalized=False, special=special)])
    begins = _word(words, metadata, "bos") if _begins_with_bos(metadata) else ""
    if begins:
        made.post_processor = _prefix(begins, known[begins])
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token=_word(words, metadata, "bos") or None,
        eos_token=_word(words, metadata, "eos") or None,
        pad_token=_word(words, metadata, "padding") or _word(words, metadata, "eos") or None,
        chat_template=metadata.get("tokenizer.chat_template"),
        clean_up_tokenization_spaces=False,
    )


def _list(reader: Any, name: str) -> list[Any]:
    field = reader.fields.get(name)
    if field is None:
        raise InvalidModel(f"the model has no {name}")
    return list(field.contents())


def _splitter(kind: str) -> Any:
    from tokenizers import Regex, pre_tokenizers

    if kind == "smollm":
        parts = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    else:
        pattern = Regex(_PATTERN.format(_DIGITS[kind]))
        parts = [
            pre_tokenizers.Split(pattern, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    return pre_tokenizers.Sequence(parts)


def _begins_with_bos(metadata: dict[str, Any]) -> bool:
    wanted = metadata.get("tokenizer.ggml.add_bos_token")
    # Where the file says nothing, what llama.cpp does.
    return metadata.get("tokenizer.ggml.pre") == "llama-bpe" if wanted is None else bool(wanted)


def _word(words: list[str], metadata: dict[str, Any], name: str) -> str:
    number = metadata.get(f"tokenizer.ggml.{name}_token_id")
    return words[number] if isinstance(number, int) and 0 <= number < len(words) else ""


def _prefix(word: str, number: int) -> Any:
    from tokenizers import processors

    return processors.TemplateProcessing(
        single=f"{word} $A", pair=f"{word} $A $B", special_tokens=[(word, number)]
    )
