"""Renders a conversation with a model's own template.

The Jinja template of the model file comes first, then the Go template of the manifest, then a
format of ours for the model's family.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from dimora.core.errors import BadRequest
from dimora.core.types import Message, Thought, Tool, ToolCall
from dimora.prompts.builtin import render_builtin
from dimora.prompts.go_template import check_go, render_go
from dimora.prompts.limits import TemplateStopped
from dimora.prompts.template_language import is_jinja
from dimora.prompts.thinking import Thinking, thinking_of
from dimora.prompts.tool_calls import choose_format
from dimora.prompts.turns import (
    alternate,
    as_variables,
    describe_tools,
    fold_system,
    forget_thoughts,
    join_turns,
    spell_out_tools,
    tool_variable,
)

# The format in which `describe_tools` teaches models that were not taught any.
_TAUGHT = "hermes"


class TemplateSource(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a model's way to be written to.

    `chat_template` is Jinja; `template` is Go's (Jinja too, where a caller wrote it so).
    """

    chat_template: str = ""
    template: str = ""
    architecture: str = ""
    bos_token: str = ""
    eos_token: str = ""


class RenderedChat(msgspec.Struct, frozen=True, kw_only=True):
    """`text` for the model, and how to read what it answers.

    `thought_open`: the text ends inside a thought. `tool_format`: a name on the shelf of tool-call
    formats, empty when the model knows none or has no tools.
    """

    text: str
    thinking: Thinking | None
    thought_open: bool
    tool_format: str


def render_chat(
    source: TemplateSource,
    messages: Sequence[Message],
    *,
    tools: Sequence[Tool] = (),
    think: bool | str | None = None,
    prefill: str = "",
) -> RenderedChat:
    """The conversation as the model reads it, up to where its answer begins.

    A last message of the assistant is continued, and `prefill` after it. `think` is None for the
    model's habit, or a level (`low`, `medium`, `high`, `max`).

    Raises:
        BadRequest: code `template_error`; the model's template cannot render these messages.
    """
    writing = _writing_of(source)
    thinking = thinking_of(writing.text)
    turns = forget_thoughts(join_turns(messages), thinking)
    turns, last = _split_last(turns)
    tool_format = ""
    if tools:
        tool_format = choose_format(writing.text)
    if not writing.knows_tools:
        turns = spell_out_tools(turns)
        if tools:
            turns, tool_format = describe_tools(turns, tools), _TAUGHT
            tools = ()
    text = _render(writing, turns, tools, think)
    while source.bos_token and text.startswith(source.bos_token):
        text = text.removeprefix(source.bos_token)
    answer = _Beginning(text=(last.text if last else "") + prefill)
    if last:
        answer.thought = "".join(p.text for p in last.parts if isinstance(p, Thought))
    thought_open = False
    if thinking is None:
        text += answer.text
    else:
        answer.skips_thought = think is False and not writing.knows_think
        text, thought_open = _begin_answer(text, thinking, answer)
    return RenderedChat(
        text=text, thinking=thinking, thought_open=thought_open, tool_format=tool_format
    )


def check_template(template: str) -> None:
    """Raises BadRequest, code `template_error`, for a template that could never be rendered."""
    if is_jinja(template):
        from dimora.prompts.jinja_rendering import check_jinja

        check_jinja(template)
    else:
        check_go(template)


class _Beginning(msgspec.Struct):
    """What is already there of the answer.

    `skips_thought`: the model shall not think, and its template cannot tell it so.
    """

    text: str = ""
    thought: str = ""
    skips_thought: bool = False


class _Writing(msgspec.Struct, frozen=True, kw_only=True):
    """The template that is used; `text` is empty where it is one of ours."""

    kind: str
    text: str
    source: TemplateSource

    @property
    def knows_tools(self) -> bool:
        return bool(re.search(r"\btools\b" if self.kind == "jinja" else r"\.Tools\b", self.text))

    @property
    def knows_think(self) -> bool:
        """True where the template itself can be told not to think."""
        words = (
            r"\benable_thinking\b|(?<![.<'\"/\w])thinking\b(?!>)"
            if self.kind == "jinja"
            else r"\.Think\b"
        )
        return bool(re.search(words, self.text))


