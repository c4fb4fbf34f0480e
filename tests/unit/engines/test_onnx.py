"""The parts of the ONNX engine that need no model."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from dimora.engines.onnx import _config, _Seat, _Seats, in_pieces
from dimora.tasks.options import LoadOptions
from tests.unit.models.making_folders import genai_config


@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 66, 128, 129, 200])
def test_a_prompt_is_read_in_pieces_none_of_which_is_a_single_token(count):
    tokens = list(range(count))
    pieces = list(in_pieces(tokens))
    assert [token for piece in pieces for token in piece] == tokens
    assert all(2 <= len(piece) <= 65 for piece in pieces) or count == 1


def test_what_a_model_says_about_sessions_is_not_heard():
    hostile = {"enable_profiling": "/tmp/x", "custom_ops_library": "evil.so"}
    own = genai_config(session_options=hostile, run_options=hostile)
    config = _config(own | {"engine": {"x": 1}}, LoadOptions(num_ctx=64, num_thread=3))
    session = config["model"]["decoder"]["session_options"]
    assert session["intra_op_num_threads"] == 3
    assert not hostile.keys() & session.keys()
    assert "run_options" not in config["model"]["decoder"]
    assert config["search"] == {"max_length": 64, "past_present_share_buffer": True}
    assert config.keys() == {"model", "search"}


class Generator:
    def __init__(self, model: Any, params: Any) -> None: ...

    def rewind_to(self, length: int) -> None: ...


@pytest.fixture
def seats(monkeypatch):
    params = SimpleNamespace(set_search_options=lambda **options: None)
    library = SimpleNamespace(GeneratorParams=lambda model: params, Generator=Generator)
    monkeypatch.setitem(sys.modules, "onnxruntime_genai", library)
    return _Seats(None, 64, 2)


def ask(seats: _Seats, scope: str, tokens: list[int]) -> _Seat:
    seat = seats.take(scope, tokens)
    seat.read = list(tokens)
    seats.give_back(seat)
    return seat


ONE, OTHER = [1, *range(10, 30)], [1, *range(40, 60)]


def test_two_conversations_of_one_scope_have_their_own_seats(seats):
    one, other = ask(seats, "a", ONE), ask(seats, "a", OTHER)
    assert other is not one
    assert ask(seats, "a", [*ONE, 5]) is one
    assert ask(seats, "a", [*OTHER, 5]) is other


def test_where_there_are_enough_the_oldest_is_taken_and_forgets_another_scope(seats):
    one, other = ask(seats, "a", ONE), ask(seats, "a", OTHER)
    again = seats.take("b", ONE)
    assert again is one
    assert again.read == []
    seats.give_back(again)
    assert ask(seats, "a", [*OTHER, 5]) is other


def test_no_more_are_made_than_may_be_also_while_some_are_taken(seats):
    taken, free = seats.take("a", ONE), ask(seats, "a", OTHER)
    assert seats.take("a", [7]) is free
    seats.give_back(taken)
    seats.give_back(free)
    assert {id(seats.take("a", [7])) for _ in range(2)} == {id(taken), id(free)}


def test_one_that_is_of_no_use_any_more_makes_room_for_another(seats):
    first, second = ask(seats, "a", ONE), ask(seats, "a", OTHER)
    assert seats.take("a", ONE) is first
    seats.give_back(None)
    assert ask(seats, "a", [7]) is not second
