"""Vectors of OpenVINO are those of llama.cpp, of the same tokens."""

from __future__ import annotations

import math
import platform
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from pydoc_data.topics import topics

import pytest

from tests.machines.shapes import read_model
from tests.worker_client import WorkerClient, WorkerFailed, worker

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="OpenVINO is for x86-64"
)
NEAR = 0.999
WORDS = " ".join(topics.values()).split()
PASSAGES = [
    "passage: " + " ".join(WORDS[at * 200 : at * 200 + size])
    for at, size in enumerate([120, 5, 60, 120, 1, 250, 30, 118])
]
ODD = [
    "",
    " ",
    "\n\t",
    "a",
    "query:",
    "  two  spaces  between   ",
    "Città, perché? ñandú ÄÖÜ ŒUVRE",
    "你好,世界。日本語のテキスト",
    "ﬁne ligatures, ½, ①, ™, ﷺ",
    "combining: e\u0301 a\u0308 n\u0303",
    "zero\u200bwidth, soft\u00adhyphen, nbsp\u00a0here",
    "🦙🦙 and 👩‍👩‍👧‍👦 family",
    "</s> <s> <mask> <pad> <unk> in the text",
    "▁▁ marks ▁ themselves",
    "x" * 300,
    "naïve café — “quotes” … ‹angles›",
    "שלום עולם مرحبا بالعالم สวัสดี",
    "def f(x):\n    return x**2  # comment\n",
    "\u0000 and \u0007 controls",
    "\ud7ff\ufffd\ufeff edges",
]


@pytest.fixture(scope="module")
def both(
    e5_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[WorkerClient, WorkerClient]]:
    scratch = tmp_path_factory.mktemp("vectors")
    model = read_model(e5_path, scratch)
    with (
        worker("openvino", e5_path, model, scratch / "ov", num_ctx=512) as ours,
        worker("llama_cpp", e5_path, model, scratch / "ll", num_ctx=512) as theirs,
    ):
        yield ours, theirs


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def test_tokens_are_the_same(both) -> None:
    ours, theirs = both
    for text in [*ODD, *PASSAGES]:
        for special in (False, True):
            assert ours.tokenize(text, special) == theirs.tokenize(text, special), repr(text)


def test_random_texts_of_any_script_have_the_same_tokens(both) -> None:
    ours, theirs = both
    chance = random.Random(5)
    pool = "".join(map(chr, [*range(32, 0x250), *range(0x400, 0x460), *range(0x3040, 0x3100)]))
    pool += " " * 60 + "▁́̈①ﬁ中文字"
    for _ in range(60):
        text = "".join(chance.choices(pool, k=chance.randrange(1, 120)))
        assert ours.tokenize(text) == theirs.tokenize(text), repr(text)


def test_vectors_are_the_same(both) -> None:
    ours, theirs = both
    texts = [*PASSAGES, *ODD]
    here, there = ours.embed(*texts), theirs.embed(*texts)
    assert len(here.vectors) == len(texts)
    assert here.tokens == there.tokens
    for text, a, b in zip(texts, here.vectors, there.vectors, strict=True):
        assert cosine(a, b) >= NEAR, repr(text[:60])
        assert math.hypot(*a) == pytest.approx(math.hypot(*b), rel=0.02)


def test_any_order_of_texts_gives_the_same_vectors(both) -> None:
    ours, _ = both
    texts = [*PASSAGES, "a", "b c"] * 5
    order = list(range(len(texts)))
    random.Random(1).shuffle(order)
    plain = ours.embed(*texts).vectors
    mixed = ours.embed(*(texts[at] for at in order)).vectors
    for place, at in enumerate(order):
        assert cosine(mixed[place], plain[at]) > 0.9999


def test_a_text_alone_has_the_vector_it_has_in_company(both) -> None:
    ours, _ = both
    together = ours.embed(*PASSAGES).vectors
    for text, vector in zip(PASSAGES, together, strict=True):
        assert cosine(ours.embed(text).vectors[0], vector) > 0.9999


def test_long_texts_are_cut_as_llama_cpp_cuts_them(both) -> None:
    ours, theirs = both
    texts = ("short", "passage: " + " ".join(WORDS[:3000]), "parola " * 800, "x" * 5000)
    here, there = ours.embed(*texts), theirs.embed(*texts)
    assert here.cut == there.cut == (1, 2, 3)
    assert here.tokens == there.tokens
    for a, b in zip(here.vectors, there.vectors, strict=True):
        assert cosine(a, b) >= NEAR


def test_a_small_window_cuts_too_and_a_refusal_is_told(both) -> None:
    ours, theirs = both
    text = " ".join(WORDS[:60])
    here, there = ours.embed(text, window=20), theirs.embed(text, window=20)
    assert (here.cut, here.tokens) == (there.cut, there.tokens) == ((0,), 20)
    assert cosine(here.vectors[0], there.vectors[0]) >= NEAR
    with pytest.raises(WorkerFailed, match="exceeds the context"):
        ours.embed("fits", text, window=20, truncate=False)
    assert ours.embed("fits", window=20, truncate=False).cut == ()


def test_no_texts_give_no_vectors(both) -> None:
    ours, _ = both
    found = ours.embed()
    assert (found.vectors, found.tokens, found.cut) == ((), 0, ())


def test_the_texts_of_one_who_leaves_stop_for_the_others(both) -> None:
    from dimora.runtime import messages
    from dimora.tasks.base import TextsToEmbed

    ours, _ = both
    many = TextsToEmbed(texts=tuple(PASSAGES * 60), window=512)
    id_ = ours.new_id()
    ours.send(messages.Embed(id=id_, wanted=many))
    few = ours.embed("a quick one")
    ours.cancel(id_)
    assert len(few.vectors) == 1
    assert cosine(ours.embed("a quick one").vectors[0], few.vectors[0]) > 0.9999
