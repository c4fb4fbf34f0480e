"""Documents are cut by their structure and a budget, and nothing of them is lost."""

from __future__ import annotations

import asyncio

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from dimora.documents.base import Block, Document
from dimora.knowledge.cutting import _CODE_SEAMS, _TEXT_SEAMS, cut
from dimora.tasks.knowing import Piece
from tests.unit.knowledge.making import count_words, document, heading, paragraph


async def cut_whole(made: Document, budget: int = 20) -> list[Piece]:
    return [piece async for piece in cut(made, count_words, budget)]


async def test_neighbours_under_one_heading_share_a_piece_while_they_fit():
    made = document(
        heading("Lease"),
        paragraph("one two three"),
        paragraph("four five"),
        heading("Rent", 2),
        paragraph("six seven"),
    )
    pieces = await cut_whole(made)
    assert [piece.text for piece in pieces] == ["one two three\n\nfour five", "six seven"]
    assert [piece.headings for piece in pieces] == [("Lease",), ("Lease", "Rent")]
    assert [piece.number for piece in pieces] == [0, 1]
    assert [piece.tokens for piece in pieces] == [await count_words(p.text) for p in pieces]


async def test_a_heading_of_the_same_level_takes_the_place_of_the_last_and_of_those_below():
    made = document(
        heading("One"),
        heading("Below", 3),
        paragraph("first"),
        heading("Two"),
        paragraph("second"),
    )
    assert [p.headings for p in await cut_whole(made)] == [("One", "Below"), ("Two",)]


async def test_a_heading_with_nothing_under_it_is_text():
    made = document(heading("Alone"), heading("Other"), paragraph("text"), heading("Last", 2))
    pieces = await cut_whole(made)
    assert [(p.headings, p.text) for p in pieces] == [
        ((), "Alone"),
        (("Other",), "text\n\nLast"),
    ]


async def test_a_long_paragraph_is_cut_between_sentences():
    sentences = [f"This is the sentence number {at}." for at in range(9)]
    pieces = await cut_whole(document(paragraph(" ".join(sentences))), budget=24)
    assert len(pieces) > 2
    for piece in pieces:
        assert piece.tokens <= 24
        assert piece.text.strip().startswith("This is")
        assert piece.text.strip().endswith(".")


async def test_a_long_sentence_is_cut_between_words_and_a_word_without_end_anywhere():
    words = " ".join(f"w{at}" for at in range(100))
    for text in (words, "x" * 1000):
        pieces = await cut_whole(document(paragraph(text)), budget=10)
        assert max(piece.tokens for piece in pieces) <= 10
        assert "".join("".join(p.text.split()) for p in pieces) == "".join(text.split())


async def test_each_part_of_a_table_has_the_heads_of_its_columns_and_whole_rows():
    rows = [f"| item {at} | {at} euro |" for at in range(20)]
    table = "\n".join(["| what | price |", "|---|---|", *rows])
    pieces = await cut_whole(document(Block(kind="table", text=table)), budget=40)
    assert len(pieces) > 2
    told: list[str] = []
    for piece in pieces:
        head, line, *body = piece.text.split("\n")
        assert (head, line) == ("| what | price |", "|---|---|")
        assert piece.tokens <= 40
        told += body
    assert told == rows


async def test_code_is_cut_between_functions_first():
    functions = [f"def f{at}():\n    a = {at}\n\n    return a" for at in range(6)]
    code = Block(kind="code", text="\n\n".join(functions), place="lines 1-30")
    pieces = await cut_whole(document(code), budget=24)
    assert len(pieces) > 1
    for piece in pieces:
        assert piece.text.lstrip("\n").startswith("def ")
        assert piece.text.count("def ") == piece.text.count("return")


async def test_small_functions_share_a_piece_which_tells_all_their_lines():
    made = document(
        Block(kind="code", text="def a(): pass", place="lines 1-1"),
        Block(kind="code", text="def b(): pass", place="lines 3-4"),
    )
    (piece,) = await cut_whole(made)
    assert piece.place == "lines 1-4"


async def test_a_piece_tells_its_pages_and_what_lies_elsewhere_is_another_piece():
    made = document(
        paragraph("end of a page", page=1),
        paragraph("begin of the next", page=2),
        paragraph("a cell", place="Sheet 2"),
    )
    pieces = await cut_whole(made)
    assert [(p.page, p.last_page, p.place) for p in pieces] == [(1, 2, ""), (0, 0, "Sheet 2")]


async def test_attachments_come_after_under_their_names():
    inner = document(paragraph("within"), name="list.csv")
    made = document(paragraph("mail"), attachments=(inner,))
    assert [(p.place, p.text) for p in await cut_whole(made)] == [
        ("", "mail"),
        ("list.csv", "within"),
    ]


async def test_the_tokenizer_is_asked_about_once_for_a_piece():
    asked: list[int] = []

    async def count(text: str) -> int:
        asked.append(len(text))
        return await count_words(text)

    blocks = [paragraph(f"some words of the paragraph {at} that goes on") for at in range(200)]
    pieces = [p async for p in cut(document(*blocks), count, 100)]
    assert len(asked) <= 1.3 * len(pieces) + 2
    # And pieces are filled.
    assert sum(p.tokens for p in pieces) / len(pieces) > 75


_TEXT = st.text(st.sampled_from("abcdefghij .,!?\n-|àñ5"), min_size=0, max_size=160)
_BLOCK = st.builds(
    Block,
    kind=st.sampled_from(["heading", "paragraph", "item", "code"]),
    text=_TEXT,
    level=st.integers(0, 4),
    page=st.integers(0, 3),
    place=st.sampled_from(["", "Sheet", "lines 3-9"]),
)


@given(st.lists(_BLOCK, max_size=12), st.integers(1, 60))
@settings(max_examples=150, deadline=None)
def test_no_word_is_lost_and_none_changes_its_place(blocks: list[Block], budget: int):
    # Two headings of one name, one after the other, would be one to a reader of pieces.
    blocks = [
        msgspec.structs.replace(
            block, text=f"{at}h{block.text}" if block.kind == "heading" else block.text
        )
        for at, block in enumerate(blocks)
    ]
    pieces = asyncio.run(cut_whole(document(*blocks), budget))
    told: list[str] = []
    path: tuple[str, ...] = ()
    for piece in pieces:
        same = 0
        while same < min(len(path), len(piece.headings)) and path[same] == piece.headings[same]:
            same += 1
        told += piece.headings[same:]
        told.append(piece.text)
        path = piece.headings
        assert piece.tokens <= budget or len(piece.text) == 1
    assert _letters("".join(told)) == _letters("".join(block.text for block in blocks))


def _letters(text: str) -> str:
    return "".join(text.split())


async def test_navigation_is_no_piece_unless_there_is_nothing_else():
    links = Block(kind="navigation", text="1. Rent 2. Pets")
    made = document(heading("Contents"), links, heading("Rent"), paragraph("one two"))
    assert [p.text for p in await cut_whole(made)] == ["one two"]
    assert [p.text for p in await cut_whole(document(heading("Contents"), links))] == [links.text]


def test_many_empty_lines_are_read_once() -> None:
    # Reading them again from each of them would take hours.
    text = "a" + "\n" * 200_000 + " x\n\ny"
    assert _CODE_SEAMS[0].ends(text) == [len(text) - 1]
    assert all(seam.ends(text) for seam in (*_CODE_SEAMS[1:], _TEXT_SEAMS[0]))
