"""Conversations are brought into plainer forms without losing a word."""

from __future__ import annotations

from dimora.core.types import Message, Text, ToolCall, ToolResult
from dimora.prompts.thinking import Thinking, thinking_of
from dimora.prompts.turns import (
    alternate,
    as_variables,
    cut_thought,
    fold_system,
    forget_thoughts,
    join_turns,
)
from tests.unit.prompts.templates import DEEPSEEK_R1, answer, assistant, call, system, user

THINK = Thinking("<think>", "</think>")


def test_answers_of_tools_stay_apart():
    turns = [call(), answer("1"), answer("2")]
    assert join_turns(turns) == turns


def test_no_gap_is_made_where_one_of_two_turns_has_no_words():
    joined = join_turns([assistant("Let me see."), call()])
    assert [m.text for m in joined] == ["Let me see."]


def test_a_thought_is_cut_with_the_space_after_it():
    assert cut_thought("<think>\na\n</think>\n\nb", THINK) == "b"
    assert cut_thought("a</think>b", THINK) == "b"
    assert cut_thought("before <think>a</think> b", THINK) == "before b"
    assert cut_thought("use <think> so", THINK) == "use <think> so"


def test_a_model_that_does_not_think_keeps_its_tags():
    turns = [user("1"), assistant("<think>a</think>b", thought="x"), user("2")]
    kept = forget_thoughts(turns, None)
    assert kept[1] == assistant("<think>a</think>b")


def test_thoughts_after_the_last_user_turn_stay():
    turns = [user("1"), assistant("a", thought="x")]
    assert forget_thoughts(turns, THINK) == turns


def test_a_system_text_in_the_middle_goes_to_the_next_user():
    turns = [user("1"), assistant("a"), system("s"), user("2")]
    assert [m.text for m in fold_system(turns)] == ["1", "a", "s\n\n2"]
    assert fold_system([system("s")]) == [user("s")]
    folded = fold_system([system("s"), assistant("a"), user("u")])
    assert [(m.role, m.text) for m in folded] == [("assistant", "a"), ("user", "s\n\nu")]


def test_alternating_turns_begin_with_the_user_and_alternate():
    turns = [system("s"), user("u"), call(), answer("r"), assistant("a"), user("v")]
    roles = [m.role for m in alternate(turns)]
    assert roles == ["user", "assistant"] * 2 + ["user"]


def test_answers_find_the_name_of_their_call():
    first, second = as_variables([call(city="Oslo"), answer("Yes")])
    assert first["tool_calls"][0]["function"] == {
        "name": "get_weather",
        "arguments": {"city": "Oslo"},
    }
    assert second == {
        "role": "tool",
        "content": "Yes",
        "name": "get_weather",
        "tool_call_id": "call_abcdefgh",
    }


def test_short_ids_are_the_same_for_call_and_answer():
    first, second = as_variables([call(), answer("Yes")], short_ids=True)
    assert first["tool_calls"][0]["id"] == second["tool_call_id"]
    assert len(second["tool_call_id"]) == 9
    kept = as_variables([Message("tool", (ToolResult("x", call_id="abcdefgh9"),))], short_ids=True)
    assert kept[0]["tool_call_id"] == "abcdefgh9"


def test_every_result_of_a_message_is_an_answer_of_its_own():
    two = Message("tool", (ToolResult("1", name="f"), ToolResult("2", name="g")))
    assert [(v["content"], v["name"]) for v in as_variables([two])] == [("1", "f"), ("2", "g")]
    plain = Message("tool", (Text("words"),))
    assert as_variables([plain])[0]["content"] == "words"


def test_thoughts_reach_the_template_by_both_names():
    (variable,) = as_variables([assistant("a", thought="t")])
    assert variable["reasoning_content"] == variable["thinking"] == "t"
    assert "tool_calls" not in variable
    assert as_variables([Message("assistant", (ToolCall("1", "f", {}),))])[0]["content"] == ""


def test_how_a_model_thinks_is_read_from_its_template():
    assert thinking_of(DEEPSEEK_R1) == THINK
    assert thinking_of("[THINK]{{ x }}[/THINK]") == Thinking("[THINK]", "[/THINK]")
    assert thinking_of("I think, therefore <think") is None
