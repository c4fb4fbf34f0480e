"""Chat formats for models that come without any template."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dimora.core.types import Message, Role
from dimora.prompts.turns import alternate, fold_system, spell_out_tools


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """What stands before and after a turn of each role. `alternates`: only user and assistant."""

    before: dict[Role, str]
    after: dict[Role, str]
    has_system: bool = True
    alternates: bool = False


def _uniform(before: str, after: str, **names: str) -> Format:
    roles: tuple[Role, ...] = ("system", "user", "assistant")
    return Format(
        before={role: before.format(role=names.get(role, role)) for role in roles},
        after=dict.fromkeys(roles, after),
    )


_CHATML = _uniform("<|im_start|>{role}\n", "<|im_end|>\n")
_LLAMA3 = _uniform("<|start_header_id|>{role}<|end_header_id|>\n\n", "<|eot_id|>")
_PHI3 = _uniform("<|{role}|>\n", "<|end|>\n")
_GEMMA = msgspec.structs.replace(
    _uniform("<start_of_turn>{role}\n", "<end_of_turn>\n", assistant="model"),
    has_system=False,
    alternates=True,
)
_MISTRAL = Format(
    before={"user": "[INST] ", "assistant": " "},
    after={"user": " [/INST]", "assistant": "</s>"},
    has_system=False,
    alternates=True,
)
# Models that were never taught to converse go on with the text as it is.
_PLAIN = Format(before={}, after={"system": "\n\n", "user": "", "assistant": "\n\n"})

_BY_END = {
    "<|im_end|>": _CHATML,
    "<|eot_id|>": _LLAMA3,
    "<|end|>": _PHI3,
    "<end_of_turn>": _GEMMA,
    "<|end_of_text|>": _PLAIN,
    "<|endoftext|>": _PLAIN,
    "</s>": _PLAIN,
}
_BY_ARCHITECTURE = {"gemma": _GEMMA, "mistral": _MISTRAL, "phi3": _PHI3, "gpt2": _PLAIN}


def format_of(architecture: str, eos_token: str) -> Format:
    """The architecture decides where it can, else the token that ends an answer, else ChatML."""
    for name, known in _BY_ARCHITECTURE.items():
        if architecture.startswith(name):
            return known
    return _BY_END.get(eos_token, _CHATML)


def render_builtin(architecture: str, eos_token: str, messages: Sequence[Message]) -> str:
    """The turns as text, and the beginning of the assistant's next one."""
    form = format_of(architecture, eos_token)
    if form.alternates:
        turns = alternate(messages)
    else:
        turns = spell_out_tools(messages)
        turns = turns if form.has_system else fold_system(turns)
    # A base model goes on from the very last character, also when that is a space.
    written = [
        form.before.get(m.role, "")
        + (m.text if form is _PLAIN else m.text.strip())
        + form.after.get(m.role, "")
        for m in turns
    ]
    # What a turn of the assistant begins with; a space there would be a token of its own.
    return "".join(written) + form.before.get("assistant", "").rstrip(" ")
