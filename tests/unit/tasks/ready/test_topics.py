"""Groups are named by their own words where a model has none."""

from __future__ import annotations

import asyncio

import pytest

from dimora.core.errors import BadRequest
from dimora.tasks.ready import topics
from dimora.tasks.ready.topics import telling_words
from tests.unit.tasks.ready.speaking import result_of

TEXTS = topics.EXAMPLE["texts"]


def test_telling_words_stand_in_the_group_more_than_elsewhere():
    assert telling_words(TEXTS, [0, 1, 2])[:1] == ("parcel",)
    assert "parcel" not in telling_words(TEXTS, [3, 4, 5])


def test_every_text_is_told_once():
    asked = topics.Topics(texts=tuple(TEXTS), names=tuple("abcdef"), groups=3)
    told = asyncio.run(result_of(topics, asked, lambda _: "Late parcels"))
    named = [name for topic in told["topics"] for name in topic["texts"]] + list(told["other"])
    assert sorted(named) == list("abcdef")
    assert all(topic["size"] == len(topic["texts"]) for topic in told["topics"])


def test_a_name_with_what_no_text_has_is_not_taken():
    asked = topics.Topics(texts=tuple(TEXTS), groups=1)
    told = asyncio.run(result_of(topics, asked, lambda _: "Deliveries of Amazon 2024"))
    (topic,) = told["topics"]
    assert topic["label"] == ", ".join(topic["words"][:3])


@pytest.mark.parametrize(
    "asked",
    [
        {"texts": ()},
        {"texts": ("a",)},
        {"texts": ("a", " ")},
        {"texts": ("a", "b"), "names": ("x",)},
        {"texts": ("a",) * 2001},
    ],
)
def test_what_cannot_be_put_in_order_is_refused(asked):
    with pytest.raises(BadRequest):
        asyncio.run(result_of(topics, topics.Topics(**asked), lambda _: "x"))
