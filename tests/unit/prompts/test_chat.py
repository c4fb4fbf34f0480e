"""Conversations become what each kind of template says."""

from __future__ import annotations

import pytest

from dimora.core.errors import BadRequest
from dimora.core.types import Message, ToolCall
from dimora.prompts.chat import RenderedChat, TemplateSource, render_chat
from dimora.prompts.thinking import Thinking
from tests.unit.prompts.templates import (
    CHATML,
    DEEPSEEK_R1,
    GEMMA,
    LLAMA3,
    MISTRAL,
    QWEN,
    QWEN3_CODER,
    WEATHER,
    answer,
    assistant,
    call,
    system,
    user,
)

THINK = Thinking("<think>", "</think>")


def render(template: str, *messages: Message, bos="", eos="", **how) -> RenderedChat:
    source = TemplateSource(chat_template=template, bos_token=bos, eos_token=eos)
    return render_chat(source, messages, **how)


def test_turns_are_written_and_the_next_one_is_begun():
    rendered = render(CHATML, system("Be kind."), user("Hi"), assistant("Yes?"), user("Go on"))
    assert rendered == RenderedChat(
        text=(
            "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\nYes?<|im_end|>\n<|im_start|>user\nGo on<|im_end|>\n"
            "<|im_start|>assistant\n"
        ),
        thinking=None,
        thought_open=False,
        tool_format="",
    )


def test_the_text_never_begins_with_the_token_that_the_engine_adds():
    text = render(LLAMA3, user("Hi"), bos="<|begin_of_text|>").text
    assert text.startswith("<|start_header_id|>user")
    twice = render("{{ bos_token }}" + LLAMA3, user("Hi"), bos="<s>").text
    assert twice.startswith("<|start_header_id|>user")


def test_neighbours_of_one_role_are_one_turn():
    text = render(CHATML, user("One"), user("Two")).text
    assert text.startswith("<|im_start|>user\nOne\n\nTwo<|im_end|>")


def test_a_last_message_of_the_assistant_is_continued():
    text = render(CHATML, user("Hi"), assistant("Well,"), prefill=" you").text
    assert text.endswith("<|im_start|>assistant\nWell, you")


def test_a_system_message_is_folded_where_the_template_refuses_it():
    text = render(GEMMA, system("Be kind."), user("Hi")).text
    assert text == ("<start_of_turn>user\nBe kind.\n\nHi<end_of_turn>\n<start_of_turn>model\n")


def test_a_system_message_is_folded_where_the_template_passes_over_it():
    silent = CHATML.replace("%}{{ '<|im_start|>' +", "if message.role != 'system' %}{{ '<' +")
    assert "Be kind.\n\nHi" in render(silent, system("Be kind."), user("Hi")).text


def test_a_conversation_that_begins_with_the_assistant_still_renders():
    text = render(GEMMA, assistant("Welcome."), user("Hi")).text
    assert text == (
        "<start_of_turn>user\n<end_of_turn>\n<start_of_turn>model\nWelcome.<end_of_turn>\n"
        "<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n"
    )


def test_what_no_form_can_mend_is_refused_in_the_templates_words():
    with pytest.raises(BadRequest) as caught:
        render("{{ raise_exception('I never speak') }}", user("secret words"))
    assert caught.value.code == "template_error"
    assert "I never speak" in caught.value.message
    assert "secret" not in caught.value.text


@pytest.mark.parametrize(
    ("template", "tool_format"),
    [
        (QWEN, "hermes"),
        (QWEN3_CODER, "qwen3_coder"),
        (LLAMA3, "llama3_json"),
        (MISTRAL, "mistral"),
    ],
)
def test_tools_go_to_a_template_that_knows_them(template, tool_format):
    rendered = render(template, user("Rain?"), tools=(WEATHER,))
    assert rendered.tool_format == tool_format
    assert "get_weather" in rendered.text


def test_tools_are_described_to_a_model_that_knows_none():
    rendered = render(CHATML, system("Be kind."), user("Rain?"), tools=(WEATHER,))
    assert rendered.tool_format == "hermes"
    first_turn = rendered.text.split("<|im_end|>")[0]
    assert "Be kind." in first_turn
    assert '"name": "get_weather"' in first_turn


def test_calls_and_answers_are_written_as_the_template_says():
    messages = (user("Rain?"), call(city="Oslo"), answer("Yes"))
    text = render(QWEN, *messages, tools=(WEATHER,)).text
    assert '{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>' in text
    assert "<tool_response>\nYes\n</tool_response>" in text
    text = render(LLAMA3, *messages, tools=(WEATHER,)).text
    assert '{"name": "get_weather", "parameters": {"city": "Oslo"}}' in text
    assert "ipython<|end_header_id|>\n\nYes" in text


def test_calls_are_spelled_out_for_a_template_that_knows_none():
    text = render(CHATML, user("Rain?"), call(city="Oslo"), answer("Yes")).text
    assert '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}' in text
    assert "user\n<tool_response>\nYes\n</tool_response><|im_end|>" in text


