"""The best cut of a word, special tokens, spaces, and strings written in another way."""

from __future__ import annotations

import pytest

from dimora.engines._unigram import CONTROL, NORMAL, UNKNOWN, Unigram, Vocabulary

PIECES = {
    "<s>": (0.0, CONTROL),
    "</s>": (0.0, CONTROL),
    "<unk>": (0.0, UNKNOWN),
    "▁": (-4.0, NORMAL),
    "a": (-3.0, NORMAL),
    "b": (-3.0, NORMAL),
    "▁a": (-2.0, NORMAL),
    "ab": (-4.0, NORMAL),
    "▁ab": (-6.5, NORMAL),
    "ba": (-2.5, NORMAL),
    "fi": (-1.0, NORMAL),
}
NAMES = list(PIECES)


def made(**changes: object) -> Unigram:
    facts = {
        "pieces": NAMES,
        "scores": [score for score, _ in PIECES.values()],
        "kinds": bytes(kind for _, kind in PIECES.values()),
        "unknown": 2,
        "first": 0,
        "last": 1,
        "adds_space": True,
        "merges_spaces": True,
        "replacements": {"ﬁ": "fi", "A": "a", "c\u0327": "b"},
    }
    return Unigram(Vocabulary(**(facts | changes)))


def cut(text: str, **changes: object) -> list[str]:
    return [NAMES[at] for at in made(**changes).encode(text, add_special=False)]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a", ["▁a"]),
        # -2 + -3 for the two, -6.5 for the one.
        ("ab", ["▁a", "b"]),
        # -4 + -2.5 - 3 against -2 -3 -3 and more.
        ("bab", ["▁", "ba", "b"]),
        ("a  a", ["▁a", "▁a"]),
        ("  a ", ["▁a"]),
        ("A", ["▁a"]),
        ("ﬁ", ["▁", "fi"]),
        ("ac\u0327", ["▁a", "b"]),
        ("", []),
        ("   ", []),
        # What no piece has is unknown, once for all that follow each other.
        ("xyz", ["▁", "<unk>"]),
        ("axa", ["▁a", "<unk>", "a"]),
        ("a</s>a", ["▁a", "</s>", "▁a"]),
        ("</s></s>", ["</s>", "</s>"]),
    ],
)
def test_a_text_is_cut_at_best(text: str, pieces: list[str]) -> None:
    assert cut(text) == pieces


def test_spaces_stay_where_the_model_keeps_them() -> None:
    assert cut(" a  b", merges_spaces=False) == ["▁", "▁a", "▁", "▁", "b"]


def test_every_text_is_framed() -> None:
    assert made().encode("a", add_special=True) == [0, NAMES.index("▁a"), 1]
    assert made().encode("", add_special=True) == [0, 1]
    assert made(first=-1).encode("", add_special=True) == [1]


def test_tokens_are_text_again() -> None:
    unigram = made()
    tokens = unigram.encode("a ab</s>b a", add_special=False)
    assert unigram.decode(tokens) == "a ab</s> b a"
    assert unigram.decode([-1, 10_000, NAMES.index("▁a")]) == "a"


def test_a_limit_ends_the_work_early_and_loses_nothing_before_it() -> None:
    unigram = made()
    whole = unigram.encode("ab " * 1000, add_special=False)
    some = unigram.encode("ab " * 1000, add_special=False, limit=50)
    assert 50 < len(some) < 60
    assert whole[: len(some)] == some


def test_what_was_seen_before_is_cut_the_same() -> None:
    unigram = made()
    words = "bab ab xyz aab " * 3
    assert unigram.encode(words, add_special=False) == 3 * unigram.encode(
        "bab ab xyz aab", add_special=False
    )
