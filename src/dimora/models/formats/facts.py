"""What a model file's header says about the model: family, size, abilities, special tokens.

Abilities by section 1.5 of the Ollama contract.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

import msgspec

from dimora.core.errors import InvalidModel
from dimora.models.formats.gguf import Header
from dimora.models.formats.gguf_types import FILE_TYPES
from dimora.prompts.template_language import is_jinja
from dimora.prompts.thinking import thinking_of
from dimora.tasks.base import EmbeddingHabits, ModelDetails

_TOKENS = "tokenizer.ggml.tokens"
# Architectures that only ever give vectors, for files that forgot to say how they pool.
_ENCODERS = frozenset(
    {
        "bert",
        "gemma-embedding",
        "jina-bert-v2",
        "jina-bert-v3",
        "modern-bert",
        "neo-bert",
        "nomic-bert",
        "nomic-bert-moe",
    }
)
# Tokens of prefix, suffix and middle, as families of models spell them.
_FIM_SPELLINGS = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
    ("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),
)
_FIM_KEYS = (
    ("fim_pre_token_id", "fim_suf_token_id", "fim_mid_token_id"),
    ("prefix_token_id", "suffix_token_id", "middle_token_id"),
)
# gpt-oss writes its calls into channels, which nothing in the house reads.
_CHANNEL = "<|channel|>"
# What no engine of the house takes in. A client that is told of it would offer to send it.
_NOT_SERVED = frozenset({"vision", "audio"})


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Small facts, cheap to keep. `capabilities` are those of the file alone."""

    details: ModelDetails
    capabilities: tuple[str, ...]
    bos_token: str = ""
    eos_token: str = ""
    fim: tuple[str, ...] = ()
    tensor_types: tuple[str, ...] = ()
    chat_template: str = ""
    license: str = ""
    embedding: EmbeddingHabits = EmbeddingHabits()


def facts_of(header: Header) -> Facts:
    """Everything that is derived from a header. Raises InvalidModel when it names no model."""
    architecture = header.architecture
    if not architecture:
        raise InvalidModel("GGUF: the file does not say which architecture its model has")
    template = _text(header, "tokenizer.chat_template")
    fim = _fim(header)
    return Facts(
        details=ModelDetails(
            format="gguf",
            family=architecture,
            families=(architecture,),
            parameter_size=count_words(sum(t.elements for t in header.tensors)),
            quantization_level=_quantization(header),
            context_length=_whole(header, f"{architecture}.context_length"),
            embedding_length=_whole(header, f"{architecture}.embedding_length"),
        ),
        capabilities=_capabilities(header, template, fim),
        bos_token=_token(header, "bos_token_id"),
        eos_token=_token(header, "eos_token_id"),
        fim=fim,
        tensor_types=_tensor_types(header),
        chat_template=template,
        license=_text(header, "general.license"),
        embedding=EmbeddingHabits(
            query_prefix=_text(header, "dimora.embedding.query_prefix"),
            passage_prefix=_text(header, "dimora.embedding.passage_prefix"),
            unicode_form=_text(header, "dimora.embedding.unicode_form"),
        ),
    )


def template_capabilities(template: str) -> set[str]:
    """What a template of a manifest adds, Go or Jinja."""
    found = set()
    if ".Tools" in template or (is_jinja(template) and "tools" in template):
        found.add("tools")
    if thinking_of(template) is not None:
        found.add("thinking")
    return found


def template_abilities(template: str) -> set[str]:
    """What the Jinja template that comes with a model's weights tells."""
    found = set()
    if ("tools" in template or "tool_call" in template) and _CHANNEL not in template:
        found.add("tools")
    if thinking_of(template) is not None:
        found.add("thinking")
    return found


def fim_of(tokens: Collection[str]) -> tuple[str, ...]:
    """The tokens of prefix, suffix and middle among these, empty when there are none."""
    for spelling in _FIM_SPELLINGS:
        if all(token in tokens for token in spelling):
            return spelling
    return ()


def in_order(capabilities: set[str]) -> tuple[str, ...]:
    """Capabilities that the house can serve, in the order people read them."""
    order = ("completion", "embedding", "tools", "insert", "vision", "thinking", "image", "audio")
    served = capabilities - _NOT_SERVED
    return (*(c for c in order if c in served), *sorted(served - set(order)))


def count_words(count: int) -> str:
    """A number of parameters as people write it: `134.52M`, `1.5B`."""
    for unit, size, digits in (("T", 10**12, 1), ("B", 10**9, 1), ("M", 10**6, 2), ("K", 10**3, 0)):
        if count >= size:
            return f"{count / size:.{digits}f}{unit}"
    return str(count)


def _capabilities(header: Header, template: str, fim: tuple[str, ...]) -> tuple[str, ...]:
    architecture = header.architecture
    pooled = f"{architecture}.pooling_type" in header.metadata or architecture in _ENCODERS
    found = {"embedding" if pooled else "completion"}
    for kind in ("vision", "audio"):
        if f"{architecture}.{kind}.block_count" in header.metadata:
            found.add(kind)
    if not pooled:
        found |= template_abilities(template)
        if fim:
            found.add("insert")
    return in_order(found)


def _quantization(header: Header) -> str:
    number = header.metadata.get("general.file_type")
    # Writers that guessed set bit 1024.
    if isinstance(number, int) and (number & ~1024) in FILE_TYPES and not number & 1024:
        return FILE_TYPES[number]
    weights: Counter[str] = Counter()
    for tensor in header.tensors:
        weights[tensor.type] += tensor.elements
    return weights.most_common(1)[0][0] if weights else ""


def _tensor_types(header: Header) -> tuple[str, ...]:
    return tuple(sorted({tensor.type for tensor in header.tensors}))


def _fim(header: Header) -> tuple[str, ...]:
    for keys in _FIM_KEYS:
        tokens = tuple(_token(header, key) for key in keys)
        if all(tokens):
            return tokens
    for spelling in _FIM_SPELLINGS:
        if all(header.texts.has(_TOKENS, token) for token in spelling):
            return spelling
    return ()


def _token(header: Header, key: str) -> str:
    number = header.metadata.get(f"tokenizer.ggml.{key}")
    if not isinstance(number, int):
        return ""
    short: Any = header.metadata.get(_TOKENS)
    if isinstance(short, list) and 0 <= number < len(short):
        return str(short[number])
    return header.texts.at(_TOKENS, number)


def _text(header: Header, key: str) -> str:
    value = header.metadata.get(key)
    return value if isinstance(value, str) else ""


def _whole(header: Header, key: str) -> int:
    value = header.metadata.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
