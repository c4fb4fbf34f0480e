from __future__ import annotations

import msgspec
import pytest

from dimora.tasks.card import Bounds, Card, Measured

BEFORE = Measured(name="m", format="gguf", quantization="F16", size_bytes=200, perplexity=40.0)
AFTER = Measured(name="n", format="gguf", quantization="Q4_0", size_bytes=80, perplexity=43.0)
CARD = Card(before=BEFORE, after=AFTER, text="a text", positions=100, top_agreement=0.85)


def worse(**changes: float) -> Card:
    after = msgspec.structs.replace(AFTER, perplexity=changes.pop("perplexity", 43.0))
    return msgspec.structs.replace(CARD, after=after, **changes)


def test_a_result_within_the_bounds_has_no_complaints():
    assert CARD.complaints(Bounds()) == []


@pytest.mark.parametrize(
    ("card", "word"),
    [(worse(perplexity=44.1), "perplexity"), (worse(top_agreement=0.79), "likeliest")],
)
def test_what_is_worse_than_a_bound_is_said(card, word):
    (complaint,) = card.complaints(Bounds())
    assert word in complaint


def test_what_was_not_measured_is_no_complaint():
    bare = msgspec.structs.replace(
        CARD, after=msgspec.structs.replace(AFTER, perplexity=None), top_agreement=None
    )
    assert bare.complaints(Bounds(perplexity_rise=0, top_agreement=1)) == []


def test_a_card_survives_its_layer():
    assert msgspec.json.decode(msgspec.json.encode(CARD), type=Card) == CARD
