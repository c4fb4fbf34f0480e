"""Adapters: what a PEFT folder says of itself, and whether an adapter fits its base model."""

from __future__ import annotations

from typing import Any

from dimora.core.errors import InvalidModel, UnsupportedFeature
from dimora.models.formats.gguf import Header

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_LARGEST_RANK = 1 << 14
_EMBEDDINGS = "token_embd.weight"
# What an adapter may be that no pair of matrices for each layer can say, by its key.
_BEYOND = {
    "use_dora": "it is a DoRA adapter",
    "alora_invocation_tokens": "it waits for a word to begin (aLoRA)",
    "alpha_pattern": "its layers have different scales (alpha_pattern)",
    "fan_in_fan_out": "its matrices lie on their side (fan_in_fan_out)",
    "layer_replication": "it has layers more than once (layer_replication)",
    "lora_bias": "it brings biases",
    "modules_to_save": "it brings whole layers of its own (modules_to_save)",
    "rank_pattern": "its layers have different ranks (rank_pattern)",
    "trainable_token_indices": "it brings tokens of its own",
}


def plain_config(config: dict[str, Any]) -> dict[str, Any]:
    """The config as the converter understands it: a scale of another rule is put into alpha.

    Raises UnsupportedFeature for adapters that a GGUF cannot hold, naming what it is.
    """
    kind = config.get("peft_type")
    if kind != "LORA":
        raise _unsupported(f"its kind is {str(kind)[:40]!r}, only LORA can be converted")
    for key, value in config.items():
        if value and (key in _BEYOND or (key.startswith("use_") and key != "use_rslora")):
            raise _unsupported(_BEYOND.get(key, f"it is of a kind of its own ({key})"))
    if config.get("bias") not in ("none", None):
        raise _unsupported("it brings biases")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or not 0 < rank <= _LARGEST_RANK:
        raise InvalidModel(f"{CONFIG} has no rank between 1 and {_LARGEST_RANK}")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float):
        raise InvalidModel(f"{CONFIG} has no lora_alpha")
    if config.get("use_rslora"):
        # Its scale is alpha over the root of the rank; a GGUF's is alpha over the rank.
        alpha = alpha * rank**0.5
    return {"peft_type": kind, "r": rank, "lora_alpha": alpha}


def _unsupported(why: str) -> UnsupportedFeature:
    return UnsupportedFeature(
        f"this adapter cannot be converted: {why}",
        hint="merge it into its model, and create from that",
        code="adapter_unsupported",
    )


def require_fit(adapter: Header, base: Header) -> None:
    """Raises InvalidModel when a GGUF adapter is none, or is not for this base model."""
    kind = adapter.metadata.get("general.type"), adapter.metadata.get("adapter.type")
    if kind != ("adapter", "lora"):
        raise InvalidModel("the file is not a LoRA adapter")
    if adapter.architecture != base.architecture:
        raise InvalidModel(
            f"the adapter is for {adapter.architecture!r} models, the base is "
            f"{base.architecture!r}",
            hint="create from the model the adapter was trained on",
        )
    shapes = {tensor.name: tensor.shape for tensor in base.tensors}
    pairs = _pairs(adapter)
    if not pairs:
        raise InvalidModel("the adapter changes nothing: it has no matrices")
    for name, (first, second) in pairs.items():
        if name not in shapes:
            raise _misfit(name, "which the base model has not")
        wanted = shapes[name]
        # Of the word embeddings the first matrix lies on its side.
        width = first[1] if name == _EMBEDDINGS else first[0]
        rank = first[0] if name == _EMBEDDINGS else first[1]
        if (width, second[1]) != wanted[:2] or rank != second[0]:
            raise _misfit(name, f"which is {_size(wanted)} there and {width}x{second[1]} here")


def _pairs(adapter: Header) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Shapes of both matrices by the name of the tensor they change."""
    halves: dict[str, dict[str, tuple[int, ...]]] = {}
    for tensor in adapter.tensors:
        name, _, half = tensor.name.rpartition(".")
        if half in ("lora_a", "lora_b") and len(tensor.shape) >= 2:
            halves.setdefault(name, {})[half] = tensor.shape
        elif not tensor.name.endswith("_norm.weight"):
            raise InvalidModel(f"the adapter has a tensor {tensor.name[:80]!r} of no known use")
    for name, found in halves.items():
        if len(found) < 2:
            raise InvalidModel(f"the adapter has only half of the change to {name[:80]!r}")
    return {name: (found["lora_a"], found["lora_b"]) for name, found in halves.items()}


def _misfit(name: str, why: str) -> InvalidModel:
    return InvalidModel(
        f"the adapter does not fit the base model: it changes {name[:80]!r}, {why}",
        hint="create from the model the adapter was trained on",
    )


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
