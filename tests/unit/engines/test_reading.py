"""From token ids to text that can be told."""

from __future__ import annotations

from dimora.engines._reading import Reading
from dimora.tasks.base import TopToken

END = 999


def decode(ids):
    return bytes(ids).decode("utf-8", "replace")


def told(text: bytes, *, stops=(), end="stop") -> tuple[list[str], Reading]:
    reading = Reading(decode, {END}, stops)
    pieces = []
    for byte in text:
        pieces += [token.text for token in reading.read(byte)]
        if reading.ended:
            return pieces, reading
    pieces += [token.text for token in reading.end(end)]
    return pieces, reading


def test_a_character_of_several_tokens_is_told_when_it_is_whole():
    pieces, reading = told("aè🦙".encode())
    assert [p for p in pieces if p] == ["a", "è", "🦙"]
    assert reading.count == 7


def test_what_never_becomes_whole_is_told_at_the_end():
    pieces, _ = told(b"a\xf0\x9f", end="length")
    assert "".join(pieces) == "a\ufffd"


def test_nothing_of_a_stop_string_is_told():
    pieces, reading = told(b"one END two", stops=["END"])
    assert "".join(pieces) == "one "
    assert reading.ended == "stop"
    pieces, reading = told(b"one EN", stops=["END"], end="length")
    assert ("".join(pieces), reading.ended) == ("one EN", "length")


def test_an_id_that_ends_the_answer_counts_and_is_no_text():
    reading = Reading(decode, {END}, ())
    assert list(reading.read(END)) == []
    assert reading.count == 1


def test_probabilities_go_with_their_token():
    reading = Reading(decode, {END}, ())
    top = (TopToken(65, "A", -0.5),)
    token = next(reading.read(65, -0.5, top))
    assert (token.id, token.text, token.logprob, token.top) == (65, "A", -0.5, top)
