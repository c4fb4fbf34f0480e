from __future__ import annotations

from dimora.runtime.estimate import estimate_bytes, kv_bytes_per_token
from dimora.tasks.base import Model, ModelDetails, ModelSummary
from dimora.tasks.options import LoadOptions


def model(**metadata) -> Model:
    summary = ModelSummary(
        name="m", digest="", size_bytes=1000, modified_at=0.0, details=ModelDetails()
    )
    named = {f"llama.{k.replace('__', '.')}": v for k, v in metadata.items()}
    return Model(summary=summary, weights_digest="w", architecture="llama", metadata=named)


SMOLLM2 = {
    "block_count": 30,
    "embedding_length": 576,
    "attention__head_count": 9,
    "attention__head_count_kv": 3,
}


def test_the_cache_of_a_grouped_query_model():
    """30 layers, 3 key-value heads of 64, two vectors of 16-bit numbers."""
    assert kv_bytes_per_token(model(**SMOLLM2)) == 30 * 3 * (64 + 64) * 2


def test_a_model_without_grouping_has_as_many_key_value_heads_as_heads():
    facts = {k: v for k, v in SMOLLM2.items() if k != "attention__head_count_kv"}
    assert kv_bytes_per_token(model(**facts)) == 30 * 9 * 128 * 2


def test_own_lengths_of_keys_and_values_are_used():
    facts = SMOLLM2 | {"attention__key_length": 128, "attention__value_length": 32}
    assert kv_bytes_per_token(model(**facts)) == 30 * 3 * 160 * 2


def test_a_list_with_one_number_per_layer_counts_with_its_largest():
    facts = SMOLLM2 | {"attention__head_count_kv": [3, 1, 3]}
    assert kv_bytes_per_token(model(**facts)) == 30 * 3 * 128 * 2


def test_a_file_that_says_nothing_costs_only_its_size_and_the_process():
    one = estimate_bytes(model(), LoadOptions(num_ctx=4096))
    assert one == estimate_bytes(model(), LoadOptions(num_ctx=8192))
    assert one > 1000


def test_window_and_parallel_answers_both_count():
    small = estimate_bytes(model(**SMOLLM2), LoadOptions(num_ctx=1024, parallel=1))
    wide = estimate_bytes(model(**SMOLLM2), LoadOptions(num_ctx=2048, parallel=1))
    many = estimate_bytes(model(**SMOLLM2), LoadOptions(num_ctx=1024, parallel=2))
    assert wide == many > small