def _writing_of(source: TemplateSource) -> _Writing:
    if source.chat_template:
        return _Writing(kind="jinja", text=source.chat_template, source=source)
    if source.template:
        kind = "jinja" if is_jinja(source.template) else "go"
        return _Writing(kind=kind, text=source.template, source=source)
    return _Writing(kind="builtin", text="", source=source)


def _split_last(turns: list[Message]) -> tuple[list[Message], Message | None]:
    """The turns before, and the assistant's last one when it is there to be continued."""
    if not turns or turns[-1].role != "assistant":
        return turns, None
    if any(isinstance(p, ToolCall) for p in turns[-1].parts):
        return turns, None
    return turns[:-1], turns[-1]


def _render(
    writing: _Writing, turns: list[Message], tools: Sequence[Tool], think: bool | str | None
) -> str:
    if writing.kind == "builtin":
        source = writing.source
        return render_builtin(source.architecture, source.eos_token, turns)
    if writing.kind == "go":
        return render_go(writing.text, turns, tools=tools, think=think)
    return _render_plainer(writing, turns, tools, think)


def _render_plainer(
    writing: _Writing, turns: list[Message], tools: Sequence[Tool], think: bool | str | None
) -> str:
    """Try the messages as they are, then in plainer forms when the template refuses them."""
    forms = [turns]
    for form in (fold_system(turns), alternate(turns)):
        if form not in forms:
            forms.append(form)
    system = [m.text.strip() for m in turns if m.role == "system"]
    refusal: BadRequest | None = None
    for at, form in enumerate(forms):
        try:
            text = _render_jinja(writing, form, tools, think)
        except TemplateStopped:
            raise
        except BadRequest as why:
            refusal = refusal or why
            continue
        # Some templates pass over system messages without a word.
        if at == 0 and not all(words in text for words in system):
            continue
        return text
    raise refusal or BadRequest(
        "the model's chat template leaves out the system message",
        hint="put it into the first user message",
        code="template_error",
    )


def _render_jinja(
    writing: _Writing, turns: list[Message], tools: Sequence[Tool], think: bool | str | None
) -> str:
    # Imported here since jinja2 takes too long for the start of server and command line.
    from dimora.prompts.jinja_rendering import render_jinja

    wants_short_ids = bool(re.search(r"length\s*!=\s*9", writing.text))
    variables: dict[str, Any] = {
        "messages": as_variables(turns, short_ids=wants_short_ids),
        "tools": [tool_variable(t) for t in tools] or None,
        "add_generation_prompt": True,
        "bos_token": writing.source.bos_token,
        "eos_token": writing.source.eos_token,
    }
    if think is not None:
        variables["enable_thinking"] = variables["thinking"] = bool(think)
    if isinstance(think, str):
        variables["reasoning_effort"] = think
    return render_jinja(writing.text, variables)


def _begin_answer(text: str, thinking: Thinking, answer: _Beginning) -> tuple[str, bool]:
    """The rendered turns and the beginning of the answer; true when that ends inside a thought."""
    written = text.rstrip()
    is_open = written.endswith(thinking.open)
    if answer.thought:
        text += ("" if is_open else f"{thinking.open}\n") + answer.thought
        is_open = True
    elif answer.skips_thought and not written.endswith((thinking.open, thinking.close)):
        text += f"{thinking.open}\n"
        is_open = True
    ends_thought = bool(answer.text) or (answer.skips_thought and not answer.thought)
    if is_open and ends_thought:
        text += f"\n{thinking.close}\n\n"
        is_open = False
    return text + answer.text, is_open
