"""An answer names passages that there are, and no others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dimora.tasks.citing import CitedText
from dimora.tasks.knowing import Passage, Piece

TEXTS = ("The rent is 850 euros.", "Cats are welcome.", "The boiler needs 1,2 bar.")


def passages() -> list[Passage]:
    return [
        Passage(
            collection="c",
            document=f"{at}.md",
            document_id=str(at),
            piece=Piece(number=0, text=text),
        )
        for at, text in enumerate(TEXTS)
    ]


def cut(text: str, size: int) -> Iterator[str]:
    return (text[at : at + size] for at in range(0, len(text), size))


def told(text: str, size: int = 1) -> tuple[str, list[int]]:
    cited = CitedText(passages())
    said = "".join(cited.feed(piece) for piece in cut(text, size)) + cited.finish()
    return said, [each.number for each in cited.citations()]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_numbers_that_exist_stay_and_others_go_however_the_text_is_cut(size: int) -> None:
    text = "It is 850 euros [1]. Cats may come [2][9]. Dogs [7] may not [1, 3, 12]."
    assert told(text, size) == (
        "It is 850 euros [1]. Cats may come [2]. Dogs may not [1][3].",
        [1, 2, 3],
    )


@pytest.mark.parametrize("size", [1, 4, 100])
def test_other_brackets_are_left_as_they_are(size: int) -> None:
    text = "A list[int], a [note], an array[0 ] and an end ["
    assert told(text, size)[0] == text


def test_where_none_is_named_those_that_say_the_same_are_cited() -> None:
    assert told("The rent is 850 euros, each month.")[1] == [1]
    assert told("Yes, cats are welcome here.")[1] == [2]


def test_an_answer_that_shares_no_word_cites_the_best_passage() -> None:
    assert told("Ja.")[1] == [1]


def test_without_passages_nothing_is_cited() -> None:
    assert CitedText(()).citations() == []


@pytest.mark.parametrize("size", [1, 5, 100])
def test_a_number_that_is_wrong_beyond_doubt_is_set_right(size: int) -> None:
    text = "The rent is 850 euros. [3] Cats are welcome [2, 3]. The boiler is new [1]."
    # Two words of one passage are enough to know better, one is not.
    assert told(text, size) == (
        "The rent is 850 euros. [1] Cats are welcome [2]. The boiler is new [1].",
        [1, 2],
    )


def test_a_sentence_in_other_words_keeps_its_number() -> None:
    assert told("L'affitto costa 850 al mese [1]. I gatti vanno bene [2].")[1] == [1, 2]


@pytest.mark.parametrize("size", [1, 6, 100])
def test_what_is_an_index_in_code_stays(size: int) -> None:
    text = "Use items[0] and rows[12] (f(x)[7]), as it says[1].\n```\na[1] = b [2]\n```\nCats [2]."
    assert told(text, size) == (text, [1, 2])
