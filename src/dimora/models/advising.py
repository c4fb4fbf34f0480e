"""What the catalogue has to say of models: for people who choose, and for planning with them."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from typing import TYPE_CHECKING

from dimora.models.catalogue import Entry
from dimora.models.formats.facts import count_words
from dimora.models.names import parse_name, require_name, without_scheme
from dimora.tasks.advice import Advice, Shape, Terms, size_class
from dimora.tasks.base import Model, ModelDetails, ModelSummary

if TYPE_CHECKING:
    from dimora.models.store import ModelStore


def advice_of(store: ModelStore) -> list[Advice]:
    """Every entry in the order of the catalogue; memory and fit are not known here."""
    here = {name.folded for name in store.manifests.names()}
    return [_advice(entry, here) for entry in store.catalogue.all()]


def _advice(entry: Entry, here: Container[tuple[str, ...]]) -> Advice:
    return Advice(
        name=entry.name,
        aliases=entry.aliases,
        description=entry.description,
        type=entry.type,
        size=size_class(entry.parameters),
        parameters=entry.parameters,
        active_parameters=entry.active_parameters or entry.parameters,
        quantization=entry.quantization,
        size_bytes=entry.size_bytes,
        rounded=entry.rounded,
        context_length=entry.context_length,
        capabilities=entry.capabilities,
        languages=entry.languages,
        license=entry.license,
        license_url=entry.license_url,
        notice=entry.notice,
        is_open=entry.is_open,
        accepted=entry.is_open,
        source=entry.place.words,
        memory_bytes=0,
        fits=False,
        here=any(_folded(name) in here for name in (entry.name, *entry.aliases)),
    )


def _folded(name: str) -> tuple[str, ...]:
    return require_name(name, "name").folded


def terms_of(store: ModelStore, text: str) -> Terms | None:
    """The licence of the model of this name, or of its whole family; None where it is unknown.

    The name is as for a pull, since a licence is asked for before one.
    """
    name = parse_name(without_scheme(text))
    entry = store.catalogue.terms_of(name) if name is not None else None
    if entry is None:
        return None
    return Terms(
        license=entry.license,
        license_url=entry.license_url,
        notice=entry.notice,
        is_open=entry.is_open,
        accepted=entry.is_open,
    )


def advised_model(store: ModelStore, text: str) -> Model | None:
    """The model of an entry whose shape is known, as its file would describe it."""
    name = parse_name(text)
    entry = store.catalogue.find(name) if name is not None else None
    if entry is None or entry.shape is None:
        return None
    tensors = tuple(_tensors(entry.shape, _weights_type(entry.quantization)))
    counts = [math.prod(shape) for _, _, shape in tensors]
    whole = sum(counts) or 1
    return Model(
        summary=ModelSummary(
            name=entry.name,
            digest="",
            size_bytes=entry.size_bytes,
            modified_at=0.0,
            details=ModelDetails(
                family=entry.shape.architecture,
                parameter_size=count_words(entry.parameters),
                quantization_level=entry.quantization,
                context_length=entry.context_length,
                embedding_length=entry.shape.width,
            ),
            capabilities=entry.capabilities,
        ),
        weights_digest=f"catalogue:{entry.name}",
        architecture=entry.shape.architecture,
        metadata=_metadata(entry.shape),
        tensors=tensors,
        tensor_bytes=tuple(round(entry.size_bytes * count / whole) for count in counts),
        tensor_types=(_weights_type(entry.quantization),),
    )


def _weights_type(quantization: str) -> str:
    """The format most of a file's weights have: `Q4_K` in a `Q4_K_M`."""
    return quantization.removesuffix("_M").removesuffix("_S")


def _metadata(shape: Shape) -> dict[str, object]:
    name = shape.architecture
    facts = {
        "block_count": shape.blocks,
        "embedding_length": shape.width,
        "attention.head_count": shape.heads,
        "attention.head_count_kv": shape.kv_heads,
        "attention.key_length": shape.head_width,
        "attention.value_length": shape.head_width,
        "attention.sliding_window": shape.window,
        "feed_forward_length": shape.feed_forward,
        "expert_count": shape.experts,
        "expert_used_count": shape.experts_used,
        "expert_feed_forward_length": shape.expert_feed_forward,
    }
    words = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": shape.splits_words_like}
    named: dict[str, object] = {f"{name}.{key}": value for key, value in facts.items() if value}
    return named | (words if shape.splits_words_like else {})


def _tensors(shape: Shape, kind: str) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    yield "token_embd.weight", kind, (shape.width, shape.vocabulary)
    if not shape.tied:
        yield "output.weight", kind, (shape.width, shape.vocabulary)
    queries, keys = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    rows: list[tuple[str, tuple[int, ...]]] = [
        ("attn_q", (shape.width, queries)),
        ("attn_k", (shape.width, keys)),
        ("attn_v", (shape.width, keys)),
        ("attn_output", (queries, shape.width)),
    ]
    if shape.experts:
        experts = (shape.width, shape.expert_feed_forward, shape.experts)
        rows += [(f"ffn_{part}_exps", experts) for part in ("gate", "up", "down")]
    else:
        # A block of a plain encoder has two matrices here, all others have a gate as well.
        parts = ("up", "down") if shape.architecture == "bert" else ("gate", "up", "down")
        rows += [(f"ffn_{part}", (shape.width, shape.feed_forward)) for part in parts]
    for block in range(shape.blocks):
        for part, lengths in rows:
            yield f"blk.{block}.{part}.weight", kind, lengths
