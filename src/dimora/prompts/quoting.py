"""Words of others as data in a prompt: between marks, and without the marks of prompts.

Engines read the special tokens of a model wherever they stand in a prompt's text. A document that
holds `<|im_end|>` would end the turn it is quoted in, so that such marks are broken by a blank:
those that are common, and those the model's own template is made of.
"""

from __future__ import annotations

import re
from functools import lru_cache

_COMMON = (
    r"<\s*[|｜][^<>|｜]{1,60}[|｜]\s*>",
    r"</?(?:s|bos|eos|pad|unk|start_of_turn|end_of_turn|start_of_image|think|thinking|tools?"
    r"|tool_calls?|tool_response|function|text|passage|documents?)\b[^<>]{0,60}>",
    r"</?<?/?SYS>>?",
    r"\[/?[A-Z][A-Z_]{2,40}\]",
)
# What looks like a token of its own in a template.
_IN_TEMPLATE = re.compile(r"<[^<>\s{}%'\"]{1,60}>|\[/?[A-Z_]{3,40}\]")


def as_data(text: str, *templates: str) -> str:
    """The text with every mark of prompts broken: a blank stands behind its first character.

    `templates` are those of the model that will read it, and its special tokens.
    """
    return _marks_of(templates).sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)


def quoted(text: str, name: str = "text", *templates: str) -> str:
    """A text as data for the model: between marks that the text itself cannot close."""
    return f"<{name}>\n{as_data(text.strip(), *templates)}\n</{name.partition(' ')[0]}>"


@lru_cache(maxsize=64)
def _marks_of(templates: tuple[str, ...]) -> re.Pattern[str]:
    own = {mark for template in templates for mark in _IN_TEMPLATE.findall(template)}
    listed = [re.escape(mark) for mark in sorted(own, key=len, reverse=True)]
    return re.compile("|".join([*listed, *_COMMON]), re.IGNORECASE)
