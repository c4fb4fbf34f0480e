"""What the small files of a model's folder say: config, tokenizer and chat template."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from dimora.core.errors import InvalidModel
from dimora.core.json_text import BAD_JSON
from dimora.storage.disk import open_plain

# What is made of JSON takes twenty times its bytes and more, if somebody wants that.
_JSON_LIMIT_BYTES = 2 << 20
_TOKENIZER_LIMIT_BYTES = 16 << 20
_VOCABULARY_LIMIT_BYTES = 128 << 20
_ADDED_LIMIT_BYTES = 8 << 20
_TEMPLATE_LIMIT_BYTES = 1 << 20
_LARGEST = 1 << 40
# Models in models: where the config of the part that writes lies in that of the whole.
_INNER = ("text_config", "llm_config", "language_config")
# Our word in the manner of GGUF: where a config.json and a genai_config.json say it.
_NUMBERS = {
    "context_length": ("max_position_embeddings", "n_positions", "context_length"),
    "embedding_length": ("hidden_size", "n_embd", "d_model"),
    "block_count": ("num_hidden_layers", "n_layer"),
    "feed_forward_length": ("intermediate_size", "n_inner"),
    "attention.head_count": ("num_attention_heads", "n_head"),
    "attention.head_count_kv": ("num_key_value_heads",),
    "attention.key_length": ("head_dim", "head_size"),
    "attention.value_length": ("head_dim", "head_size"),
    "attention.sliding_window": ("sliding_window",),
    "vocab_size": ("vocab_size",),
}


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """`metadata` is in the words of GGUF; `added_tokens` are those beyond the vocabulary."""

    architecture: str = ""
    context_length: int = 0
    embedding_length: int = 0
    chat_template: str = ""
    bos_token: str = ""
    eos_token: str = ""
    added_tokens: frozenset[str] = frozenset()
    metadata: dict[str, Any] = {}


class _Special(msgspec.Struct):
    """Of a file with special tokens and all that is known of each: only what is read here, and
    undecoded, since it may be large."""

    chat_template: msgspec.Raw = msgspec.Raw(b"null")
    bos_token: msgspec.Raw = msgspec.Raw(b"null")
    eos_token: msgspec.Raw = msgspec.Raw(b"null")


class _Added(msgspec.Struct, gc=False):
    content: str = ""


class _Tokenizer(msgspec.Struct):
    added_tokens: msgspec.Raw = msgspec.Raw(b"[]")


def read_words(files: Mapping[str, Path], format_: str) -> Words:
    """Raises InvalidModel for a file that is no JSON or too large, OSError."""
    config = read_object(files, "config.json")
    genai = read_object(files, "genai_config.json") if format_ == "onnx" else {}
    told = _told(config) | _told(_part(genai, "model")) | _told(_decoder(genai))
    architecture = str(_part(genai, "model").get("type") or config.get("model_type") or "")
    tokenizer = _special(files, "tokenizer_config.json")
    special = _special(files, "special_tokens_map.json")
    metadata: dict[str, Any] = {}
    if architecture:
        metadata = {f"{architecture}.{word}": number for word, number in told.items()}
        metadata["general.architecture"] = architecture
    return Words(
        architecture=architecture,
        context_length=told.get("context_length", 0),
        embedding_length=told.get("embedding_length", 0),
        chat_template=_chat_template(files, tokenizer),
        bos_token=_token(tokenizer, special, "bos_token"),
        eos_token=_token(tokenizer, special, "eos_token"),
        added_tokens=_added_tokens(files),
        metadata=metadata,
    )


def read_object(files: Mapping[str, Path], name: str) -> dict[str, Any]:
    """A JSON object among the files, empty without one. Raises InvalidModel, OSError."""
    if name not in files:
        return {}
    data = _bytes(files[name], name, _JSON_LIMIT_BYTES)
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except BAD_JSON:
        raise InvalidModel(f"{name} is not a JSON object") from None


def _special(files: Mapping[str, Path], name: str) -> dict[str, Any]:
    """The special tokens and the template of a file, empty without one."""
    if name not in files:
        return {}
    data = _bytes(files[name], name, _TOKENIZER_LIMIT_BYTES)
    try:
        told = msgspec.structs.asdict(msgspec.json.decode(data, type=_Special))
        if sum(len(bytes(raw)) for raw in told.values()) > _JSON_LIMIT_BYTES:
            raise InvalidModel(f"{name} has too large a template, or special tokens")
        return {key: msgspec.json.decode(raw) for key, raw in told.items()}
    except BAD_JSON:
        raise InvalidModel(f"{name} is not a JSON object") from None


def _bytes(path: Path, name: str, limit_bytes: int) -> bytes:
    with open_plain(path) as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise InvalidModel(f"{name} has more than {limit_bytes} bytes")
    return data


def _told(config: dict[str, Any]) -> dict[str, int]:
    inner = next((part for key in _INNER if (part := _part(config, key))), {})
    found: dict[str, int] = {}
    for word, keys in _NUMBERS.items():
        for part in (inner, config):
            number = next((part[key] for key in keys if _is_whole(part.get(key))), None)
            if number is not None:
                found.setdefault(word, number)
    return found


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < _LARGEST


def _part(config: dict[str, Any], key: str) -> dict[str, Any]:
    value = config.get(key)
    return value if isinstance(value, dict) else {}


def _decoder(genai: dict[str, Any]) -> dict[str, Any]:
    return _part(_part(genai, "model"), "decoder")


def _chat_template(files: Mapping[str, Path], tokenizer: dict[str, Any]) -> str:
    if "chat_template.jinja" in files:
        data = _bytes(files["chat_template.jinja"], "chat_template.jinja", _TEMPLATE_LIMIT_BYTES)
        return data.decode("utf-8", "replace")
    template = tokenizer.get("chat_template")
    if isinstance(template, list):
        named = {t.get("name"): t.get("template") for t in template if isinstance(t, dict)}
        template = named.get("default")
    return template if isinstance(template, str) else ""


def _token(tokenizer: dict[str, Any], special: dict[str, Any], key: str) -> str:
    for words in (tokenizer, special):
        token = words.get(key)
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str):
            return token
    return ""


def _added_tokens(files: Mapping[str, Path]) -> frozenset[str]:
    if "tokenizer.json" not in files:
        return frozenset()
    data = _bytes(files["tokenizer.json"], "tokenizer.json", _VOCABULARY_LIMIT_BYTES)
    try:
        raw = bytes(msgspec.json.decode(data, type=_Tokenizer).added_tokens)
        if len(raw) > _ADDED_LIMIT_BYTES:
            raise InvalidModel(
                f"tokenizer.json adds more than {_ADDED_LIMIT_BYTES} bytes of tokens"
            )
        added = msgspec.json.decode(raw, type=list[_Added])
    except BAD_JSON:
        raise InvalidModel("tokenizer.json is not the tokenizer of a model") from None
    return frozenset(token.content for token in added)
