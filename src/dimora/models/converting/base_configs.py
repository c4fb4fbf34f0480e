"""The config.json of a model that is here as a GGUF alone, as far as adapters need it.

A converter for adapters lays their matrices out as those of the base model, and asks its config how
many heads and how wide. The names of families are those of the transformers library.
"""

from __future__ import annotations

from typing import Any

from dimora.core.errors import UnsupportedFeature
from dimora.models.formats.gguf import Header

# Families whose converters ask for no more than the numbers below.
_FAMILIES: dict[str, tuple[str, str]] = {
    "cohere2": ("Cohere2ForCausalLM", "cohere2"),
    "command-r": ("CohereForCausalLM", "cohere"),
    "gemma": ("GemmaForCausalLM", "gemma"),
    "gemma2": ("Gemma2ForCausalLM", "gemma2"),
    "gemma3": ("Gemma3ForCausalLM", "gemma3_text"),
    "granite": ("GraniteForCausalLM", "granite"),
    "llama": ("LlamaForCausalLM", "llama"),
    "olmo2": ("Olmo2ForCausalLM", "olmo2"),
    "phi3": ("Phi3ForCausalLM", "phi3"),
    "qwen2": ("Qwen2ForCausalLM", "qwen2"),
    "qwen3": ("Qwen3ForCausalLM", "qwen3"),
    "smollm3": ("SmolLM3ForCausalLM", "smollm3"),
    "stablelm": ("StableLmForCausalLM", "stablelm"),
    "starcoder2": ("Starcoder2ForCausalLM", "starcoder2"),
}
_NUMBERS: dict[str, str] = {
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "context_length": "max_position_embeddings",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.freq_base": "rope_theta",
}
_TOKENS = "tokenizer.ggml.tokens"


def base_config(header: Header) -> dict[str, Any]:
    """What config.json would say. Raises UnsupportedFeature for families it is not known of."""
    architecture = header.architecture
    if architecture not in _FAMILIES:
        raise UnsupportedFeature(
            f"adapters for {architecture!r} models cannot be converted here",
            hint="give the adapter as a GGUF; converted are those for " + ", ".join(_FAMILIES),
        )
    name, model_type = _FAMILIES[architecture]
    config: dict[str, Any] = {"architectures": [name], "model_type": model_type}
    for key, word in _NUMBERS.items():
        value = header.metadata.get(f"{architecture}.{key}")
        if isinstance(value, int | float):
            config[word] = value
    config["vocab_size"] = header.lengths.get(_TOKENS) or header.metadata.get(
        f"{architecture}.vocab_size", 0
    )
    config["tie_word_embeddings"] = all(t.name != "output.weight" for t in header.tensors)
    return config