def test_ids_of_calls_have_nine_characters_where_the_template_counts_them():
    text = render(MISTRAL, user("Rain?"), call(city="Oslo"), answer("Yes"), tools=(WEATHER,)).text
    result = text.split("[TOOL_RESULTS] ")[1].split(" ")[0]
    assert len(result) == 9
    assert "call_abcdefgh" not in text


def test_a_call_at_the_end_is_a_whole_turn():
    text = render(QWEN, user("Rain?"), call(city="Oslo"), tools=(WEATHER,)).text
    assert text.endswith("</tool_call><|im_end|>\n<|im_start|>assistant\n")


def test_a_thinking_model_is_known_by_its_template():
    rendered = render(DEEPSEEK_R1, user("Hi"))
    assert rendered.thinking == THINK
    assert rendered.thought_open
    assert rendered.text.endswith("<think>\n")
    assert not render(QWEN, user("Hi")).thought_open
    assert render(CHATML, user("Hi")).thinking is None


def test_thinking_is_switched_off_by_the_template_where_it_can():
    rendered = render(QWEN, user("Hi"), think=False)
    assert rendered.text.endswith("assistant\n<think>\n\n</think>\n\n")
    assert not rendered.thought_open


def test_thinking_is_switched_off_by_an_empty_thought_where_the_template_cannot():
    rendered = render(DEEPSEEK_R1, user("Hi"), think=False)
    assert rendered.text.endswith("<think>\n\n</think>\n\n")
    assert not rendered.thought_open
    mute = CHATML + "{# </think> #}"
    assert render(mute, user("Hi"), think=False).text.endswith("\n<think>\n\n</think>\n\n")
    assert render(mute, user("Hi"), think=True).text.endswith("assistant\n")


def test_a_level_of_thinking_reaches_the_template():
    template = "{{ reasoning_effort }} {{ enable_thinking }}{# </think> #}"
    assert render(template, user("Hi"), think="high").text == "high True"


def test_old_thoughts_are_forgotten_and_new_ones_kept():
    text = render(
        QWEN,
        user("One"),
        assistant("<think>\nold\n</think>\n\nFirst."),
        user("Two"),
        Message("assistant", (*assistant("Second.", thought="new").parts, ToolCall("1", "f", {}))),
        answer("done", call_id="1"),
    ).text
    assert "old" not in text
    assert "First." in text
    assert "<think>\nnew\n</think>" in text


def test_a_thought_without_an_answer_goes_on():
    rendered = render(QWEN, user("Hi"), Message("assistant", assistant("", thought="hm").parts[:1]))
    assert rendered.text.endswith("<think>\nhm")
    assert rendered.thought_open


def test_an_answer_that_is_continued_comes_after_a_closed_thought():
    rendered = render(DEEPSEEK_R1, user("Hi"), assistant("Well,"))
    assert rendered.text.endswith("<think>\n\n</think>\n\nWell,")
    assert not rendered.thought_open


@pytest.mark.parametrize(
    ("architecture", "eos", "text"),
    [
        ("qwen2", "", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"),
        ("gemma2", "<eos>", "<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n"),
        ("phi3", "", "<|user|>\nHi<|end|>\n<|assistant|>\n"),
        ("mistral", "</s>", "[INST] Hi [/INST]"),
        ("llama", "</s>", "Hi"),
        (
            "llama",
            "<|eot_id|>",
            "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
    ],
)
def test_a_model_without_a_template_gets_the_format_of_its_family(architecture, eos, text):
    source = TemplateSource(architecture=architecture, eos_token=eos)
    assert render_chat(source, [user("Hi")]).text == text


def test_a_base_model_goes_on_with_the_very_text():
    source = TemplateSource(architecture="gpt2")
    assert render_chat(source, [user("Once upon ")]).text == "Once upon "


def test_the_template_of_the_manifest_is_used_where_the_model_file_has_none():
    source = TemplateSource(template="Q: {{ .Prompt }}\nA: {{ .Response }}\n")
    rendered = render_chat(source, [user("Why?"), assistant("So."), user("Oh?")])
    assert rendered.text == "Q: Why?\nA: So.\nQ: Oh?\nA: "


def test_a_template_a_caller_wrote_may_be_jinja():
    source = TemplateSource(template="{% for m in messages %}{{ m.content }}!{% endfor %}")
    assert render_chat(source, [user("Hi")]).text == "Hi!"


def test_a_template_of_the_manifest_with_tools_tells_its_format():
    template = (
        "{{ range .Tools }}{{ . }}{{ end }}<tool_call></tool_call>"
        "{{ range .Messages }}{{ .Content }}{{ end }}"
    )
    rendered = render_chat(TemplateSource(template=template), [user("Hi")], tools=[WEATHER])
    assert rendered.tool_format == "hermes"
    assert rendered.text.startswith('{"type":"function","function":{"name":"get_weather"')
